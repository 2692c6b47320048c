//! SETUP_DATABASE: the tenant's role, its database or schema with tables and starting rows, and its credentials. A tenant
//! of the pooled tenant-api has no credentials: its role cannot log in, and nothing of it is in the cluster.
//!
//! In: the tenant, its region's servers, or its own instance where PROVISIONING_INFRASTRUCTURE has made one. Out: the names, the Secret's uid, what was made and by which run. Fails with
//! `foreign_object`, `foreign_role`, `foreign_database` or `foreign_schema` when something of a wanted name is somebody
//! else's, `credentials_incomplete` or `credentials_mismatch` when the Secret is not as this phase wrote it,
//! `database_login_refused` when its credentials do not work, and `tenant_api_…`. Rollback: drops role, database and
//! schema if this run made them, then deletes the Secret if this run made it.

mod objects;
mod probe;

use cluster::{Cluster, Owned, Target};
use engine::phase::{Checkpoints, Clients, Error, Phase, Progress, Result, Scope, Step, reads};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1;
use model::platform::Platform;
use model::{DeploymentType, Namespace, PhaseName, RunId, Tenant, Tier};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenant_api_client::{
    Access, Created, Credentials, Dropped, Initialize, Initialized, Migration, Place, Server, Strategy,
    TenantApi, check,
};

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
    pub place: Place,
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
    pub place: Place,
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

    /// Makes sure that the Secret is there. One of the tenant's that is there already is kept with its password.
    async fn keep_credentials(
        &self,
        plan: &Plan,
        namespace: &Namespace,
        cluster: &Owned,
    ) -> Result<SecretMade> {
        let admin = &plan.server.admin;
        let fresh = Credentials::new(&plan.place, &admin.host, admin.port, objects::password());
        let kept = cluster.ensure_kept(&objects::secret(plan, namespace, &fresh)).await?;
        self.credentials(plan, namespace).await?;
        Ok(SecretMade { name: plan.secret.clone(), uid: kept.uid, created_by: kept.created_by })
    }

    /// The Secret's own values, which hold from the moment that it is there.
    async fn credentials(&self, plan: &Plan, namespace: &Namespace) -> Result<Credentials> {
        let name = format!("Secret {namespace}/{}", plan.secret);
        let Some(mut values) = self.cluster.read_secret(namespace.as_str(), &plan.secret).await? else {
            return Err(Error::retryable("secret_missing", format!("{name} is not there"))
                .next("It was removed by hand; retry makes a new one."));
        };
        let credentials = Credentials::read(&name, |key| values.remove(key))?;
        let (user, database) = (&credentials.user, &credentials.database);
        if (user, database) == (&plan.place.role, &plan.place.database) {
            return Ok(credentials);
        }
        let message = format!(
            "{name} is for role {user} in database {database}, not for {} in {}",
            plan.place.role, plan.place.database
        );
        Err(Error::fatal("credentials_mismatch", message)
            .next("Delete the Secret if nothing uses it, and start the tenant again: a new one is made."))
    }

    async fn initialize(&self, plan: &Plan, step: &Step) -> Result<Initialized> {
        let credentials = match &plan.namespace {
            Some(namespace) => Some(self.credentials(plan, namespace).await?),
            None => None,
        };
        let owner = step.owner();
        let what = Initialize {
            tenant: owner.tenant_id,
            run: owner.run_id,
            place: &plan.place,
            password: credentials.as_ref().map(|credentials| &credentials.password),
            connection_limit: plan.connection_limit,
        };
        let asked = plan.instance.as_ref().unwrap_or(&plan.server);
        self.tenant_api.initialize(&self.access(asked, step).await?, what).await
    }

    /// Stands in for the Job where no container runs.
    async fn check_directly(&self, plan: &Plan, namespace: &Namespace) -> Result<Value> {
        // Read anew: what is checked is what the tenant's services will read.
        let found = check(&self.credentials(plan, namespace).await?).await?;
        Ok(json!({ "simulated": "connected directly: the nodes are simulated", "found": found }))
    }

    async fn access(&self, server: &Server, step: &Step) -> Result<Access> {
        let server = server.as_now(step);
        let internal_secret = server.presented(self.cluster.resolve(&server.internal_secret).await?);
        Ok(server.with(internal_secret, self.cluster.resolve(&server.admin.password).await?))
    }

    async fn drop(&self, plan: &Plan, step: &Step) -> Result<Dropped> {
        let owner = step.owner();
        let only_if_run = match owner.scope {
            Scope::Run => Some(owner.run_id),
            Scope::Tenant => None,
        };
        let access = self.access(&plan.server, step).await?;
        match self.tenant_api.drop(&access, owner.tenant_id, &plan.place, only_if_run).await {
            // Everything is owned through the role: when that is somebody else's, nothing here is the tenant's.
            Err(error) if error.code == "foreign_role" => {
                Ok(Dropped { kept: Some(error.message), ..Dropped::default() })
            }
            dropped => dropped,
        }
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
        place: Place::of(tenant.id, strategy, &server.admin.database),
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
mod tests {
    use super::*;
    use engine::phase::Kind;

    const OWN: &str = "tenant_550e8400-e29b-41d4-a716-446655440000";

    fn tenant(tier: Tier, has_dedicated_database: bool) -> Tenant {
        Tenant {
            id: "550e8400-e29b-41d4-a716-446655440000".parse().unwrap(),
            slug: "acme".parse().unwrap(),
            name: "Acme".into(),
            tier,
            region: "eastus".into(),
            admin_email: "admin@acme.example".into(),
            deployment_type: DeploymentType::ContainerPerTenant,
            has_dedicated_database,
            cost_center: None,
            alerting: model::Alerting::default(),
            suspended: false,
            container: model::Container::default(),
            domains: Vec::new(),
            created_by: "admin@matih.ai".into(),
            created_at: "2026-02-12T10:00:00Z".parse().unwrap(),
        }
    }

    fn plan(tenant: &Tenant, platform: &Platform) -> Result<Plan> {
        super::plan(tenant, platform, &Checkpoints::default())
    }

    fn platform() -> Platform {
        let region = serde_json::from_value(json!({
            "tenant_api_url": "http://tenant-api",
            "internal_secret": "env:INTERNAL",
            "database": {
                "host": "db", "port": 5432, "shared_database": "region_eastus",
                "admin_user": "region_admin", "admin_password": "file:/run/admin",
            },
        }));
        Platform { regions: [("eastus".to_owned(), region.unwrap())].into(), ..Platform::default() }
    }

    #[test]
    fn an_enterprise_tenants_database_is_on_its_own_instance() {
        let instance = json!({
            "host": "10.0.0.4", "port": 5433, "adminUser": "tenantry_admin", "adminDatabase": "postgres",
            "adminPassword": "k8s:matih-system/infrastructure#password", "database": OWN, "cidrs": [], "createdBy": null,
        });
        let earlier = Checkpoints::new([("PROVISIONING_INFRASTRUCTURE".to_owned(), instance)].into());
        for dedicated in [true, false] {
            let plan = super::plan(&tenant(Tier::Enterprise, dedicated), &platform(), &earlier).unwrap();
            assert_eq!((plan.place.strategy, &*plan.place.database), (Strategy::Database, OWN));
            assert_eq!(plan.server.endpoint, "http://tenant-api");
            assert_eq!(
                serde_json::to_value(plan.server.admin).unwrap(),
                json!({
                    "host": "10.0.0.4", "port": 5433, "user": "tenantry_admin", "database": "postgres",
                    "password": "k8s:matih-system/infrastructure#password", "ofOwnInstance": true,
                })
            );
        }
    }

    #[test]
    fn a_tenants_own_instance_is_asked_to_make_it_and_the_pooled_one_to_drop_it() {
        let deployed = json!({ "endpoint": "http://tenant-api-control.matih-acme.svc:8080" });
        let earlier = Checkpoints::new([(reads::PROVISION_DEPLOYMENT.to_owned(), deployed)].into());
        let mut tenant = tenant(Tier::Professional, true);
        let planned = super::plan(&tenant, &platform(), &earlier).unwrap();
        let own = planned.instance.clone().unwrap();
        assert_eq!(
            (&*own.endpoint, own.own),
            ("http://tenant-api-control.matih-acme.svc:8080", Some(tenant.id))
        );
        assert_eq!((&*planned.server.endpoint, planned.server.own), ("http://tenant-api", None));
        assert_eq!(own.admin, planned.server.admin);
        tenant.suspended = true;
        assert_eq!(super::plan(&tenant, &platform(), &earlier).unwrap().instance, None, "nothing of it runs");
        tenant.suspended = false;
        let simulated = Platform { simulated_nodes: true, ..platform() };
        assert_eq!(super::plan(&tenant, &simulated, &earlier).unwrap().instance, None, "no container runs");
    }

    #[test]
    fn a_plan_holds_names_and_references() {
        let plan = plan(&tenant(Tier::Professional, true), &platform()).unwrap();
        assert_eq!(
            serde_json::to_value(plan).unwrap(),
            json!({
                "strategy": "database", "database": OWN, "schema": "public", "role": OWN,
                "connectionLimit": 20, "instance": null,
                "server": {
                    "region": "eastus", "endpoint": "http://tenant-api", "internalSecret": "env:INTERNAL",
                    "admin": {
                        "host": "db", "port": 5432, "user": "region_admin", "password": "file:/run/admin",
                        "database": "region_eastus", "ofOwnInstance": false,
                    },
                },
                "namespace": "matih-acme", "secret": "tenant-database-credentials", "labelPrefix": "matih.ai",
                "checkImage": "matih.azurecr.io/check-database:latest", "simulatedNodes": false,
            })
        );
    }

    #[test]
    fn only_a_professional_tenant_has_a_limit_of_its_own() {
        let limit = |tier| plan(&tenant(tier, false), &platform()).unwrap().connection_limit;
        assert_eq!([Tier::Free, Tier::Professional, Tier::Enterprise].map(limit), [None, Some(20), None]);
    }

    #[test]
    fn without_a_database_of_its_own_a_tenant_has_a_schema() {
        let place = plan(&tenant(Tier::Free, false), &platform()).unwrap().place;
        let names = (place.strategy, &*place.database, &*place.schema, &*place.role);
        assert_eq!(names, (Strategy::Schema, "region_eastus", OWN, OWN));
    }

    #[test]
    fn a_tenant_of_the_pooled_instance_has_a_schema_and_no_secret() {
        let shared = Tenant { deployment_type: DeploymentType::Shared, ..tenant(Tier::Professional, false) };
        let plan = plan(&shared, &platform()).unwrap();
        assert_eq!((plan.place.strategy, &*plan.place.schema), (Strategy::Schema, OWN));
        assert_eq!((plan.namespace, plan.connection_limit), (None, None));
    }

    #[test]
    fn an_unknown_region_is_fatal_and_named() {
        let error = plan(&tenant(Tier::Free, false), &Platform::default()).unwrap_err();
        assert_eq!((&error.kind, error.code), (&Kind::Fatal, "region_unknown"));
        assert!(error.message.contains("'eastus'"), "{error}");
    }
}
