//! DEPLOY_INGRESS_CONTROLLER: the tenant's own ingress controller, with a load balancer and an address of its own.
//!
//! Reads: the namespace (CREATE_NAMESPACE), by its name. Makes: the controller's Helm release and IngressClass, the rights
//! and network policies it needs, and waits until its load balancer has an address, which is the checkpoint's. Fails with:
//! `foreign_object`, `chart_not_found`, `chart_invalid`, `quota_exceeded`, `helm_failed`, `class_mismatch`,
//! `no_external_ip`, `address_is_a_name`, `not_ready`. Undo: uninstalls the release, waits until its Service is gone, by
//! which the address is released, then removes the rest.

mod objects;

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::{Address, Cluster, Deployments, Owned, Target};
use engine::phase::{Checkpoints, Clients, Error, Phase, Progress, Result, Step, reads};
use helm::{Helm, Release};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{IngressClass, NetworkPolicy};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use model::platform::{Platform, Seconds};
use model::{Namespace, PhaseName, RunId, Tenant};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What the wait for the address is divided into, for those who watch it (provisioning reference, phase 6: "1/60").
const LOOKS: u32 = 60;

/// The phase.
#[derive(Debug)]
pub struct DeployIngressController {
    helm: Helm,
    cluster: Cluster,
}

/// What will be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The tenant's namespace.
    pub namespace: Namespace,
    /// The release's name, after which what is cluster-scoped is named.
    pub release: String,
    /// The chart's name.
    pub chart: String,
    /// The chart's exact version.
    pub version: String,
    /// Where the chart is.
    pub repository_url: String,
    /// The chart's values.
    pub values: Value,
    /// The IngressClass.
    pub class: String,
    /// The IngressClass's controller.
    pub controller: String,
    /// The Service with the load balancer.
    pub service: String,
    /// The account that the controller runs as.
    pub service_account: String,
    /// Labels that select the controller's pods.
    pub pods: BTreeMap<String, String>,
    /// The pods' ports that the public reaches.
    pub ports: Vec<u16>,
    /// The pods' port that answers the health probe besides.
    pub health_port: u16,
    /// Addresses of the public.
    pub public_cidrs: Vec<String>,
    /// Addresses of the load balancer's health probe.
    pub probe_cidrs: Vec<String>,
    /// Addresses of the API server, where the platform says them.
    pub api_server_cidrs: Vec<String>,
    /// How long the address may take.
    pub address_within: Seconds,
    /// How long the pods may take to become ready.
    pub ready_within: Seconds,
    /// Before the `/` in the labels that carry ownership.
    pub label_prefix: String,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The load balancer's IP address.
    pub address: String,
    /// The IngressClass.
    pub class: String,
    /// The release's name.
    pub release: String,
    /// The run that first installed it.
    pub created_by: Option<RunId>,
}

engine::runtime_phase!(DeployIngressController);

impl Phase for DeployIngressController {
    const NAME: PhaseName = PhaseName::new(reads::DEPLOY_INGRESS_CONTROLLER);
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
        let owned = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        let release = release(plan);
        step.operation("repository", async {
            self.helm.find_chart(&release, step).await?;
            Ok(json!({ "chart": plan.chart, "version": plan.version }))
        })
        .await?;
        step.operation("network policies", async {
            let api_server = self.cluster.api_server(&plan.api_server_cidrs).await?;
            owned.ensure_all(&objects::policies(plan, &api_server)).await
        })
        .await?;
        step.operation("access", access(&owned, plan)).await?;
        let installed = step
            .operation("release", async {
                // Charts that bring no class would leave somebody else's to be found after the fact.
                owned.expect_free_for(&class_of(plan), by_release(plan)).await?;
                self.helm.ensure_release(&release, step.owner(), step).await
            })
            .await?;
        step.operation("class", self.class(&owned, plan, installed.created_by)).await?;
        let address = self.address(plan, step).await?;
        self.ready(plan, step).await?;
        Ok(Progress::Done(Checkpoint {
            address,
            class: plan.class.clone(),
            release: plan.release.clone(),
            created_by: installed.created_by,
        }))
    }

    async fn revert(&self, plan: &Plan, _: Option<&Checkpoint>, step: &Step) -> Result<Progress<()>> {
        let owned = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        let (namespace, release) = (&plan.namespace, &plan.release);
        let uninstall =
            self.helm.ensure_uninstalled(namespace, release, &plan.label_prefix, step.owner(), step);
        step.wait_for("uninstall", uninstall).await?;
        let within = Some(namespace.as_str());
        // The cloud takes its load balancer down before it lets the Service go, and with it the address.
        let service = Target::of::<Service>(within, &plan.service);
        step.wait_for("release address", async {
            owned.ensure_left(&service).await?.or_park()?;
            // Of a release whose record was lost.
            owned.ensure_deleted(&service).await
        })
        .await?;
        let mut rest = vec![
            ("class", class_of(plan)),
            ("role binding", Target::of::<ClusterRoleBinding>(None, &objects::role_name(plan))),
            ("role", Target::of::<ClusterRole>(None, &objects::role_name(plan))),
        ];
        rest.extend(objects::POLICIES.map(|name| (name, Target::of::<NetworkPolicy>(within, name))));
        for (what, target) in rest {
            step.wait_for(&format!("delete {what}"), owned.ensure_deleted(&target)).await?;
        }
        Ok(Progress::Done(()))
    }
}

