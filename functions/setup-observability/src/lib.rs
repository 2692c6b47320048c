//! SETUP_OBSERVABILITY: the tenant's logs and traces are collected, stamped as the tenant's, kept and found.
//!
//! In: the tenant's namespace, the platform's Loki and Tempo. Out: the collector's release, and what Loki and Tempo keep
//! when all else is gone. Fails with `foreign_object`, `not_ready`, `not_connected`, `not_stamped`, and as Helm does.
//! Rollback: uninstalls the collector and deletes the configuration; history stays for as long as it is kept.

mod collector;
mod config;
mod marks;
mod plan;
mod policies;
mod try_out;

use cluster::{Cluster, Deployments, Objects};
use engine::phase::{Checkpoints, Clients, Error, Phase, Progress, Result, Step};
use helm::Helm;
use model::platform::{Backend, Chart, Platform, Retention, Seconds};
use model::{Namespace, PhaseName, RunId, Slug, Tenant, TenantId, Tier};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenants::reads;

pub use config::{COLLECTOR, KEY, LOGS, TENANT_HEADER};

/// The phase.
#[derive(Debug)]
pub struct SetupObservability {
    cluster: Cluster,
    helm: Helm,
}

/// What will be collected, and where it goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The tenant's namespace.
    pub namespace: Namespace,
    /// The tenant, as its telemetry names it.
    pub slug: Slug,
    /// The tenant, as Loki and Tempo know it.
    pub tenant_id: TenantId,
    /// Decides the collector's size.
    pub tier: Tier,
    /// Nothing of it runs.
    pub suspended: bool,
    /// Before the `/` of the platform's labels.
    pub label_prefix: String,
    /// Where logs go.
    pub loki: Backend,
    /// Where traces go.
    pub tempo: Backend,
    /// The collector's chart, its repository filled in.
    pub chart: Chart,
    /// The collector's image.
    pub image: String,
    /// Hours that logs are kept.
    pub logs_kept: u32,
    /// Hours that traces are kept.
    pub traces_kept: u32,
    /// Where the control plane tries the path from.
    pub control_plane_namespace: String,
    /// Where the control plane reaches the tenant's collector.
    pub collector_url: String,
    /// How long the phase may wait.
    pub ready_within: Seconds,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The collector's release.
    pub collector: String,
    /// The run that first installed it.
    pub created_by: Option<RunId>,
    /// What stays when the tenant goes, for as long as it is kept.
    pub kept: Vec<Retention>,
}

engine::runtime_phase!(SetupObservability);

impl Phase for SetupObservability {
    const NAME: PhaseName = PhaseName::new(reads::SETUP_OBSERVABILITY);
    type Plan = Plan;
    type Checkpoint = Checkpoint;

    async fn connect(clients: &impl Clients) -> Result<Self> {
        let cluster = Cluster::of(clients.platform()).await?;
        Ok(Self { helm: Helm::connect(&cluster)?, cluster })
    }

    fn plan(&self, tenant: &Tenant, platform: &Platform, _: &Checkpoints) -> Result<Plan> {
        plan::plan(tenant, platform)
    }

    async fn apply(&self, plan: &Plan, step: &Step) -> Result<Progress<Checkpoint>> {
        let cluster = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        objects(plan)?.ensure(&cluster, step).await?;
        let release = collector::release(plan);
        let install = self.helm.ensure_release(&release, step.owner(), step);
        let ensured = step.operation("install collector", install).await?;
        let look = self.cluster.ready(plan.namespace.as_str(), Deployments::Release(COLLECTOR));
        let within = plan.ready_within;
        step.wait_within("collector ready", within, look, |late| too_late("not_ready", late)).await?;
        // Without a collector there is nothing to send through.
        if !plan.suspended {
            let trial = try_out::try_out(plan);
            let unconnected = |late| too_late("not_connected", late);
            step.wait_within("log and trace pipeline", within, trial, unconnected).await?;
        }
        Ok(Progress::Done(Checkpoint {
            collector: release.name,
            created_by: ensured.created_by,
            kept: plan::kept(plan),
        }))
    }

    async fn revert(&self, plan: &Plan, _: Option<&Checkpoint>, step: &Step) -> Result<Progress<()>> {
        let cluster = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        let (namespace, prefix) = (&plan.namespace, &plan.label_prefix);
        let uninstall = self.helm.ensure_uninstalled(namespace, COLLECTOR, prefix, step.owner(), step);
        step.wait_for("uninstall collector", uninstall).await?;
        objects(plan)?.delete(&cluster, step).await?;
        Ok(Progress::Done(()))
    }
}

/// Beside the release.
fn objects(plan: &Plan) -> Result<Objects> {
    Ok(Objects::default()
        .apply_all("network policies", &policies::all(plan)?)
        .apply_all("configuration", &config::config_maps(plan)?))
}

fn too_late(code: &'static str, late: String) -> Error {
    Error::retryable(code, late).next(
        "Look at the collector's log, and whether Loki and Tempo answer; raise observability.ready_within if they only \
         need longer.",
    )
}

/// An object of a kind known at compile time, written as its manifest.
pub(crate) fn object<K: DeserializeOwned>(manifest: Value) -> Result<K> {
    serde_json::from_value(manifest).map_err(|error| {
        Error::fatal("object_invalid", error.to_string()).next("Report this fault in the phase's code.")
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
