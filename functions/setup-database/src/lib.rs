//! SETUP_DATABASE: the tenant's role, its database or schema with tables and starting rows, and its credentials. A tenant
//! of the pooled tenant-api has no credentials: its role cannot log in, and nothing of it is in the cluster.
//!
//! In: the tenant, its region's servers, or its own instance where PROVISIONING_INFRASTRUCTURE has made one. Out: the names, the Secret's uid, what was made and by which run. Fails with
//! `foreign_object`, `foreign_role`, `foreign_database` or `foreign_schema` when something of a wanted name is somebody
//! else's, `credentials_incomplete` or `credentials_mismatch` when the Secret is not as this phase wrote it,
//! `database_login_refused` when its credentials do not work, and `tenant_api_…`. Rollback: drops role, database and
//! schema if this run made them, then deletes the Secret if this run made it.

mod credentials;
mod database;
mod objects;
mod probe;

use cluster::{Cluster, Target};
use engine::phase::{Checkpoints, Clients, Phase, Progress, Result, Step};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1;
use model::platform::Platform;
use model::{DeploymentType, Namespace, PhaseName, RunId, Tenant, Tier};
use serde::{Deserialize, Serialize};
use tenant_api_client::{Created, DatabaseTarget, Initialized, Migration, Server, Strategy, TenantApi};
use tenants::reads;

/// The Secret that the tenant's services read (provisioning reference, phase 2).
pub const SECRET: &str = "tenant-database-credentials";

/// The phase.
#[derive(Debug)]
pub struct SetupDatabase {
    cluster: Cluster,
    tenant_api: TenantApi,
}

/// What will be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Names of role, database and schema, and how the tenant is kept apart.
    #[serde(flatten)]
    pub place: DatabaseTarget,
    /// Connections that the role may hold at once; none means as many as the server has.
    pub connection_limit: Option<i32>,
    /// Where it is made, and who is asked to drop it: the region's pooled tenant-api, which is there when the tenant's own
    /// instance is not.
    pub server: Server,
    /// Who is asked to make it, if that is the tenant's own instance: each owns its own schema (control-plane reference,
    /// "Database creation is delegated to the data plane"). None of a suspended tenant's, of which nothing runs.
    pub instance: Option<Server>,
    /// Where the Secret goes; none without a Secret, for a tenant of the pooled tenant-api.
    pub namespace: Option<Namespace>,
    /// The Secret's name.
    pub secret: String,
    /// Before the `/` of the labels that ownership is read from.
    pub label_prefix: String,
    /// Image of the Job that looks at the database from within the namespace.
    pub check_image: String,
    /// There are no real nodes, where such a Job would run.
    pub simulated_nodes: bool,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// Names of role, database and schema.
    #[serde(flatten)]
    pub place: DatabaseTarget,
    /// The credentials, where there are any.
    pub secret: Option<SecretMade>,
    /// What of role, database and schema the last initialisation made.
    pub created: Created,
    /// The run that made them.
    pub created_by_run: RunId,
    /// All migrations that the database has had.
    pub migrations: Vec<Migration>,
}

/// The Secret, without what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretMade {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The run that created it.
    pub created_by: Option<RunId>,
}

engine::runtime_phase!(SetupDatabase);

impl Phase for SetupDatabase {
    const NAME: PhaseName = PhaseName::new(reads::SETUP_DATABASE);
    type Plan = Plan;
    type Checkpoint = Checkpoint;

    async fn connect(clients: &impl Clients) -> Result<Self> {
        let platform = clients.platform();
        let within = platform.tenant_api.answer_within.duration();
        Ok(Self::new(Cluster::of(platform).await?, TenantApi::connect()?.answering_within(within)))
    }

    fn plan(&self, tenant: &Tenant, platform: &Platform, earlier: &Checkpoints) -> Result<Plan> {
        plan(tenant, platform, earlier)
    }

