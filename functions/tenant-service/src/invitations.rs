//! `POST /api/v1/tenants/{id}/bootstrap-user/invitations`: another invitation for a tenant's administrator.
//!
//! One transaction of the control plane writes the new invitation, its audit row and the key's answer; nobody else is asked
//! meanwhile, so nothing can be half done. The relay does the rest, in an order in which every crash is mended by doing it
//! again: it makes the new token the one that holds, which voids the one before, and then sends the e-mail. Until the relay
//! comes to that, the one before holds.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use cluster::Secrets;
use engine::store::{KeyState, Sealed, StoredResponse};
use license::invitation::Token;
use license::read_seals;
use license::seal::Purpose;
use model::TenantId;
use serde::Serialize;
use serde_json::json;
use tenants::InviteError;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Actor, NoBody, TenantPath};
use crate::idempotency;
use crate::openapi::{Authenticated, Conflicting, EmptyBody, IdempotencyKey, Missing, WithBody};
use crate::problem::{self, Failure};
use crate::state::App;
use crate::tenants::view::location;

/// That an invitation follows.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Invitation)]
struct InvitationUnderWay {
    #[schema(value_type = Uuid)]
    tenant_id: TenantId,
    /// Names it in the audit log and in the e-mail's Message-ID.
    invitation_id: Uuid,
    #[schema(inline)]
    links: InvitationLinks,
}

#[derive(Serialize, ToSchema)]
struct InvitationLinks {
    tenant: String,
}

/// Invite the administrator again
///
/// Sends a new link to an ACTIVE tenant's administrator. The link before it is void as soon as the new one is sent. Nothing is sent
/// when they have chosen a password already. The same key gets the first answer again, and sends nothing.
#[utoipa::path(
    post, path = "/api/v1/tenants/{id}/bootstrap-user/invitations", operation_id = "renewInvitation", tag = "tenants",
    params(TenantPath, IdempotencyKey), request_body = Option<EmptyBody>,
    responses(
        (
            status = 202, description = "The e-mail follows.", body = InvitationUnderWay,
            headers(("Idempotency-Replayed" = String, description = "true, where this is the first answer again."))
        ),
        Authenticated, Missing, Conflicting, WithBody
    ),
)]
pub async fn renew(
    State(app): State<App>,
    actor: Actor,
    TenantPath(tenant): TenantPath,
    headers: HeaderMap,
    NoBody(bytes): NoBody,
) -> Result<Response, Failure> {
    let key = idempotency::key(&headers)?;
    let request = format!("POST {}/bootstrap-user/invitations", location(tenant.0));
    let hash = idempotency::hash(&request, &bytes);
    let key = idempotency::used(&app, &actor, key, &hash);
    let (id, sealed) = (Uuid::now_v7(), seal(&app, tenant).await?);
    let response = StoredResponse {
        status: StatusCode::ACCEPTED.as_u16(),
        body: json!(InvitationUnderWay {
            tenant_id: tenant,
            invitation_id: id,
            links: InvitationLinks { tenant: location(tenant.0) },
        }),
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
