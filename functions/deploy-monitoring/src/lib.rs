//! DEPLOY_MONITORING: a Prometheus, an Alertmanager and a Grafana that know the tenant's namespace and nothing else.
//!
//! In: the tenant's namespace and address for alerts, the platform's mail server and metrics, secrets by reference. Out:
//! the Grafana release. Needs the Prometheus operator in the cluster. Fails with `secret_reference_forbidden`,
//! `secret_missing`, `secret_unusable`, `foreign_object`, `not_ready`, and as Helm does. Rollback: uninstalls the release
//! and deletes the custom resources and what belongs to them, in reverse order.

mod alerting;
mod channels;
mod dashboards;
mod grafana;
pub mod kinds;
mod plan;
mod policies;
mod prometheus;
mod rules;
mod shares;

use std::collections::BTreeMap;

use cluster::{Cluster, Deployments, Objects, Reach};
use engine::phase::{Checkpoints, Clients, Error, Phase, Progress, Result, Step};
use helm::Helm;
use k8s_openapi::api::core::v1;
use model::platform::{Chart, ClusterMetrics, Mail, Platform, Seconds};
use model::secret::SecretRef;
use model::{Namespace, PhaseName, RunId, Slug, Tenant, TenantId, Tier};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use kinds::{AlertmanagerKind, PrometheusKind};

/// The phase.
#[derive(Debug)]
pub struct DeployMonitoring {
    cluster: Cluster,
    helm: Helm,
}

/// What will be watched, and who will be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The tenant's namespace.
    pub namespace: Namespace,
    /// The tenant; Prometheus and Alertmanager are named after it.
    pub slug: Slug,
    /// Selects the tenant's own objects.
    pub tenant_id: TenantId,
    /// Decides the pods' sizes.
    pub tier: Tier,
    /// Nothing of it runs.
    pub suspended: bool,
    /// Before the `/` of the platform's labels.
    pub label_prefix: String,
    /// Version of Prometheus.
    pub prometheus_version: String,
    /// Version of Alertmanager.
    pub alertmanager_version: String,
    /// How long measurements are kept, a Prometheus duration.
    pub retention: String,
    /// How often is measured, a Prometheus duration.
    pub scrape_interval: String,
    /// Where the cluster's own measurements are.
    pub cluster_metrics: ClusterMetrics,
    /// Grafana's chart, its repository filled in.
    pub grafana: Chart,
    /// Where alerts are mailed to.
    pub email: String,
    /// By which server.
    pub mail: Mail,
    /// Where the Slack webhook is kept; the webhook itself is read when the phase runs.
    pub slack_webhook: Option<SecretRef>,
    /// Where the mail server is when it has no addresses of its own.
    pub control_plane_namespace: String,
    /// Addresses of the API server, where the platform says them.
    pub api_server_cidrs: Vec<String>,
    /// How long the phase may wait for readiness.
    pub ready_within: Seconds,
    /// The ingress controller, as its measurements name it.
    pub controller: String,
    /// Labels that select the ingress controller's pods.
    pub controller_pods: BTreeMap<String, String>,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// Grafana's release.
    pub grafana: String,
    /// The run that first installed it.
    pub created_by: Option<RunId>,
}

engine::runtime_phase!(DeployMonitoring);

impl Phase for DeployMonitoring {
    const NAME: PhaseName = PhaseName::new("DEPLOY_MONITORING");
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
        step.operation("network policies", async {
            let api_server = self.cluster.api_server(&plan.api_server_cidrs).await?;
            objects(plan, &api_server)?.make("network policies", &cluster).await
        })
        .await?;
        let objects = objects(plan, &[])?;
        step.operation("prometheus", async { objects.make("prometheus", &cluster).await.map(drop) }).await?;
        objects.ensure_in("dashboards", &cluster, step).await?;
        objects.ensure_in("alert rules", &cluster, step).await?;
        step.operation("notification channels", self.channels(&objects, &cluster, plan, step)).await?;
        let grafana = grafana::release(plan);
        let install = async {
            objects.make("install grafana", &cluster).await?;
            self.helm.ensure_release(&grafana, step.owner(), step).await
        };
        let ensured = step.operation("install grafana", install).await?;
        step.wait_within("ready", plan.ready_within, self.ready(plan), |late| {
            Error::retryable("not_ready", late).next(
                "Look at the pods' events and logs, and whether the Prometheus operator runs; raise \
                 monitoring.ready_within if they only need longer.",
            )
        })
        .await?;
        Ok(Progress::Done(Checkpoint { grafana: grafana.name, created_by: ensured.created_by }))
    }

    async fn revert(&self, plan: &Plan, _: Option<&Checkpoint>, step: &Step) -> Result<Progress<()>> {
        let cluster = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        let (namespace, prefix) = (&plan.namespace, &plan.label_prefix);
        let grafana = grafana::name(plan);
        let uninstall = self.helm.ensure_uninstalled(namespace, &grafana, prefix, step.owner(), step);
        step.wait_for("uninstall grafana", uninstall).await?;
        objects(plan, &[])?.delete(&cluster, step).await?;
        Ok(Progress::Done(()))
    }
}

impl DeployMonitoring {
    /// The operator says of its two that they run; of Grafana its Deployment does.
    async fn ready(&self, plan: &Plan) -> Result<Progress<()>> {
        let (namespace, name) = (plan.namespace.as_str(), plan.slug.as_str());
        self.cluster.has_condition::<PrometheusKind>(namespace, name, "Available").await?.or_park()?;
        self.cluster.has_condition::<AlertmanagerKind>(namespace, name, "Available").await?.or_park()?;
        self.cluster.ready(namespace, Deployments::Release(&grafana::name(plan))).await
    }
}

/// What the phase makes beside the release, in the order in which it is there. Only the network policies need to know where
/// the API server is.
fn objects(plan: &Plan, api_server: &[Reach]) -> Result<Objects> {
    let (account, role, binding) = prometheus::access(plan)?;
    Ok(Objects::default()
        .apply_all("network policies", &policies::all(plan, api_server)?)
        .apply("prometheus", &account)
        .apply("prometheus", &role)
        .apply("prometheus", &binding)
        .apply("prometheus", &prometheus::services(plan))
        .apply("prometheus", &prometheus::ingress(plan))
        .apply("prometheus", &prometheus::cluster(plan))
        .apply("prometheus", &prometheus::prometheus(plan))
        .apply_all("dashboards", &dashboards::config_maps(plan)?)
        .keep("install grafana", &grafana::admin(plan))
        .undone_as("dashboards")
        .apply("alert rules", &prometheus::alert_rules(plan))
        // Its values are read while the phase works; without a channel that needs one there is none.
        .elsewhere::<v1::Secret>("notification channels", Some(plan.namespace.as_str()), alerting::SECRET)
        .apply("notification channels", &alerting::routing(plan))
        .apply("notification channels", &alerting::alertmanager(plan)))
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
