//! The tenants' administrators and their invitations.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use engine::phase::Result;
use model::secret::Secret;
use model::{RunId, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::client::without;
use super::{Server, TenantApi};

/// A tenant's administrator, as the data plane knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapUser {
    /// Their id.
    pub user_id: Uuid,
    /// The run that made them; none when they were there before.
    pub created_by_run: Option<RunId>,
}

/// An invitation, without its token.
#[derive(Clone, Copy, Debug)]
pub struct Invitation<'a> {
    /// Where to.
    pub tenant: TenantId,
    /// Whom.
    pub email: &'a str,
    /// Its place among the invitations of the tenant.
    pub number: i64,
    /// SHA-256 of its token.
    pub token_hash: [u8; 32],
    /// How long it holds from now on.
    pub valid_for: Duration,
}

/// What a tenant-api has made of an invitation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Invited {
    /// It is the one that holds; all before it are void.
    Holds {
        /// Until then.
        expires_at: DateTime<Utc>,
    },
    /// A later one was there already: this one will never hold.
    Overtaken,
    /// They have accepted one before, and need none.
    Accepted,
}

#[derive(Debug, Deserialize)]
struct Removed {
    removed: bool,
}

impl TenantApi {
    /// Makes sure that a tenant has its administrator, known by the address. Called again it changes nothing; whoever has the
    /// address already is kept. Fatal `bootstrap_user_exists`: another address is the tenant's administrator.
    pub async fn bootstrap_user(
        &self,
        server: &Server,
        internal_secret: &Secret,
        tenant: TenantId,
        run: RunId,
        email: &str,
    ) -> Result<BootstrapUser> {
        let body = BootstrapBody { tenant_id: tenant, run_id: run, email };
        self.users(server, internal_secret, "users/bootstrap", &body).await
    }

    /// Takes a run's administrator away; false when it has made none, or they are gone, and the tenant's tables with them.
    pub async fn remove_bootstrap_user(
        &self,
        server: &Server,
        internal_secret: &Secret,
        tenant: TenantId,
        run: RunId,
    ) -> Result<bool> {
        let body = RemoveBody { tenant_id: tenant, run_id: run };
        let answer: Removed = self.users(server, internal_secret, "users/remove", &body).await?;
        Ok(answer.removed)
    }

    /// Makes an invitation the one that holds, unless a later one does. Called again for the same one, it holds anew for the
    /// whole time: it has not been sent yet, or nobody knows that it was.
    pub async fn invite_user(
        &self,
        server: &Server,
        internal_secret: &Secret,
        invitation: Invitation<'_>,
    ) -> Result<Invited> {
        let body = InviteBody {
            tenant_id: invitation.tenant,
            email: invitation.email,
            number: invitation.number,
            token_hash: STANDARD.encode(invitation.token_hash),
            valid_for: invitation.valid_for.as_secs().max(1),
        };
        self.users(server, internal_secret, "users/invite", &body).await
    }

    async fn users<T: serde::de::DeserializeOwned>(
        &self,
        server: &Server,
        internal_secret: &Secret,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T> {
        let answer = self.send(server, internal_secret, path, body).await;
        answer.map_err(|error| without(error, std::iter::once(internal_secret)))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BootstrapBody<'a> {
    tenant_id: TenantId,
    run_id: RunId,
    email: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RemoveBody {
    tenant_id: TenantId,
    run_id: RunId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InviteBody<'a> {
    tenant_id: TenantId,
    email: &'a str,
    number: i64,
    token_hash: String,
    valid_for: u64,
}
