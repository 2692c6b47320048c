//! `POST /api/v1/tenants`: the dispatcher does what is recorded here.

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
use crate::openapi::{Authenticated, Conflicting, IdempotencyKey, NewTenant, WithBody};
use crate::problem::{self, Failure};
use crate::state::App;

/// Seconds until the first look at the status is worth it.
const LOOK_AFTER: u64 = 2;

/// Ask for a tenant
///
/// Records the tenant and its provisioning run; the same key and body get the first answer again.
#[utoipa::path(
    post, path = "/api/v1/tenants", operation_id = "createTenant", tag = "tenants", params(IdempotencyKey),
    request_body = NewTenant,
    responses(
        (
            status = 202, description = "Recorded.", body = TenantView,
            headers(
                ("Location" = String, description = "The tenant's path."),
                ("Retry-After" = i64, description = "Seconds."),
                ("Idempotency-Replayed" = String, description = "true, where this is the first answer again.")
            )
        ),
        Authenticated, Conflicting, WithBody
    ),
)]
pub async fn create(
    State(app): State<App>,
    actor: Actor,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Failure> {
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
                KeyState::Free => Err(problem::wrong_fields(errors).into()),
                KeyState::Answered(first) => Ok(idempotency::answer(&first, true)),
                state => Err(idempotency::refused(&state).into()),
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

fn refusal(error: CreateError) -> Failure {
    let problem = match error {
        CreateError::SlugTaken(slug) => problem::slug_taken(format!("'{slug}' belongs to another tenant"))
            .with("tenant", format!("/api/v1/tenants/{slug}")),
        CreateError::SlugResting { slug, free_at } => {
            let wait = (free_at - chrono::Utc::now()).num_seconds().max(0) + 1;
            problem::slug_resting(format!(
                "'{slug}' was given up lately and its DNS names may still be cached; it is free at {free_at}"
            ))
            .with("freeAt", json!(free_at))
            .retry_after(u64::try_from(wait).unwrap_or(1))
        }
        // It was closed while the request was read.
        CreateError::RegionClosed(region) => problem::wrong_fields(vec![request::closed(&region)]),
        CreateError::DomainTaken(domain) => crate::domains::taken(&domain),
        CreateError::Key(state) => idempotency::refused(&state),
        CreateError::Store(error) => return error.into(),
    };
    problem.into()
}
