//! CREATE_TENANT_INGRESS: the tenant's certificate and the routes to its services.
//!
//! Reads: the IngressClass of DEPLOY_INGRESS_CONTROLLER, by its name, and the DNS zone of CREATE_DNS_ZONE, in which the
//! issuer's challenges are answered; which Deployment PROVISION_DEPLOYMENT has made, whose readiness is awaited here: the
//! public is let to what can serve. Makes: the Services `api-gateway` and `bi-workbench`, the Certificate, and, once that
//! is issued, the Ingress `tenant-ingress`. Fails with: `foreign_object`, `cert_manager_missing`, `certificate_failed`,
//! `certificate_not_ready`, `not_ready`. Undo: removes them in reverse order, waits until cert-manager has taken away what it made on the
//! way, and removes the Secret with the certificate.

mod certificate;
mod objects;

use chrono::{DateTime, Utc};
use cluster::certificate::Certificate;
use cluster::{Cluster, Deployments, Ensured, Target};
use engine::phase::{Checkpoints, Clients, Error, Phase, Progress, Result, Step};
use k8s_openapi::api::core::v1::Secret;
use model::platform::{IssuerKind, Platform, Seconds};
use model::{Namespace, PhaseName, Slug, Tenant};
use serde::{Deserialize, Serialize};
use tenants::reads;

pub use objects::{API_GATEWAY, BI_WORKBENCH, INGRESS};

/// The phase.
#[derive(Debug)]
pub struct CreateTenantIngress {
    cluster: Cluster,
}

/// What will be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The tenant's namespace.
    pub namespace: Namespace,
    /// The tenant.
    pub slug: Slug,
    /// The tenant's name in DNS, such as `acme.matih.ai`; all below it is the tenant's too.
    pub host: String,
    /// The Certificate, and the Secret that holds what is issued. One name, because cert-manager makes a Certificate of the
    /// Secret's name for an Ingress that names an issuer, unless there is one.
    pub certificate: String,
    /// Who issues it.
    pub issuer: String,
    /// What kind of issuer.
    pub issuer_kind: IssuerKind,
    /// The IngressClass.
    pub class: String,
    /// How long the certificate may take.
    pub ready_within: Seconds,
    /// How long cert-manager may take to remove its challenges' DNS records, in an undo.
    pub cleanup_within: Seconds,
    /// How long cert-manager waits after a failure; doubles each time.
    pub backoff: Seconds,
    /// The longest of those waits.
    pub backoff_cap: Seconds,
    /// Before the `/` in the labels that carry ownership.
    pub label_prefix: String,
    /// The Deployment behind the routes to the tenant's API, if an earlier phase has made one.
    pub serves: Option<Serves>,
}

/// A Deployment that must be ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Serves {
    /// Its name.
    pub deployment: String,
    /// How long it may take.
    pub ready_within: Seconds,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The names that the certificate is for.
    pub hosts: Vec<String>,
    /// The Secret that holds it.
    pub secret: String,
    /// When it ends; cert-manager renews it before.
    pub not_after: Option<DateTime<Utc>>,
    /// The Certificate's uid and the run that created it.
    pub certificate: Ensured,
}

engine::runtime_phase!(CreateTenantIngress);

impl Phase for CreateTenantIngress {
    const NAME: PhaseName = PhaseName::new("CREATE_TENANT_INGRESS");
    type Plan = Plan;
    type Checkpoint = Checkpoint;

    async fn connect(clients: &impl Clients) -> Result<Self> {
        Ok(Self { cluster: Cluster::of(clients.platform()).await? })
    }

    fn plan(&self, tenant: &Tenant, platform: &Platform, earlier: &Checkpoints) -> Result<Plan> {
        plan(tenant, platform, earlier)
    }

    async fn apply(&self, plan: &Plan, step: &Step) -> Result<Progress<Checkpoint>> {
        let owned = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        let objects = objects::all(plan);
        objects.ensure_in("services", &owned, step).await?;
        let certificate = step.operation("certificate", certificate::certificate(&owned, plan, step)).await?;
        let not_after = self.issued(&owned, plan, step).await?;
        if let Some(serves) = &plan.serves {
            self.ready(plan, serves, step).await?;
        }
        objects.ensure_in("ingress", &owned, step).await?;
        Ok(Progress::Done(Checkpoint {
            hosts: objects::hosts(plan),
            secret: plan.certificate.clone(),
            not_after,
            certificate,
        }))
    }

    async fn revert(&self, plan: &Plan, _: Option<&Checkpoint>, step: &Step) -> Result<Progress<()>> {
        let owned = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        let within = Some(plan.namespace.as_str());
        let certificate = Target::of::<Certificate>(within, &plan.certificate);
        objects::all(plan).delete(&owned, step).await?;
        // A challenge takes its DNS record away before it goes, for which the zone must still be there; and a Secret that
        // is deleted earlier would be written again.
        step.wait_for("challenges gone", self.remains_gone(&owned, &certificate, plan, step)).await?;
        let secret = Target::of::<Secret>(within, &plan.certificate);
        step.wait_for("delete secret", owned.ensure_deleted(&secret)).await?;
        Ok(Progress::Done(()))
    }
}

impl CreateTenantIngress {
    /// Parks until the instance can serve, or fails when that takes too long.
    async fn ready(&self, plan: &Plan, serves: &Serves, step: &Step) -> Result<()> {
        let name = serves.deployment.as_str();
        let which = [name];
        let look = self.cluster.ready(plan.namespace.as_str(), Deployments::Named(&which));
        step.wait_within(&format!("{name} ready"), serves.ready_within, look, |late| {
            Error::retryable("not_ready", late).next(
                "Look at the pods' events and logs, and whether they can log in to the tenant's database.",
            )
        })
        .await
    }
}

fn plan(tenant: &Tenant, platform: &Platform, earlier: &Checkpoints) -> Result<Plan> {
    let provisioned: Option<reads::DeploymentName> = earlier.read()?;
    let named = platform.ingress.of(tenant, platform).map_err(|(key, why)| {
        Error::fatal("platform_incomplete", format!("ingress.{key}: {why}"))
            .next("Correct the platform file, then retry.")
    })?;
    let certificates = &platform.certificates;
    Ok(Plan {
        namespace: platform.namespace(&tenant.slug),
        slug: tenant.slug.clone(),
        host: format!("{}.{}", tenant.slug, platform.domain),
        certificate: format!("{}-tls-certificate", tenant.slug),
        issuer: certificates.issuer.clone(),
        issuer_kind: certificates.issuer_kind,
        class: named.class,
        ready_within: certificates.ready_within,
        cleanup_within: certificates.cleanup_within,
        backoff: certificates.backoff,
        backoff_cap: certificates.backoff_cap,
        label_prefix: platform.label_prefix.clone(),
        serves: provisioned.map(|reads::DeploymentName { deployment }| Serves {
            deployment,
            ready_within: platform.tenant_api.ready_within,
        }),
    })
}

#[cfg(test)]
mod tests;
