//! DEPLOY_MONITORING: a Prometheus, an Alertmanager and a Grafana that know the tenant's namespace and nothing else.
//!
//! In: the tenant's namespace and address for alerts, the platform's mail server and metrics, secrets by reference. Out:
//! the Grafana release. Needs the Prometheus operator in the cluster. Fails with `secret_reference_forbidden`,
//! `secret_missing`, `secret_unusable`, `foreign_object`, `not_ready`, and as Helm does. Rollback: uninstalls the release
//! and deletes the custom resources and what belongs to them, in reverse order.

mod alerting;
mod dashboards;
mod grafana;
pub mod kinds;
mod policies;
mod prometheus;
mod rules;
mod shares;

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::{Cluster, Deployments, Objects, Owned, Reach};
use engine::phase::{Checkpoints, Clients, Error, Phase, Progress, Result, Step};
use helm::Helm;
use k8s_openapi::api::core::v1;
use model::platform::{Chart, ClusterMetrics, Mail, Platform, Seconds};
use model::secret::{Secret, SecretRef};
use model::{Namespace, PhaseName, RunId, Slug, Tenant, TenantId, Tier};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use kinds::{AlertmanagerKind, PrometheusKind};

/// Between two looks for a secret of the tenant's own.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

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
        plan(tenant, platform)
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
    /// The channels' secrets are read here, at the time they are needed, and go nowhere but into the tenant's Secret.
    async fn channels(&self, objects: &Objects, cluster: &Owned, plan: &Plan, step: &Step) -> Result<()> {
        let mut values = Vec::new();
        for (key, reference) in alerting::references(plan) {
            values.push((key, self.secret(plan, reference, step).await?));
        }
        if !values.is_empty() {
            cluster.ensure(&alerting::secret(plan, &values)?).await?;
        }
        objects.make("notification channels", cluster).await?;
        Ok(())
    }

    /// What a reference names. One into the tenant's own namespace is read where that is, which need not be where the
    /// platform's secrets are; and as the namespace is this very run's, what is not there yet is waited for.
    async fn secret(&self, plan: &Plan, reference: &SecretRef, step: &Step) -> Result<Secret> {
        let SecretRef::Kubernetes { namespace, name, key } = reference else {
            return self.cluster.resolve(reference).await;
        };
        if namespace != plan.namespace.as_str() {
            return self.cluster.resolve(reference).await;
        }
        let values = self.cluster.read_secret(namespace, name).await?;
        if let Some(value) = values.and_then(|mut values| values.remove(key)) {
            return Ok(value);
        }
        let missing = format!("{reference} is not there");
        if step.waited() < plan.ready_within.duration() {
            return Err(Error::parked(LOOK_AGAIN, missing));
        }
        Err(Error::retryable("secret_missing", format!("{missing} after {} s", plan.ready_within.0))
            .next("Put the secret where the reference says, in the tenant's cluster; it is tried again."))
    }

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

fn plan(tenant: &Tenant, platform: &Platform) -> Result<Plan> {
    let monitoring = &platform.monitoring;
    let namespace = platform.namespace(&tenant.slug);
    let mut grafana = monitoring.grafana.clone();
    if grafana.repository_url.is_empty() {
        grafana.repository_url.clone_from(&platform.charts.repository_url);
    }
    if grafana.repository_url.is_empty() {
        return Err(Error::fatal("platform_incomplete", "charts.repository_url is empty")
            .next("Set charts.repository_url in the platform file, then retry."));
    }
    let controller = platform.ingress.of(tenant, platform).map_err(|(key, why)| {
        Error::fatal("platform_incomplete", format!("ingress.{key}: {why}"))
            .next("Correct the platform file, then retry.")
    })?;
    let slack_webhook = match &tenant.alerting.slack_webhook_ref {
        // Looked at again: the platform may have become stricter since the request.
        Some(own) if !monitoring.allows(own, &tenant.slug, &namespace) => {
            return Err(Error::fatal(
                "secret_reference_forbidden",
                format!("{} may not name {own} as its Slack webhook", tenant.slug),
            )
            .next("Allow it in monitoring.tenant_references of the platform file, then retry."));
        }
        Some(own) => Some(own.clone()),
        None => monitoring.slack_webhook.clone(),
    };
    Ok(Plan {
        slug: tenant.slug.clone(),
        tenant_id: tenant.id,
        tier: tenant.tier,
        suspended: tenant.suspended,
        label_prefix: platform.label_prefix.clone(),
        prometheus_version: monitoring.prometheus_version.clone(),
        alertmanager_version: monitoring.alertmanager_version.clone(),
        retention: monitoring.retention.clone(),
        scrape_interval: monitoring.scrape_interval.clone(),
        cluster_metrics: monitoring.cluster_metrics.clone(),
        grafana,
        email: tenant.alerting.email.clone().unwrap_or_else(|| tenant.admin_email.clone()),
        mail: monitoring.mail.clone(),
        slack_webhook,
        control_plane_namespace: platform.control_plane_namespace.clone(),
        api_server_cidrs: platform.api_server_cidrs.clone(),
        ready_within: monitoring.ready_within,
        controller: controller.controller,
        controller_pods: controller.pods,
        namespace,
    })
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
