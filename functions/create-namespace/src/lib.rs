//! CREATE_NAMESPACE: the namespace that holds everything the tenant owns in the cluster.
//!
//! In: the tenant, the tier's quota. Out: the namespace and its uid. Fails with `foreign_object` when a namespace of
//! that name belongs to somebody else. Rollback: deletes the namespace and all in it, if this run created it, and
//! waits, naming what holds it, until it is gone.

mod objects;

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use cluster::{Cluster, Ensured, Target};
use engine::phase::{Checkpoints, Clients, Phase, Progress, Result, Step};
use k8s_openapi::api::core::v1;
use model::platform::{Platform, Quota};
use model::{Namespace, PhaseName, Tenant};
use serde::{Deserialize, Serialize};

/// The ServiceAccount that the tenant's workloads run as, its Role and its RoleBinding.
pub const SERVICE_ACCOUNT: &str = "tenant-workload";
/// The ResourceQuota of a tier that has one.
pub const QUOTA: &str = "tenant-quota";
/// The LimitRange beside a quota.
pub const LIMITS: &str = "tenant-limits";

/// The phase.
#[derive(Debug)]
pub struct CreateNamespace {
    cluster: Cluster,
}

/// What will be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The namespace's name.
    pub namespace: Namespace,
    /// Before the `/` of the labels that ownership is read from.
    pub label_prefix: String,
    /// On the namespace and everything that this phase makes in it.
    pub labels: BTreeMap<String, String>,
    /// On the namespace: for the bill and for people.
    pub annotations: BTreeMap<String, String>,
    /// None for a tier without limits.
    pub quota: Option<Quota>,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The namespace's name.
    pub namespace: Namespace,
    /// Its uid, the run that created it, and whether that was this one.
    #[serde(flatten)]
    pub ensured: Ensured,
}

engine::runtime_phase!(CreateNamespace);

impl Phase for CreateNamespace {
    const NAME: PhaseName = PhaseName::new("CREATE_NAMESPACE");
    type Plan = Plan;
    type Checkpoint = Checkpoint;

    async fn connect(clients: &impl Clients) -> Result<Self> {
        Ok(Self { cluster: Cluster::of(clients.platform()).await? })
    }

    fn plan(&self, tenant: &Tenant, platform: &Platform, _: &Checkpoints) -> Result<Plan> {
        Ok(plan(tenant, platform))
    }

    async fn apply(&self, plan: &Plan, step: &Step) -> Result<Progress<Checkpoint>> {
        let cluster = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        let ensured = step.operation("namespace", cluster.ensure(&objects::namespace(plan))).await?;
        objects::within_namespace(plan).ensure(&cluster, step).await?;
        Ok(Progress::Done(Checkpoint { namespace: plan.namespace.clone(), ensured }))
    }

    async fn revert(&self, plan: &Plan, _: Option<&Checkpoint>, step: &Step) -> Result<Progress<()>> {
        let cluster = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        let whole = Target::of::<v1::Namespace>(None, plan.namespace.as_str());
        step.wait_for("delete namespace", cluster.ensure_deleted(&whole)).await?;
        // A namespace that another run created stays; what this run put into it does not.
        objects::within_namespace(plan).delete(&cluster, step).await?;
        Ok(Progress::Done(()))
    }
}

/// Names, labels and annotations as the provisioning reference gives them, phase 1.
fn plan(tenant: &Tenant, platform: &Platform) -> Plan {
    let keyed = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(key, value)| (platform.label(key), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    let labels = keyed(&[
        ("tenant-id", &tenant.id.to_string()),
        ("tenant-slug", tenant.slug.as_str()),
        ("tier", tenant.tier.as_str()),
        ("region", &tenant.region),
        ("managed-by", &platform.managed_by),
    ]);
    // The tenant's own time, not the clock's: a plan made twice is the same plan.
    let provisioned_at = tenant.created_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut annotations =
        keyed(&[("provisioned-at", &provisioned_at), ("provisioned-by", &tenant.created_by)]);
    if let Some(cost_center) = &tenant.cost_center {
        annotations.insert(platform.label("cost-center"), cost_center.clone());
    }
    Plan {
        namespace: platform.namespace(&tenant.slug),
        label_prefix: platform.label_prefix.clone(),
        labels,
        annotations,
        quota: platform.quotas.get(&tenant.tier).cloned(),
    }
}

#[cfg(test)]
mod tests;
