//! DEPLOY_INGRESS_CONTROLLER: the tenant's own ingress controller, with a load balancer and an address of its own.
//!
//! Reads: the namespace (CREATE_NAMESPACE), by its name. Makes: the controller's Helm release and IngressClass, the rights
//! and network policies it needs, and waits until its load balancer has an address, which is the checkpoint's. Fails with:
//! `foreign_object`, `chart_not_found`, `chart_invalid`, `quota_exceeded`, `helm_failed`, `class_mismatch`,
//! `no_external_ip`, `address_is_a_name`, `not_ready`. Undo: uninstalls the release, waits until its Service is gone, by
//! which the address is released, then removes the rest.

mod address;
mod class;
mod objects;
mod plan;

use std::collections::BTreeMap;

use cluster::{Cluster, Deployments, Target};
use engine::phase::{Checkpoints, Clients, Error, Phase, Progress, Result, Step};
use helm::{Helm, Release};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use model::platform::{Platform, Seconds};
use model::{Namespace, PhaseName, RunId, Tenant};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use class::{access, by_release, class_of};
use tenants::reads;

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
        plan::plan(tenant, platform)
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

#[cfg(test)]
mod tests;
