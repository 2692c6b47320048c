//! Taking domains away, and what cert-manager has made on the way to their certificates.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cluster::certificate::Certificate;
use cluster::{Owned, Target};
use engine::phase::{Progress, Result, Step};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::networking::v1::Ingress;
use kube::core::ObjectMeta;

use crate::{Plan, ServeDomains, objects};

/// When to look again at what is being removed.
const REMOVAL: Duration = Duration::from_secs(1);

impl ServeDomains {
    /// Removes all but `kept` that `owned` may remove.
    pub(crate) async fn remove(
        &self,
        owned: &Owned,
        plan: &Plan,
        kept: &BTreeSet<String>,
        step: &Step,
    ) -> Result<()> {
        let (within, prefix) = (plan.namespace.as_str(), plan.prefix());
        // Each says which domain it is for, so that what an undo that was cut off has left is enough to go on.
        let mut found = owned.named::<Certificate>(within, &prefix).await?;
        found.extend(owned.named::<Ingress>(within, &prefix).await?);
        found.extend(owned.named::<Secret>(within, &prefix).await?);
        let mark = objects::mark(plan);
        let domain = |object: ObjectMeta| object.annotations.and_then(|mut all| all.remove(&mark));
        let found: BTreeMap<String, String> = found
            .into_iter()
            .filter_map(|mut object| Some((object.name.take()?, domain(object).unwrap_or_default())))
            .filter(|(name, _)| !kept.contains(name))
            .collect();
        for (name, domain) in &found {
            let certificate = Target::of::<Certificate>(Some(within), name);
            let ingress = Target::of::<Ingress>(Some(within), name);
            step.wait_for(&format!("delete Ingress {name}"), owned.ensure_deleted(&ingress)).await?;
            step.wait_for(&format!("delete Certificate {name}"), owned.ensure_deleted(&certificate)).await?;
            let gone = self.challenges_gone(owned, &certificate, domain, plan, step);
            step.wait_for(&format!("challenges of {name} gone"), gone).await?;
            let secret = Target::of::<Secret>(Some(within), name);
            step.wait_for(&format!("delete Secret {name}"), owned.ensure_deleted(&secret)).await?;
        }
        Ok(())
    }

    /// Waits while anything is left of the way to a Certificate that is gone: a challenge takes its DNS record away before it
    /// goes, and a Secret that is deleted earlier would be written again. One that stays keeps what it has.
    async fn challenges_gone(
        &self,
        owned: &Owned,
        certificate: &Target,
        domain: &str,
        plan: &Plan,
        step: &Step,
    ) -> Result<Progress<()>> {
        if owned.exists(certificate).await? {
            return Ok(Progress::Done(()));
        }
        let within = plan.namespace.as_str();
        let left = self.cluster.certificate_remains(within, &certificate.name, domain).await?;
        let Some(first) = left.first() else { return Ok(Progress::Done(())) };
        if step.waited() >= plan.cleanup_within.duration() {
            for remain in &left {
                self.cluster.give_up_challenge(remain).await?;
            }
        }
        Ok(Progress::wait(REMOVAL, format!("{first} is being removed, {} in all", left.len())))
    }
}
