//! What is awaited of the instance.

use cluster::Deployments;
use engine::phase::{Error, Result, Step};

use crate::{NAME, Plan, ProvisionDeployment};

impl ProvisionDeployment {
    /// Parks until the instance is alive, or fails when that takes too long.
    pub(crate) async fn live(&self, plan: &Plan, step: &Step) -> Result<()> {
        let look = self.cluster.live(plan.namespace.as_str(), NAME);
        step.wait_within("alive", plan.within, look, |late| {
            Error::retryable("not_live", late).next(
                "Look at the pods' events and logs; raise tenant_api.ready_within if they only need longer.",
            )
        })
        .await
    }

    /// Parks until every replica is the wanted one and ready, and none is left of a suspended tenant's. Another attempt would
    /// see the same image fail, so that a failure is the change's end: what was before is then made again.
    pub(crate) async fn ready(&self, plan: &Plan, step: &Step) -> Result<()> {
        let look = self.cluster.ready(plan.namespace.as_str(), Deployments::Named(&[NAME]));
        step.wait_within("ready", plan.within, look, |late| {
            Error::fatal("not_ready", late).next(
                "Look at the pods' events and logs; what was before is made again. Then ask for another change.",
            )
        })
        .await
    }
}
