//! The sink `license`: a tenant's licence to the tenant-api that serves it. A row only says that there is something to tell;
//! what is sent is the licence that is current when it is sent, opened for the length of the call.

use std::sync::Arc;

use async_trait::async_trait;
use cluster::Secrets;
use engine::phase::Error;
use engine::store::Outgoing;
use license::read_seals;
use license::seal::{Purpose, Sealed};
use model::TenantId;
use model::platform::Platform;
use model::secret::{Secret, SecretSource as _};
use tenant_api_client::{Server, TenantApi};
use tenants::Regions;
use tenants::Store;

use crate::lane::{Deliver, Failure};

/// The tenant-apis of all regions.
pub(crate) struct Licenses {
    store: Store,
    platform: Arc<Platform>,
    regions: Regions,
    tenant_api: TenantApi,
}

impl Licenses {
    /// Sends nothing yet. Keys and secrets are read when they are needed, so that a relay without licences needs none.
    pub(crate) fn new(platform: &Arc<Platform>, store: &Store, regions: &Regions) -> anyhow::Result<Self> {
        let within = platform.license.delivery.timeout.duration();
        let tenant_api = TenantApi::connect()?.answering_within(within);
        Ok(Self { store: store.clone(), platform: platform.clone(), regions: regions.clone(), tenant_api })
    }
}

impl Licenses {
    /// Of a tenant with an instance of its own: that is scaled to nothing, as a suspended one's is. Nobody could be told until
    /// it is resumed, which issues another licence.
    async fn nothing_runs(&self, tenant: TenantId) -> Result<bool, Failure> {
        let own = self.store.deployment(tenant).await.map_err(later)?;
        Ok(own.is_some_and(|own| own.replicas == 0))
    }
}

#[async_trait]
impl Deliver for Licenses {
    async fn deliver(&self, row: &Outgoing) -> Result<Option<String>, Failure> {
        let found = self.store.license(row.tenant_id).await.map_err(later)?;
        let Some(stored) = found else {
            return Ok(Some("the tenant no longer has a licence: nothing to send".into()));
        };
        let region = row.payload["region"].as_str().unwrap_or_default();
        let (server, internal_secret) = serving(&self.regions, &self.store, region, row.tenant_id).await?;
        if server.own.is_some() && self.nothing_runs(row.tenant_id).await? {
            let why = "nothing of the tenant runs: its pods read the licence from its Secret when they start";
            return Ok(Some(why.into()));
        }
        let license = {
            let seals = read_seals(&self.platform.license, &Secrets).await.map_err(later)?;
            let text = seals.open(Purpose::License, row.tenant_id, &Sealed::from(&stored));
            Secret::new(text.map_err(later)?.as_str())
        };
        let told = self.tenant_api.refresh_license(&server, &internal_secret, row.tenant_id, &license).await;
        let holds = told.map_err(failure)?.license_id;
        Ok((holds != stored.id).then(|| format!("the tenant-api goes by licence {holds}, which is newer")))
    }
}

/// Who serves the tenant, and what lets in there.
pub(crate) async fn serving(
    regions: &Regions,
    store: &Store,
    region: &str,
    tenant: TenantId,
) -> Result<(Server, Secret), Failure> {
    let own = store.deployment(tenant).await.map_err(later)?.map(|own| own.endpoint);
    let platform = regions.knowing(region).await.map_err(later)?;
    let server = Server::serving(&platform, region, tenant, own).map_err(later)?;
    let secret = Secrets.read(&server.internal_secret).await;
    let secret =
        secret.map_err(|error| Failure::Later(format!("regions.{region}.internal_secret: {error}")))?;
    let presented = server.presented(secret);
    Ok((server, presented))
}

/// A licence that the tenant-api will not take is refused; everything else may go well later.
fn failure(error: Error) -> Failure {
    if error.code == "tenant_api_refused" { Failure::Refused(error.message) } else { later(error) }
}

fn later(error: impl std::fmt::Display) -> Failure {
    Failure::Later(error.to_string())
}
