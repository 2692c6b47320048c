//! SERVE_DOMAINS: for each verified domain of the tenant's own a certificate and a route to the tenant's API.
//!
//! Only a change has it: a domain is verified, or given up, while the tenant lives. Reads: the IngressClass of
//! DEPLOY_INGRESS_CONTROLLER by its name, the Service `api-gateway` of CREATE_TENANT_INGRESS by its name. Makes, for the
//! domain of number n: the Certificate and the Ingress `<slug>-domain-<n>`; takes away those of domains that are no longer
//! the tenant's. A certificate is not waited for, because it depends on DNS that is not ours: cert-manager goes on by itself,
//! the tenant's domains say how far it is, and one domain's failure touches nothing else. Fails with: `foreign_object`,
//! `cert_manager_missing`. Undo: removes them all, waits until cert-manager has taken away what it made on the way, and
//! removes the Secrets.

mod objects;
mod removal;

use std::collections::BTreeSet;

use cluster::certificate::Certificate;
use cluster::{Cluster, Owned, Target};
use engine::phase::{Checkpoints, Clients, Error, Owner, Phase, Progress, Result, Scope, Step};
use k8s_openapi::api::core::v1::Secret;
use model::platform::{DomainChallenge, IssuerKind, Platform, Seconds};
use model::{Namespace, OwnDomain, PhaseName, Slug, Tenant};
use serde::{Deserialize, Serialize};

/// The phase.
#[derive(Debug)]
pub struct ServeDomains {
    cluster: Cluster,
}

/// What will be served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The tenant's namespace.
    pub namespace: Namespace,
    /// The tenant.
    pub slug: Slug,
    /// Its verified domains.
    pub domains: Vec<OwnDomain>,
    /// Who issues the certificates.
    pub issuer: String,
    /// What kind of issuer.
    pub issuer_kind: IssuerKind,
    /// How a certificate's challenge is answered.
    pub challenge: DomainChallenge,
    /// The IngressClass.
    pub class: String,
    /// How long cert-manager may take to remove its challenges' DNS records.
    pub cleanup_within: Seconds,
    /// Before the `/` in the labels that carry ownership.
    pub label_prefix: String,
}

/// What is served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The domains.
    pub domains: Vec<OwnDomain>,
}

engine::runtime_phase!(ServeDomains);

impl Phase for ServeDomains {
    const NAME: PhaseName = PhaseName::new("SERVE_DOMAINS");
    type Plan = Plan;
    type Checkpoint = Checkpoint;

    async fn connect(clients: &impl Clients) -> Result<Self> {
        Ok(Self { cluster: Cluster::of(clients.platform()).await? })
    }

    fn plan(&self, tenant: &Tenant, platform: &Platform, _: &Checkpoints) -> Result<Plan> {
        plan(tenant, platform)
    }

    async fn apply(&self, plan: &Plan, step: &Step) -> Result<Progress<Checkpoint>> {
        let owned = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        for domain in &plan.domains {
            step.operation(&format!("serve {}", domain.domain), serve(&owned, plan, domain, step)).await?;
        }
        // Those that an earlier run has made are the tenant's too, and it no longer wants them.
        let whole = Owner { scope: Scope::Tenant, ..step.owner().clone() };
        let kept: BTreeSet<String> = plan.domains.iter().map(|domain| plan.name(domain)).collect();
        self.remove(&self.cluster.owned_by(&whole, &plan.label_prefix), plan, &kept, step).await?;
        Ok(Progress::Done(Checkpoint { domains: plan.domains.clone() }))
    }

    async fn revert(&self, plan: &Plan, _: Option<&Checkpoint>, step: &Step) -> Result<Progress<()>> {
        let owned = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        self.remove(&owned, plan, &BTreeSet::new(), step).await?;
        Ok(Progress::Done(()))
    }
}

impl Plan {
    /// Of a domain's Certificate, Secret and Ingress.
    pub fn name(&self, domain: &OwnDomain) -> String {
        format!("{}{}", self.prefix(), domain.number)
    }

    fn prefix(&self) -> String {
        format!("{}-domain-", self.slug)
    }
}

/// Somebody else's Secret of that name would be overwritten by cert-manager, so it is looked for first.
async fn serve(owned: &Owned, plan: &Plan, domain: &OwnDomain, step: &Step) -> Result<()> {
    let (within, name) = (plan.namespace.as_str(), plan.name(domain));
    owned.expect_free(&Target::of::<Secret>(Some(within), &name)).await?;
    // The Secret says what the Certificate says, so that the undo knows whose it is when only the Secret is left.
    let created_by = owned.creator(&Target::of::<Certificate>(Some(within), &name)).await?;
    let (owner, run) = (step.owner(), created_by.unwrap_or(step.owner().run_id));
    match owned.ensure(&objects::certificate(plan, domain, owner.tenant_id, run)).await {
        Err(error) if error.code == "object_missing" && !error.message.contains("namespaces") => {
            return Err(Error::unavailable("cert-manager", "cert_manager_missing", error.message)
                .next("Install cert-manager in the tenants' cluster; the run then continues on its own."));
        }
        ensured => ensured?,
    };
    // Whoever verifies a domain again has mended what failed.
    owned.reissue(within, &name).await?;
    owned.ensure(&objects::ingress(plan, domain)).await?;
    Ok(())
}

fn plan(tenant: &Tenant, platform: &Platform) -> Result<Plan> {
    let named = platform.ingress.of(tenant, platform).map_err(|(key, why)| {
        Error::fatal("platform_incomplete", format!("ingress.{key}: {why}"))
            .next("Correct the platform file, then retry.")
    })?;
    let (issuer, issuer_kind) = platform.domain_issuer();
    Ok(Plan {
        namespace: platform.namespace(&tenant.slug),
        slug: tenant.slug.clone(),
        domains: tenant.domains.clone(),
        issuer: issuer.to_owned(),
        issuer_kind,
        challenge: platform.domains.challenge,
        class: named.class,
        cleanup_within: platform.certificates.cleanup_within,
        label_prefix: platform.label_prefix.clone(),
    })
}

#[cfg(test)]
mod tests;
