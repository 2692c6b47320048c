//! `POST /api/v1/tenants/{id}/bootstrap-user/invitations`: another invitation for a tenant's administrator.
//!
//! One transaction of the control plane writes the new invitation, its audit row and the key's answer; nobody else is asked
//! meanwhile, so nothing can be half done. The relay does the rest, in an order in which every crash is mended by doing it
//! again: it makes the new token the one that holds, which voids the one before, and then sends the e-mail. Until the relay
//! comes to that, the one before holds.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use cluster::Secrets;
use engine::store::{KeyState, Sealed, StoredResponse};
use license::invitation::Token;
use license::read_seals;
use license::seal::Purpose;
use model::TenantId;
use serde_json::json;
use tenants::InviteError;
use uuid::Uuid;

use crate::extract::{self, Actor, TenantPath};
use crate::idempotency;
use crate::problem::{self, Failure};
use crate::state::App;
use crate::tenants::view::location;

/// Answers 202; the e-mail follows. A second call with the same key is answered as the first was, and sends nothing.
pub async fn renew(
    State(app): State<App>,
    actor: Actor,
    TenantPath(tenant): TenantPath,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let bytes = nothing_asked(&headers, body)?;
    let key = idempotency::key(&headers)?;
    let request = format!("POST {}/bootstrap-user/invitations", location(tenant.0));
    let hash = idempotency::hash(&request, &bytes);
    let key = idempotency::used(&app, &actor, key, &hash);
    let (id, sealed) = (Uuid::now_v7(), seal(&app, tenant).await?);
    let response = StoredResponse {
        status: StatusCode::ACCEPTED.as_u16(),
        body: json!({ "tenantId": tenant, "invitationId": id, "links": { "tenant": location(tenant.0) } }),
        headers: json!({}),
    };
    match app.store.invite_again(tenant, id, &sealed, &actor.0, &key, response).await {
        Ok(response) => {
            tracing::info!(tenant.id = %tenant, invitation.id = %id, actor = &*actor.0, "invited again");
            Ok(idempotency::answer(&response, false))
        }
        Err(InviteError::Key(KeyState::Answered(first))) => Ok(idempotency::answer(&first, true)),
        Err(error) => Err(refusal(error)),
    }
}

/// There is nothing to be said: no body, or an empty object.
fn nothing_asked(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Bytes, Failure> {
    if body.as_ref().is_ok_and(Bytes::is_empty) {
        return Ok(Bytes::new());
    }
    let bytes = extract::json_bytes(headers, body)?;
    let errors = crate::fields::Fields::new(extract::object(&bytes)?, "").finish();
    if errors.is_empty() { Ok(bytes) } else { Err(problem::wrong_fields(errors).into()) }
}

/// A new token, sealed: this process keeps nothing of it.
async fn seal(app: &App, tenant: TenantId) -> Result<Sealed, Failure> {
    let unusable = |why: String| {
        tracing::error!(error = why, "no invitation can be sealed");
        problem::license_key("the platform's key for that is missing or wrong; nothing was written")
    };
    let seals =
        read_seals(&app.platform.license, &Secrets).await.map_err(|error| unusable(error.to_string()))?;
    let token = Token::generate(tenant).map_err(|error| unusable(error.to_string()))?;
    Ok(seals
        .seal(Purpose::Invitation, tenant, token.expose())
        .map_err(|error| unusable(error.to_string()))?)
}

fn refusal(error: InviteError) -> Failure {
    let problem = match error {
        InviteError::NotActive(status) => problem::tenant_not_active(format!(
            "the tenant is {status}; only an ACTIVE one's administrator is invited"
        )),
        InviteError::Nobody => problem::no_bootstrap_user("the tenant was made without an administrator"),
        InviteError::Key(state) => idempotency::refused(&state),
        InviteError::Store(error) => return error.into(),
    };
    problem.into()
}
