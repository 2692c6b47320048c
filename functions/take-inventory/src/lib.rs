//! TAKE_INVENTORY: the step that ends every backward run. Nothing of the tenant is left, looked at in the outside
//! systems themselves.
//!
//! In: the names that the tenant's things go by, the region's servers. Out: nothing. It is never run forward. Fails with
//! `left_over`, naming what is left, and with `Unavailable` when a system cannot be asked: nothing is taken to be empty
//! unseen. What the phases have said they keep (logs, traces) is listed with its end, and is nothing left over.

mod systems;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use cluster::{Cluster, Leftover};
use dns::{Name, Server as DnsServer};
use engine::phase::{Checkpoints, Clients, Error, Phase, Progress, Result, Step};
use job_broker::Site;
use model::platform::{Platform, Retention};
use model::secret::SecretRef;
use model::{PhaseName, Tenant, Tier};
use serde::{Deserialize, Serialize};
use tenant_api_client::{Server, TenantApi};
use tenants::reads;
use terraform::Site as Infrastructure;

/// Leftovers that the error names; the operation's result lists them all.
const NAMED: usize = 10;

/// The phase.
#[derive(Debug)]
pub struct TakeInventory {
    cluster: Cluster,
    /// The control plane's own cluster; none where the tenant is in that anyway.
    home: Option<Cluster>,
    tenant_api: TenantApi,
}

/// Where to look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Before the `/` of the labels that ownership is read from.
    pub label_prefix: String,
    /// The region's tenant-api, and the Postgres server that it looks into.
    pub server: Server,
    /// Who serves the tenants' names; none on a platform without.
    pub dns: Option<DnsSite>,
    /// What stays in Loki and Tempo.
    pub kept: Vec<Retention>,
    /// The broker of the tenants' jobs; none in a region without.
    pub jobs: Option<Site>,
    /// The database of Terraform's states; none of a tenant without infrastructure of its own.
    pub terraform: Option<SecretRef>,
}

/// Where the tenant's names would be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DnsSite {
    /// The DNS servers.
    pub server: DnsServer,
    /// The zone that delegates to the tenants' zones.
    pub parent: Name,
}

/// Something of a tenant's that stays until its time is over.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Retained {
    #[serde(flatten)]
    kept: Retention,
    retained_until: String,
}

engine::runtime_phase!(TakeInventory);

impl Phase for TakeInventory {
    const NAME: PhaseName = PhaseName::TAKE_INVENTORY;
    type Plan = Plan;
    type Checkpoint = ();

    async fn connect(clients: &impl Clients) -> Result<Self> {
        let platform = clients.platform();
        let home = match platform.cluster {
            Some(_) => Some(Cluster::connect().await?),
            None => None,
        };
        Ok(Self { cluster: Cluster::of(platform).await?, home, tenant_api: TenantApi::connect()? })
    }

    fn plan(&self, tenant: &Tenant, platform: &Platform, earlier: &Checkpoints) -> Result<Plan> {
        let server = Server::of(platform, &tenant.region)?;
        let dns = match (&platform.dns.azure, &platform.dns.powerdns) {
            (None, None) => None,
            _ => Some(DnsSite {
                server: DnsServer::of(platform)?,
                parent: platform.dns.parent(&platform.domain).into(),
            }),
        };
        let kept = earlier.read::<reads::History>()?.map(|history| history.kept).unwrap_or_default();
        let jobs = Site::of(platform, &tenant.region);
        let terraform = match tenant.tier {
            Tier::Enterprise => Some(Infrastructure::of(platform, tenant)?.state_database),
            Tier::Free | Tier::Professional => None,
        };
        Ok(Plan { label_prefix: platform.label_prefix.clone(), server, dns, kept, jobs, terraform })
    }

    async fn apply(&self, _: &Plan, _: &Step) -> Result<Progress<()>> {
        Err(Error::fatal("backward_only", "an inventory is taken at the end of a backward run only")
            .next("This run's list of phases is wrong; report it."))
    }

    async fn revert(&self, plan: &Plan, _: Option<&()>, step: &Step) -> Result<Progress<()>> {
        let left = step.operation("inventory", self.inventory(plan, step)).await?;
        if !plan.kept.is_empty() {
            step.operation("retained history", async { Ok(retained(&plan.kept, Utc::now())) }).await?;
        }
        if left.is_empty() { Ok(Progress::Done(())) } else { Err(left_over(&left)) }
    }
}

impl TakeInventory {
    /// What is left, system by system. Helm's releases are Secrets of the tenant's namespace, so the cluster's list has
    /// them.
    async fn inventory(&self, plan: &Plan, step: &Step) -> Result<Vec<Leftover>> {
        let cluster = self.cluster.inventory(step.owner().tenant_id, &plan.label_prefix).await?;
        let databases = self.databases(plan, step).await?;
        let names = self.names(plan, step).await?;
        let jobs = self.jobs(plan, step).await?;
        let infrastructure = self.infrastructure(plan, step).await?;
        Ok([cluster, databases, names, jobs, infrastructure].concat())
    }
}

/// The newest was written before now, so that nothing is kept longer than said.
fn retained(kept: &[Retention], now: DateTime<Utc>) -> Vec<Retained> {
    let until = |hours: u32| now + TimeDelta::hours(i64::from(hours));
    kept.iter()
        .map(|kept| Retained {
            kept: kept.clone(),
            retained_until: until(kept.hours).to_rfc3339_opts(SecondsFormat::Secs, true),
        })
        .collect()
}

fn left_over(left: &[Leftover]) -> Error {
    let mut names: Vec<String> = left.iter().take(NAMED).map(ToString::to_string).collect();
    if left.len() > NAMED {
        names.push(format!("and {} more", left.len() - NAMED));
    }
    Error::retryable("left_over", format!("{} left: {}", left.len(), names.join(", ")))
        .next("Remove what is listed, or find out who keeps it there, then retry; abandon ends the run with this list.")
}

#[cfg(test)]
mod tests;
