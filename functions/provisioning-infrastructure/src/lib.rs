//! PROVISIONING_INFRASTRUCTURE: an enterprise tenant's own Postgres instance, made by OpenTofu from the platform's module.
//!
//! In: the tenant and `[infrastructure]` of the platform. Out: where the instance is, its administrator, where their password
//! is, and the name of the database that SETUP_DATABASE makes there. Fails with `infrastructure_not_set`,
//! `infrastructure_key`, `foreign_object` when something of a wanted name is somebody else's, `terraform_…`, and
//! `supervisor_…`. Rollback: destroys what this run made, its workspace, and then the administrator's password.
//!
//! tofu takes longer than a function may: it runs detached, under the fixed name `tf-<tenant>`, and this phase parks until it
//! has ended. A destroy begins only when no apply runs any more.

mod password;
mod tofu;

use cluster::Cluster;
use engine::phase::{Checkpoints, Clients, Error, Phase, Progress, Result, Step};
use model::platform::Platform;
use model::secret::SecretRef;
use model::{PhaseName, RunId, Tenant};
use serde::{Deserialize, Serialize};
use tenants::reads;
use terraform::{Action, Site, name_of};

use password::{password_ref, secret_target};

/// The phase.
#[derive(Debug)]
pub struct ProvisioningInfrastructure {
    cluster: Cluster,
}

/// What will be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The module, its variables, and who runs tofu.
    pub site: Site,
    /// What the detached process is called: the lock that lets one at a time work for the tenant.
    pub name: String,
    /// The administrator's password, in the control plane's namespace and nowhere else.
    pub secret: String,
    /// The database that the tenant will have on the instance.
    pub database: String,
    /// Before the `/` of the labels that ownership is read from.
    pub label_prefix: String,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The instance's host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its administrator.
    pub admin_user: String,
    /// Where their password is.
    pub admin_password: SecretRef,
    /// The database that the administrator logs in to.
    pub admin_database: String,
    /// The tenant's database on it.
    pub database: String,
    /// Addresses that it may have.
    pub cidrs: Vec<String>,
    /// The run that made it.
    pub created_by: Option<RunId>,
}

engine::runtime_phase!(ProvisioningInfrastructure);

impl Phase for ProvisioningInfrastructure {
    const NAME: PhaseName = PhaseName::new(reads::PROVISIONING_INFRASTRUCTURE);
    type Plan = Plan;
    type Checkpoint = Checkpoint;

    /// In the control plane's own cluster, wherever the tenant is: whoever runs tofu reaches the state's database and the
    /// cloud, and no tenant's.
    async fn connect(_: &impl Clients) -> Result<Self> {
        Ok(Self::new(Cluster::connect().await?))
    }

    fn plan(&self, tenant: &Tenant, platform: &Platform, _: &Checkpoints) -> Result<Plan> {
        plan(tenant, platform)
    }

    async fn apply(&self, plan: &Plan, step: &Step) -> Result<Progress<Checkpoint>> {
        // Whose it is, and by which run it was made, is read from the Secret: it is there before anything else is.
        let created_by = step.operation("administrator's password", self.keep_password(plan, step)).await?;
        let made = step.wait_for("apply", self.run(plan, step, Action::Apply)).await?;
        let Some(outputs) = made.outputs else {
            let message = format!("{} ended without saying what it has made", plan.name);
            return Err(Error::retryable("terraform_failed", message)
                .next("This is a fault in the phase's code; report it."));
        };
        Ok(Progress::Done(Checkpoint {
            host: outputs.host,
            port: outputs.port,
            admin_user: outputs.admin_user,
            admin_password: password_ref(plan),
            admin_database: "postgres".into(),
            database: plan.database.clone(),
            cidrs: outputs.cidrs,
            created_by,
        }))
    }

    async fn revert(&self, plan: &Plan, done: Option<&Checkpoint>, step: &Step) -> Result<Progress<()>> {
        let destroy = self.destroy(plan, done, step);
        if !step.wait_for("destroy", destroy).await? {
            return Ok(Progress::Done(()));
        }
        // Last: as long as it is there, whose the infrastructure is can be told.
        let cluster = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        let secret = secret_target(plan);
        let deleted = cluster.ensure_deleted(&secret);
        step.wait_for("delete administrator's password", deleted).await?;
        Ok(Progress::Done(()))
    }
}

impl ProvisioningInfrastructure {
    /// The phase with the client it needs.
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }
}

fn plan(tenant: &Tenant, platform: &Platform) -> Result<Plan> {
    Ok(Plan {
        site: Site::of(platform, tenant)?,
        name: name_of(tenant.id),
        secret: format!("infrastructure-{}", tenant.id),
        database: format!("tenant_{}", tenant.id),
        label_prefix: platform.label_prefix.clone(),
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
