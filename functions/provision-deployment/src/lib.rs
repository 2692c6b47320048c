//! PROVISION_DEPLOYMENT: the tenant's own tenant-api, in the tenant's namespace.
//!
//! In: the tenant, its region, what was chosen for it, else the size of its tier. Makes: the Secret with the instance's
//! internal secrets, a ServiceAccount, a user at the region's job broker with its login in a Secret, the NetworkPolicies from
//! the control plane to the instance and from it to the broker, two Services, the Deployment, the Ingress of
//! `api.<slug>.<domain>`, and the row that says where the tenant's compute is. Out: the Deployment's uid and the endpoint.
//! Fails with: `foreign_object`, `region_unknown`, `platform_incomplete`, `secret_missing`, `quota_exceeded`,
//! `job_broker_…`, `not_live`, `not_ready`. Undo: takes them away, those that this run made.
//!
//! What is awaited is that the instance is alive (`/healthz`, its startup probe), not that it is ready (`/readyz`): it is
//! ready once it can log in to the tenant's database, and the Secret with the login, mounted as optional, is written only by
//! SETUP_DATABASE, which may ask this very instance to make the database. CREATE_TENANT_INGRESS, which lets the public to it,
//! awaits the readiness. In a change of a living tenant the database is there, and the readiness is awaited here. The Ingress
//! is not awaited at all: its class, name and certificate are made by later phases.

mod internal_secret;
mod jobs;
mod manifests;
mod objects;
mod plan;
mod readiness;
mod record;

use std::collections::BTreeMap;

use cluster::{Cluster, Ensured, Target};
use engine::phase::{Checkpoints, Clients, Phase, Progress, Result, Step};
use job_broker::UserMade;
use k8s_openapi::api::core::v1::Secret;
use model::platform::{InstanceSize, Platform, Seconds};
use model::secret::SecretRef;
use model::{Namespace, PhaseName, RunId, Tenant};
use serde::{Deserialize, Serialize};

use record::{of_store, overtaken};
use tenants::{Store, reads};

pub use jobs::Jobs;
pub use objects::{CONTROL_SERVICE, INTERNAL_SECRET, JOBS_POLICY, JOBS_SECRET, NAME, POLICY};

/// The phase.
#[derive(Debug)]
pub struct ProvisionDeployment {
    cluster: Cluster,
    store: Store,
    /// By region: the internal secret that is accepted beside its own.
    former: BTreeMap<String, SecretRef>,
}

/// What will be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The tenant's namespace.
    pub namespace: Namespace,
    /// Before the `/` of the labels that ownership is read from.
    pub label_prefix: String,
    /// On the pods: the owner, for what outlives its Deployment.
    pub pod_labels: BTreeMap<String, String>,
    /// The image.
    pub image: String,
    /// The size's name.
    pub size_name: String,
    /// The size.
    pub size: InstanceSize,
    /// The container's environment. Holds no secret.
    pub environment: BTreeMap<String, String>,
    /// The Secret that SETUP_DATABASE writes.
    pub database_secret: String,
    /// Where the region's internal secrets were when this was planned, the current one first: what the instance accepts is
    /// derived from each. Those that the region has when it is done go before.
    pub internal_secrets: Vec<SecretRef>,
    /// The name under which the tenant reaches it.
    pub host: String,
    /// The tenant's IngressClass.
    pub class: String,
    /// The Secret with the tenant's certificate.
    pub certificate: String,
    /// Where the control plane's services are.
    pub control_plane_namespace: String,
    /// Where its background jobs are; none where its region has no broker for them.
    pub jobs: Option<Jobs>,
    /// How long its process may take to be alive, or ready.
    pub within: Seconds,
    /// The tenant's database is there: an instance that does not become ready is not what is wanted.
    pub has_database: bool,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The Deployment's uid.
    pub container_id: String,
    /// How the control plane reaches it, ready or not.
    pub endpoint: String,
    /// How the tenant reaches it.
    pub url: String,
    /// The Deployment's name.
    pub deployment: String,
    /// The image.
    pub image: String,
    /// The size's name.
    pub size: String,
    /// The run that created the Deployment.
    pub created_by: Option<RunId>,
    /// Its user at the job broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<UserMade>,
}

engine::runtime_phase!(ProvisionDeployment);

impl Phase for ProvisionDeployment {
    const NAME: PhaseName = PhaseName::new(reads::PROVISION_DEPLOYMENT);
    type Plan = Plan;
    type Checkpoint = Checkpoint;

    async fn connect(clients: &impl Clients) -> Result<Self> {
        let former = clients.platform().tenant_api.former_internal_secrets.clone();
        Ok(Self {
            cluster: Cluster::of(clients.platform()).await?,
            store: Store::beside(&clients.store().map_err(of_store)?),
            former,
        })
    }

    fn plan(&self, tenant: &Tenant, platform: &Platform, earlier: &Checkpoints) -> Result<Plan> {
        plan::plan(tenant, platform, earlier)
    }

    async fn apply(&self, plan: &Plan, step: &Step) -> Result<Progress<Checkpoint>> {
        let owned = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        let secret = self.internal_secret(plan, &owned, step);
        step.operation("internal secret", secret).await?;
        let objects = manifests::objects(plan);
        objects.ensure_in("service account", &owned, step).await?;
        let jobs = match &plan.jobs {
            Some(jobs) => {
                let made = jobs.ensure(plan, &owned, &self.cluster, step);
                Some(step.operation("job broker user", made).await?)
            }
            None => None,
        };
        objects.ensure_in("network policies", &owned, step).await?;
        objects.ensure_in("services", &owned, step).await?;
        let made = objects.ensure_in("deployment", &owned, step).await?;
        objects.ensure_in("ingress", &owned, step).await?;
        if plan.jobs.is_none() {
            self.take_jobs_back(plan, &owned, step).await?;
        }
        if plan.has_database || plan.size.replicas == 0 {
            self.ready(plan, step).await?;
        } else {
            self.live(plan, step).await?;
        }
        let checkpoint = checkpoint(plan, made.first(), jobs);
        step.operation("record deployment", self.record(plan, &checkpoint, step)).await?;
        Ok(Progress::Done(checkpoint))
    }

    async fn revert(&self, plan: &Plan, _: Option<&Checkpoint>, step: &Step) -> Result<Progress<()>> {
        let owned = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        manifests::objects(plan).delete(&owned, step).await?;
        // The plan that holds may not know of the user: a change that made it was given up, or its undo.
        if let Some(jobs) = plan.jobs.clone().or_else(|| Jobs::now(step)) {
            let gone = jobs.remove(&self.cluster, step);
            step.operation("remove job broker user", gone).await?;
        }
        let login = Target::of::<Secret>(Some(plan.namespace.as_str()), JOBS_SECRET);
        step.wait_for("delete job broker login", owned.ensure_deleted(&login)).await?;
        let removed = async {
            let removed = self.store.remove_deployment(step.owner()).await.map_err(of_store)?;
            removed.then_some(()).ok_or_else(overtaken)
        };
        step.operation("forget deployment", removed).await?;
        Ok(Progress::Done(()))
    }
}

fn checkpoint(plan: &Plan, made: Option<&Ensured>, jobs: Option<UserMade>) -> Checkpoint {
    Checkpoint {
        container_id: made.map(|made| made.uid.clone()).unwrap_or_default(),
        endpoint: objects::endpoint(plan),
        url: format!("https://{}", plan.host),
        deployment: NAME.to_owned(),
        image: plan.image.clone(),
        size: plan.size_name.clone(),
        created_by: made.and_then(|made| made.created_by),
        jobs,
    }
}
