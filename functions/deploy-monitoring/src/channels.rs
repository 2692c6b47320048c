//! Whom Alertmanager tells, and by which secrets.

use std::time::Duration;

use cluster::{Objects, Owned};
use engine::phase::{Error, Result, Step};
use model::secret::{Secret, SecretRef};

use crate::{DeployMonitoring, Plan, alerting};

/// Between two looks for a secret of the tenant's own.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

impl DeployMonitoring {
    /// The channels' secrets are read here, at the time they are needed, and go nowhere but into the tenant's Secret.
    pub(crate) async fn channels(
        &self,
        objects: &Objects,
        cluster: &Owned,
        plan: &Plan,
        step: &Step,
    ) -> Result<()> {
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
}
