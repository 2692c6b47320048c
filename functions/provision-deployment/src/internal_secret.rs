//! What the instance accepts as its region's internal secrets.

use cluster::{Ensured, Owned};
use engine::phase::{Result, Step};
use model::secret::SecretRef;
use tenant_api_client::own_secret;

use crate::record::of_store;
use crate::{Plan, ProvisionDeployment, objects};

impl ProvisionDeployment {
    /// Writes what the instance accepts. Whatever was in the tenant's Secret before is gone: a secret is retired by leaving
    /// it out. The instance reads the files anew for every call, so that none has to be restarted.
    pub(crate) async fn internal_secret(&self, plan: &Plan, owned: &Owned, step: &Step) -> Result<Ensured> {
        let mut accepted = Vec::new();
        for reference in &self.accepted(plan, step).await? {
            let of_the_region = self.cluster.resolve(reference).await?;
            accepted.push(own_secret(&of_the_region, step.owner().tenant_id));
        }
        owned.ensure(&objects::internal_secret(plan, &accepted)).await
    }

    /// Where the region's internal secrets are now, the current one first. Those of the plan may be retired: a change that
    /// failed is undone by the plan of before, which must not let them in again. They count where nobody knows the region.
    async fn accepted(&self, plan: &Plan, step: &Step) -> Result<Vec<SecretRef>> {
        let Some(region) = step.region() else { return Ok(plan.internal_secrets.clone()) };
        let tenant = self.store.tenant(step.owner().tenant_id).await.map_err(of_store)?;
        let former = tenant.and_then(|tenant| self.former.get(&tenant.region)).cloned();
        Ok([region.internal_secret.clone()].into_iter().chain(former).collect())
    }
}
