//! The tenant's IngressClass, and what the controller may see of the cluster's.

use cluster::{Owned, Target};
use engine::phase::{Error, Result};
use k8s_openapi::api::networking::v1::IngressClass;
use model::RunId;

use crate::{DeployIngressController, Plan, objects};

impl DeployIngressController {
    /// The chart makes the class; one that does not gets ours. Either is tied to the tenant's namespace.
    pub(crate) async fn class(&self, owned: &Owned, plan: &Plan, installed_by: Option<RunId>) -> Result<()> {
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
}

/// What the chart gives by a Role in the namespace cannot be given for cluster-scoped kinds: the controller may read
/// IngressClasses by a ClusterRole of its own, and nothing else of the cluster.
pub(crate) async fn access(owned: &Owned, plan: &Plan) -> Result<()> {
    let reference = owned.namespace_reference(plan.namespace.as_str()).await?;
    owned.ensure(&objects::role(plan, reference.clone())).await?;
    owned.ensure(&objects::role_binding(plan, reference)).await?;
    Ok(())
}

pub(crate) fn class_of(plan: &Plan) -> Target {
    Target::of::<IngressClass>(None, &plan.class)
}

pub(crate) fn by_release(plan: &Plan) -> (&str, &str) {
    (&plan.release, plan.namespace.as_str())
}
