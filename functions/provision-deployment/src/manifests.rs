//! What the phase makes in the namespace, as one list: made in this order, and undone in the reverse.

use cluster::Objects;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::networking::v1::NetworkPolicy;

use crate::objects::{CONTROL_SERVICE, INTERNAL_SECRET, JOBS_POLICY};
use crate::{Plan, jobs, objects};

/// All but the login to the job broker, in the order of their making.
pub(crate) fn objects(plan: &Plan) -> Objects {
    let namespace = Some(plan.namespace.as_str());
    let made = Objects::default()
        // What the instance accepts is read while the phase works.
        .elsewhere::<Secret>("internal secret", namespace, INTERNAL_SECRET)
        .apply("service account", &objects::service_account(plan))
        .apply_all("network policies", &[objects::policy(plan)])
        .undone_as("network policy");
    // The plan that holds may not know of the job broker: a change that made the way there was given up, or its undo.
    let made = match plan.jobs.as_ref().and_then(|jobs| jobs::policy(plan, jobs)) {
        Some(policy) => made.apply_all("network policies", &[policy]),
        None => made.elsewhere::<NetworkPolicy>("network policies", namespace, JOBS_POLICY),
    }
    .undone_as(JOBS_POLICY);
    let [ready, control] = objects::services(plan);
    made.apply_all("services", &[ready])
        .undone_as("service")
        .apply_all("services", &[control])
        .undone_as(CONTROL_SERVICE)
        .apply("deployment", &objects::deployment(plan))
        .apply("ingress", &objects::ingress(plan))
}
