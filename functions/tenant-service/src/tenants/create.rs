//! `POST /api/v1/tenants`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use engine::store::{KeyState, StoredResponse};
use serde_json::json;
use tenants::{CreateError, TenantRow};

use super::request;
use super::view::{TenantView, location};
use crate::extract::{self, Actor, JsonBytes};
use crate::idempotency;
use crate::problem::Problem;
use crate::state::App;

/// Seconds until the first look at the status is worth it.
const LOOK_AFTER: u64 = 2;

/// Records a tenant and its provisioning run and answers 202; the dispatcher does the rest. A second call with the same
/// key and body is answered as the first was.
pub async fn create(
    State(app): State<App>,
    actor: Actor,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let key = idempotency::key(&headers)?;
    let object = extract::object(&bytes)?;
    let platform = app.regions.now().await?;
    let hash = idempotency::hash("POST /api/v1/tenants", &bytes);
    let key = idempotency::used(&app, &actor, key, &hash);
    let new = match request::parse(object, &platform, &actor) {
        Ok(new) => new,
        // What was taken once stays taken, whatever the platform has changed since.
        Err(errors) => {
            return match app.store.key_state(&key).await? {
                KeyState::Free => Err(Problem::invalid_fields(errors)),
                KeyState::Answered(first) => Ok(idempotency::answer(&first, true)),
                state => Err(idempotency::refused(&state)),
            };
        }
    };
    match app.store.create_tenant(&new, &key, app.platform.slug_rest, &app.platform.domains, accepted).await {
        Ok(response) => {
            tracing::info!(tenant.slug = %new.slug, tenant.tier = %new.tier, actor = &*actor.0, "tenant recorded");
            app.announce().await;
            Ok(idempotency::answer(&response, false))
        }
        Err(CreateError::Key(KeyState::Answered(first))) => Ok(idempotency::answer(&first, true)),
        Err(error) => Err(refusal(error)),
    }
}

/// The answer that is kept with the key.
fn accepted(row: &TenantRow) -> StoredResponse {
    StoredResponse {
        status: StatusCode::ACCEPTED.as_u16(),
        body: json!(TenantView::from(row)),
        headers: json!({ "location": location(row.id), "retry-after": LOOK_AFTER.to_string() }),
    }
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
        // It was closed while the request was read.
        CreateError::RegionClosed(region) => Problem::invalid_fields(vec![request::closed(&region)]),
        CreateError::DomainTaken(domain) => crate::domains::taken(&domain),
        CreateError::Key(state) => idempotency::refused(&state),
        CreateError::Store(error) => error.into(),
    }
}
