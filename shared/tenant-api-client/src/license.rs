//! The notice of a licence.

use engine::phase::Result;
use model::TenantId;
use model::secret::Secret;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::client::without;
use super::{Server, TenantApi};

/// What a tenant-api holds after a notice.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refreshed {
    /// The licence that it now goes by: the one it was sent, or a newer one.
    pub license_id: Uuid,
}

impl TenantApi {
    /// Gives the tenant-api a tenant's licence, as signed. Given again, or after a newer one, it changes nothing. Fatal
    /// `tenant_api_refused`: this licence will not be taken, however often it is sent.
    pub async fn refresh_license(
        &self,
        server: &Server,
        internal_secret: &Secret,
        tenant: TenantId,
        license: &Secret,
    ) -> Result<Refreshed> {
        let body = Body { tenant_id: tenant, license: license.expose() };
        let answer = self.send(server, internal_secret, "license/refresh", &body).await;
        answer.map_err(|error| without(error, [license, internal_secret].into_iter()))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    tenant_id: TenantId,
    license: &'a str,
}