impl DeployIngressController {
    /// The chart makes the class; one that does not gets ours. Either is tied to the tenant's namespace.
    async fn class(&self, owned: &Owned, plan: &Plan, installed_by: Option<RunId>) -> Result<()> {
        let target = class_of(plan);
        if !owned.tie(&target, by_release(plan), installed_by).await? {
            let reference = owned.namespace_reference(plan.namespace.as_str()).await?;
            owned.ensure(&objects::class(plan, reference)).await?;
        }
        let controller = self.cluster.ingress_controller_of(&plan.class).await?;
        if controller.as_deref() == Some(&plan.controller) {
            return Ok(());
        }
        let found = controller.unwrap_or_else(|| "none".into());
        Err(Error::fatal(
            "class_mismatch",
            format!("{target} is of controller {found} and not of {}", plan.controller),
        )
        .next("Make ingress.controller and the chart's values agree in the platform file, then start the tenant again."))
    }

    /// Parks until the load balancer has an IP address, or fails when that takes too long.
    async fn address(&self, plan: &Plan, step: &Step) -> Result<String> {
        let (namespace, service) = (plan.namespace.as_str(), plan.service.as_str());
        let within = plan.address_within.duration();
        // Half of each interval is watched, in which the address is noticed at once.
        let half = (within / (2 * LOOKS)).clamp(Duration::from_millis(500), Duration::from_secs(5));
        step.wait_for("address", async {
            let found = self.cluster.load_balancer(namespace, service, half).await?;
            let lacks = match found {
                Address::Ip(ip) => return Ok(Progress::Done(ip)),
                Address::Host(host) => {
                    return Err(Error::fatal(
                        "address_is_a_name",
                        format!("Service {namespace}/{service} has the host name {host} and no IP address"),
                    )
                    .next("The tenant's DNS records need an IP address: use a load balancer that has one."));
                }
                Address::Pending => format!("Service {namespace}/{service} has no external IP"),
                Address::Absent => format!("Service {namespace}/{service} is not there"),
            };
            if step.waited() >= within {
                let within = plan.address_within.0;
                return Err(Error::retryable("no_external_ip", format!("{lacks} after {within} s")).next(
                    "Look at the Service's events and at the cloud's quota of public addresses; it is tried again, \
                     or raise ingress.address_within.",
                ));
            }
            let look = look(step.waited(), within);
            Ok(Progress::wait(half, format!("{lacks}, attempt {look}/{LOOKS}")))
        })
        .await
    }

    /// Parks until the controller's pods are ready, or fails when that takes too long.
    async fn ready(&self, plan: &Plan, step: &Step) -> Result<()> {
        let ready = self.cluster.ready(plan.namespace.as_str(), Deployments::Labelled(&plan.pods));
        step.wait_within("ready", plan.ready_within, ready, |late| {
            Error::retryable("not_ready", late).next(
                "Look at the pods' events and logs; raise charts.ready_within if they only need longer.",
            )
        })
        .await
    }
}

/// Which of the looks it is, for the display: what counts is the time.
fn look(waited: Duration, within: Duration) -> u32 {
    let each = within.as_secs_f64() / f64::from(LOOKS);
    let past = (1..LOOKS).filter(|look| waited.as_secs_f64() >= (f64::from(*look) - 0.5) * each).count();
    u32::try_from(past).unwrap_or(LOOKS) + 1
}

/// What the chart gives by a Role in the namespace cannot be given for cluster-scoped kinds: the controller may read
/// IngressClasses by a ClusterRole of its own, and nothing else of the cluster.
async fn access(owned: &Owned, plan: &Plan) -> Result<()> {
    let reference = owned.namespace_reference(plan.namespace.as_str()).await?;
    owned.ensure(&objects::role(plan, reference.clone())).await?;
    owned.ensure(&objects::role_binding(plan, reference)).await?;
    Ok(())
}

fn class_of(plan: &Plan) -> Target {
    Target::of::<IngressClass>(None, &plan.class)
}

fn by_release(plan: &Plan) -> (&str, &str) {
    (&plan.release, plan.namespace.as_str())
}

fn release(plan: &Plan) -> Release {
    Release {
        namespace: plan.namespace.clone(),
        name: plan.release.clone(),
        chart: plan.chart.clone(),
        version: plan.version.clone(),
        repository_url: plan.repository_url.clone(),
        values: plan.values.clone(),
        label_prefix: plan.label_prefix.clone(),
    }
}

fn plan(tenant: &Tenant, platform: &Platform) -> Result<Plan> {
    let incomplete =
        |why: String| Error::fatal("platform_incomplete", why).next("Correct the platform file, then retry.");
    let ingress = &platform.ingress;
    let named =
        ingress.of(tenant, platform).map_err(|(key, why)| incomplete(format!("ingress.{key}: {why}")))?;
    let repository_url = if ingress.repository_url.is_empty() {
        platform.charts.repository_url.clone()
    } else {
        ingress.repository_url.clone()
    };
    if repository_url.is_empty() {
        return Err(incomplete("ingress.repository_url and charts.repository_url are empty".into()));
    }
    Ok(Plan {
        namespace: platform.namespace(&tenant.slug),
        release: named.release,
        chart: ingress.chart.clone(),
        version: ingress.version.clone(),
        repository_url,
        values: named.values,
        class: named.class,
        controller: named.controller,
        service: named.service,
        service_account: named.service_account,
        pods: named.pods,
        ports: ingress.ports.clone(),
        health_port: ingress.health_port,
        public_cidrs: ingress.public_cidrs.clone(),
        probe_cidrs: ingress.probe_cidrs.clone(),
        api_server_cidrs: platform.api_server_cidrs.clone(),
        address_within: ingress.address_within,
        ready_within: platform.charts.ready_within,
        label_prefix: platform.label_prefix.clone(),
    })
}

#[cfg(test)]
mod tests;
