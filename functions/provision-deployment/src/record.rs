//! The row that says where the tenant's compute is.

use engine::phase::{Error, Result, Step};
use engine::store::StoreError;
use serde_json::json;
use tenants::NewDeployment;

use crate::{Checkpoint, Plan, ProvisionDeployment};

impl ProvisionDeployment {
    pub(crate) async fn record(&self, plan: &Plan, made: &Checkpoint, step: &Step) -> Result<()> {
        let row = NewDeployment {
            container_id: made.container_id.clone(),
            namespace: plan.namespace.to_string(),
            name: made.deployment.clone(),
            endpoint: made.endpoint.clone(),
            url: made.url.clone(),
            image: plan.image.clone(),
            size: plan.size_name.clone(),
            resources: json!(plan.size),
            replicas: plan.size.replicas,
        };
        let recorded = self.store.record_deployment(step.owner(), &row).await.map_err(of_store)?;
        recorded.then_some(()).ok_or_else(overtaken)
    }
}

pub(crate) fn of_store(error: impl Into<StoreError>) -> Error {
    Error::retryable("deployment_store", error.into().to_string())
        .next("See that the control plane's database is up; it is tried again.")
}

pub(crate) fn overtaken() -> Error {
    Error::retryable("deployment_overtaken", "another worker works on the tenant's run meanwhile")
        .next("Nothing needs to be done: it is tried again.")
}
