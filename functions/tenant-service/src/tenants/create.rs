//! `POST /api/v1/tenants`.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sha2::{Digest, Sha256};
use shared::store::{CreateError, KeyState, KeyUse, StoredResponse, TenantRow};

use super::request;
use super::view::{TenantView, location};
use crate::app::App;
use crate::auth::Actor;
use crate::body;
use crate::problem::Problem;

/// Seconds until the first look at the status is worth it.
const LOOK_AFTER: u64 = 2;

/// Records a tenant and its provisioning run and answers 202; the dispatcher does the rest. A second call with the same
/// key and body is answered as the first was.
pub async fn create(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let bytes = body::json_bytes(&headers, body)?;
    let key = idempotency_key(&headers)?;
    let object = body::object(&bytes)?;
    let new = request::parse(object, &app.platform, &actor).map_err(Problem::invalid_fields)?;
    let body_hash = Sha256::new().chain_update(b"POST /api/v1/tenants\n").chain_update(&bytes).finalize();
    let key = KeyUse { actor: &actor.0, key, body_hash: &body_hash, kept: app.platform.engine.idempotency };
    match app.store.create_tenant(&new, &key, app.platform.slug_rest, &app.platform.domains, accepted).await {
        Ok(response) => {
            tracing::info!(tenant.slug = %new.slug, tenant.tier = %new.tier, actor = &*actor.0, "tenant recorded");
            app.announce().await;
            Ok(answer(&response, false))
        }
        Err(CreateError::Key(KeyState::Answered(first))) => Ok(answer(&first, true)),
        Err(error) => Err(refusal(error)),
    }
}

/// 1 to 255 visible ASCII characters.
fn idempotency_key(headers: &HeaderMap) -> Result<&str, Problem> {
    let refused = |code, detail: &str| {
        Problem::new(StatusCode::BAD_REQUEST, code, "The Idempotency-Key is missing or unusable", detail).next(
            "Send a header Idempotency-Key with a fresh UUID for each tenant, and the same one when you send again.",
        )
    };
    let mut keys = headers.get_all("idempotency-key").iter();
    let key =
        keys.next().ok_or_else(|| refused("idempotency_key_required", "there is no Idempotency-Key"))?;
    let unusable = || refused("invalid_idempotency_key", "give one key of 1 to 255 visible ASCII characters");
    if keys.next().is_some() || !(1..=255).contains(&key.len()) {
        return Err(unusable());
    }
    key.to_str().ok().filter(|key| key.bytes().all(|b| b.is_ascii_graphic())).ok_or_else(unusable)
}

/// The answer that is kept with the key.
fn accepted(row: &TenantRow) -> StoredResponse {
    StoredResponse {
        status: StatusCode::ACCEPTED.as_u16(),
        body: json!(TenantView::from(row)),
        headers: json!({ "location": location(row.id), "retry-after": LOOK_AFTER.to_string() }),
    }
}

fn answer(stored: &StoredResponse, replayed: bool) -> Response {
    let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::ACCEPTED);
    let mut response =
        (status, [(CONTENT_TYPE, "application/json")], stored.body.to_string()).into_response();
    let kept = stored.headers.as_object().into_iter().flatten();
    for (name, value) in kept.filter_map(|(name, value)| Some((name, value.as_str()?))) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    if replayed {
        response
            .headers_mut()
            .insert(HeaderName::from_static("idempotency-replayed"), HeaderValue::from_static("true"));
    }
    response
}

fn refusal(error: CreateError) -> Problem {
    const TAKEN: &str = "The slug is taken";
    match error {
        CreateError::SlugTaken(slug) => Problem::new(
            StatusCode::CONFLICT,
            "slug_taken",
            TAKEN,
            format!("'{slug}' belongs to another tenant"),
        )
        .next("Choose another slug, or look at the tenant that has it.")
        .with("tenant", format!("/api/v1/tenants/{slug}")),
        CreateError::SlugResting { slug, free_at } => {
            let wait = (free_at - chrono::Utc::now()).num_seconds().max(0) + 1;
            Problem::new(
                StatusCode::CONFLICT,
                "slug_taken",
                TAKEN,
                format!("'{slug}' was given up lately and its DNS names may still be cached; it is free at {free_at}"),
            )
            .next("Choose another slug, or send the request again after freeAt.")
            .with("freeAt", json!(free_at))
            .retry_after(u64::try_from(wait).unwrap_or(1))
        }
        CreateError::DomainTaken(domain) => crate::domains::taken(&domain),
        CreateError::Key(KeyState::OtherBody) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "The Idempotency-Key belongs to another request",
            "this key was used with another body",
        )
        .next("Send a fresh key with a new request, and the same body with the same key."),
        CreateError::Key(_) => Problem::new(
            StatusCode::CONFLICT,
            "idempotency_key_in_flight",
            "A request with this Idempotency-Key is being answered",
            "the first request with this key has no answer yet",
        )
        .next("Send it again in a moment.")
        .retry_after(1),
        CreateError::Store(error) => error.into(),
    }
}