    async fn apply(&self, plan: &Plan, step: &Step) -> Result<Progress<Checkpoint>> {
        let cluster = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        let Some(namespace) = &plan.namespace else {
            let made = step.operation("initialize database", self.initialize(plan, step)).await?;
            return Ok(Progress::Done(made_by(plan, None, made)));
        };
        // First the Secret: a password that is in no Secret would be lost with the worker that made it up.
        let keep = self.keep_credentials(plan, namespace, &cluster);
        let secret = step.operation("credentials secret", keep).await?;
        let made = step.operation("initialize database", self.initialize(plan, step)).await?;
        if plan.simulated_nodes {
            step.operation("verify connectivity", self.check_directly(plan, namespace)).await?;
        } else {
            let probe = probe::run(&self.cluster, &cluster, plan, namespace, step);
            step.wait_for("verify connectivity", probe).await?;
        }
        Ok(Progress::Done(made_by(plan, Some(secret), made)))
    }

    async fn revert(&self, plan: &Plan, _: Option<&Checkpoint>, step: &Step) -> Result<Progress<()>> {
        let cluster = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        // The database first: each half knows its own run, so a worker that dies in between is continued by looking
        // again; and while data is left, so are the credentials to it.
        step.operation("drop database", self.drop(plan, step)).await?;
        let Some(namespace) = plan.namespace.as_ref().map(Namespace::as_str) else {
            return Ok(Progress::Done(()));
        };
        for target in [
            Target::of::<v1::Secret>(Some(namespace), &plan.secret),
            Target::of::<Job>(Some(namespace), &objects::job_name(step.owner().run_id)),
        ] {
            let deleted = cluster.ensure_deleted(&target);
            step.wait_for(&format!("delete {}", target.kind), deleted).await?;
        }
        Ok(Progress::Done(()))
    }
}

impl SetupDatabase {
    /// The phase with the clients it needs.
    pub fn new(cluster: Cluster, tenant_api: TenantApi) -> Self {
        Self { cluster, tenant_api }
    }
}

fn made_by(plan: &Plan, secret: Option<SecretMade>, made: Initialized) -> Checkpoint {
    Checkpoint {
        place: plan.place.clone(),
        secret,
        created: made.created,
        created_by_run: made.created_by_run,
        migrations: made.migrations,
    }
}

fn plan(tenant: &Tenant, platform: &Platform, earlier: &Checkpoints) -> Result<Plan> {
    let instance: Option<reads::OwnPostgres> = earlier.read()?;
    let pooled = tenant.deployment_type == DeploymentType::Shared;
    // An instance that is the tenant's alone holds nothing but its database.
    let own = instance.is_some() || (tenant.has_dedicated_database && !pooled);
    let deployed = earlier.read::<reads::Deployment>()?;
    let endpoint = deployed.map(|own| own.endpoint).filter(|_| !tenant.suspended);
    let serving = Server::serving(platform, &tenant.region, tenant.id, endpoint)?.on(instance.clone());
    let server = Server::of(platform, &tenant.region)?.on(instance);
    let strategy = if own { Strategy::Database } else { Strategy::Schema };
    let charts = &platform.charts;
    Ok(Plan {
        place: DatabaseTarget::of(tenant.id, strategy, &server.admin.database),
        // A connection pool of its own (provisioning reference, "Database Isolation Strategy").
        connection_limit: (tenant.tier == Tier::Professional && !pooled)
            .then_some(platform.professional_connection_limit),
        instance: serving.own.is_some().then_some(serving),
        server,
        namespace: (!pooled).then(|| platform.namespace(&tenant.slug)),
        secret: SECRET.to_owned(),
        label_prefix: platform.label_prefix.clone(),
        check_image: format!("{}/check-database:{}", charts.image_registry, charts.image_tag),
        simulated_nodes: platform.simulated_nodes,
    })
}

#[cfg(test)]
mod tests;
