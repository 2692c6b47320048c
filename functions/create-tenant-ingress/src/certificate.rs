//! The certificate: asking for it, awaiting it, and awaiting the end of what cert-manager has made on the way to it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use cluster::certificate::{Backoff, Certificate, Issuance};
use cluster::{Ensured, Owned, Target};
use engine::phase::{Error, Progress, Result, Step};
use k8s_openapi::api::core::v1::Secret;

use crate::{CreateTenantIngress, Plan, objects};

/// How long a Certificate is watched within one attempt: most change within it, and are then noticed at once.
const WATCH_FOR: Duration = Duration::from_secs(5);
/// When to look again at one that takes longer.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// When to look again at what is being removed.
const REMOVAL: Duration = Duration::from_secs(1);

/// Somebody else's Secret of that name would be overwritten by cert-manager, so it is looked for first.
pub(crate) async fn certificate(owned: &Owned, plan: &Plan, step: &Step) -> Result<Ensured> {
    let within = Some(plan.namespace.as_str());
    owned.expect_free(&Target::of::<Secret>(within, &plan.certificate)).await?;
    // The Secret says what the Certificate says, so that the undo knows whose it is when only the Secret is left.
    let created_by = owned.creator(&Target::of::<Certificate>(within, &plan.certificate)).await?;
    let (owner, run) = (step.owner(), created_by.unwrap_or(step.owner().run_id));
    match owned.ensure(&objects::certificate(plan, owner.tenant_id, run)).await {
        Err(error) if error.code == "object_missing" && !error.message.contains("namespaces") => {
            Err(Error::unavailable("cert-manager", "cert_manager_missing", error.message)
                .next("Install cert-manager in the tenants' cluster; the run then continues on its own."))
        }
        ensured => ensured,
    }
}

impl CreateTenantIngress {
    /// Parks until the certificate is issued, showing cert-manager's own reason, or fails when that takes too long.
    pub(crate) async fn issued(
        &self,
        owned: &Owned,
        plan: &Plan,
        step: &Step,
    ) -> Result<Option<DateTime<Utc>>> {
        let (namespace, name) = (plan.namespace.as_str(), plan.certificate.as_str());
        if step.waits() == 0 {
            // Not out of a wait: a first look, or somebody has asked for another attempt, or a failure is tried again.
            step.operation("ask again", owned.reissue(namespace, name)).await?;
        }
        let backoff = Backoff { first: plan.backoff.0, cap: plan.backoff_cap.0 };
        step.wait_for("issued", async {
            let Some(found) = self.cluster.certificate(namespace, name, WATCH_FOR).await? else {
                return Err(Error::retryable(
                    "object_missing",
                    format!("Certificate {namespace}/{name} is not there"),
                )
                .next("It was removed by hand; retry makes it again."));
            };
            let failed = match found.issuance() {
                Issuance::Ready { not_after } => return Ok(Progress::Done(not_after)),
                Issuance::Failed => true,
                Issuance::Pending => false,
            };
            let on = self.cluster.certificate_trail(&found, backoff).await?;
            if step.waited() < plan.ready_within.duration() {
                return Ok(Progress::wait(LOOK_AGAIN, on));
            }
            let code = if failed { "certificate_failed" } else { "certificate_not_ready" };
            let within = plan.ready_within.0;
            Err(Error::retryable(code, format!("{on} (after {within} s)")).next(
                "Mend what the reason names (the zone's delegation, the issuer, its rate limits); cert-manager is then \
                 asked to try again at once.",
            ))
        })
        .await
    }

    /// Waits while anything is left of the way to a Certificate that is gone. One that stays keeps what it has.
    pub(crate) async fn remains_gone(
        &self,
        owned: &Owned,
        certificate: &Target,
        plan: &Plan,
        step: &Step,
    ) -> Result<Progress<()>> {
        if owned.exists(certificate).await? {
            return Ok(Progress::Done(()));
        }
        let (namespace, name) = (plan.namespace.as_str(), plan.certificate.as_str());
        let left = self.cluster.certificate_remains(namespace, name, &plan.host).await?;
        let Some(first) = left.first() else { return Ok(Progress::Done(())) };
        if step.waited() >= plan.cleanup_within.duration() {
            for remain in &left {
                self.cluster.give_up_challenge(remain).await?;
            }
        }
        Ok(Progress::wait(REMOVAL, format!("{first} is being removed, {} in all", left.len())))
    }
}
