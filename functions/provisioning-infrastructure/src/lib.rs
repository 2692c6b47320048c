//! PROVISIONING_INFRASTRUCTURE: an enterprise tenant's own Postgres instance, made by OpenTofu from the platform's module.
//!
//! In: the tenant and `[infrastructure]` of the platform. Out: where the instance is, its administrator, where their password
//! is, and the name of the database that SETUP_DATABASE makes there. Fails with `infrastructure_not_set`,
//! `infrastructure_key`, `foreign_object` when something of a wanted name is somebody else's, `terraform_…`, and
//! `supervisor_…`. Rollback: destroys what this run made, its workspace, and then the administrator's password.
//!
//! tofu takes longer than a function may: it runs detached, under the fixed name `tf-<tenant>`, and this phase parks until it
//! has ended. A destroy begins only when no apply runs any more.

use cluster::{Cluster, Target};
use engine::phase::{Checkpoints, Clients, Error, Phase, Progress, Result, Step, reads};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1;
use kube::api::ObjectMeta;
use model::platform::Platform;
use model::secret::{Secret, SecretRef};
use model::{PhaseName, RunId, Tenant};
use rand::TryRngCore as _;
use rand::distr::{Alphanumeric, SampleString as _};
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use terraform::{Action, Detached, Outcome, Site, Work, name_of, workspaces};

/// Characters of the administrator's password after [`PREFIX`]: 40 alphanumerics hold 238 bits, and need no quoting anywhere.
const PASSWORD_LENGTH: usize = 40;

/// Before them: Azure wants upper and lower case, digits or signs, and a random word may lack any of them.
const PREFIX: &str = "Aa1-";

/// The key of the Secret with it.
const PASSWORD: &str = "password";

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

    /// Makes sure that there is a password; one that is there is kept. The run that made it.
    async fn keep_password(&self, plan: &Plan, step: &Step) -> Result<Option<RunId>> {
        let cluster = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        Ok(cluster.ensure_kept(&secret(plan, &password())).await?.created_by)
    }

    /// Has tofu run, and waits for its end.
    async fn run(&self, plan: &Plan, step: &Step, action: Action) -> Result<Progress<Outcome>> {
        let id = match action {
            Action::Apply => format!("{}-apply", step.owner().run_id),
            Action::Destroy => format!("{}-destroy", step.owner().run_id),
        };
        let detached = Detached::of(&plan.site, &self.cluster, step.owner(), &plan.label_prefix)?;
        detached.advance(&plan.name, &id, self.work(plan, step, action, &id)).await
    }

    async fn work(&self, plan: &Plan, step: &Step, action: Action, id: &str) -> Result<Work> {
        let site = &plan.site;
        let known = self.cluster.read_secret(&site.namespace, &plan.secret).await?;
        let password = known.and_then(|mut values| values.remove(PASSWORD));
        let password = match (password, action) {
            (Some(password), _) => password,
            // The module asks for one, and a destroy does not look at it.
            (None, Action::Destroy) => self::password(),
            (None, Action::Apply) => {
                let message = format!("Secret {}/{} is not there", site.namespace, plan.secret);
                return Err(Error::retryable("secret_missing", message)
                    .next("It was removed by hand; retry makes a new one."));
            }
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, by its check")]
        let deadline = site.deadline.0 as u64;
        Ok(Work {
            id: id.to_owned(),
            tenant: step.owner().tenant_id,
            action,
            module: site.module.clone(),
            program: site.program.clone(),
            deadline,
            variables: site.variables.clone().into_iter().chain([version_of(&password)]).collect(),
            secrets: [("admin_password".to_owned(), password)].into(),
            state_database: self.cluster.resolve(&site.state_database).await?,
            state_key: self.cluster.resolve(&site.state_key).await?,
        })
    }

    /// Destroys what there is, if this step may, and waits for its end; whether it may.
    async fn destroy(&self, plan: &Plan, done: Option<&Checkpoint>, step: &Step) -> Result<Progress<bool>> {
        let owner = step.owner();
        let cluster = self.cluster.owned_by(owner, &plan.label_prefix);
        let created_by = match cluster.creator(&secret_target(plan)).await? {
            None => done.and_then(|done| done.created_by),
            some => some,
        };
        let detached = Detached::of(&plan.site, &self.cluster, owner, &plan.label_prefix)?;
        if !owner.may_delete(created_by) {
            // Nothing, or another run's; but an apply of this run may still be at work on it.
            return Ok(match detached.forget(&plan.name).await? {
                Progress::Done(()) => Progress::Done(false),
                Progress::Wait(wait) => Progress::Wait(wait),
            });
        }
        let state_database = self.cluster.resolve(&plan.site.state_database).await?;
        if !workspaces(&state_database, owner.tenant_id).await?.is_empty() {
            match self.run(plan, step, Action::Destroy).await? {
                Progress::Done(_) => {}
                Progress::Wait(wait) => return Ok(Progress::Wait(wait)),
            }
        }
        // An apply that has made no workspace yet may still be about to.
        if let Progress::Wait(wait) = detached.forget(&plan.name).await? {
            return Ok(Progress::Wait(wait));
        }
        if workspaces(&state_database, owner.tenant_id).await?.is_empty() {
            return Ok(Progress::Done(true));
        }
        Ok(Progress::wait(std::time::Duration::from_secs(1), format!("{} has made a workspace", plan.name)))
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

/// A new password, from the operating system's randomness.
fn password() -> Secret {
    let random = Alphanumeric.sample_string(&mut OsRng.unwrap_err(), PASSWORD_LENGTH);
    Secret::new(format!("{PREFIX}{random}"))
}

/// Tells a module that the password is another one: itself it is in no state that it could be compared with. 32 bits of its
/// hash say nothing of 238 random ones.
fn version_of(password: &Secret) -> (String, String) {
    let hash = Sha256::digest(password.expose().as_bytes());
    let version = hash.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    ("admin_password_version".to_owned(), version.to_string())
}

fn password_ref(plan: &Plan) -> SecretRef {
    SecretRef::Kubernetes {
        namespace: plan.site.namespace.clone(),
        name: plan.secret.clone(),
        key: PASSWORD.into(),
    }
}

fn secret_target(plan: &Plan) -> Target {
    Target::of::<v1::Secret>(Some(&plan.site.namespace), &plan.secret)
}

fn secret(plan: &Plan, password: &Secret) -> v1::Secret {
    let value = ByteString(password.expose().as_bytes().to_vec());
    v1::Secret {
        metadata: ObjectMeta {
            name: Some(plan.secret.clone()),
            namespace: Some(plan.site.namespace.clone()),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".into()),
        data: Some([(PASSWORD.to_owned(), value)].into()),
        ..v1::Secret::default()
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
