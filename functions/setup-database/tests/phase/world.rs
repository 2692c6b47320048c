//! A tenant-api in this process, a real Postgres and a real API server, and a tenant that is gone when the test ends.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cluster::Cluster;
use engine::phase::{
    Checkpoints, Fence, Interrupt, Operation, OperationState, Phase, Progress, Result, Scope, Step,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use model::platform::Platform;
use model::secret::Secret;
use model::{RunId, Tenant, TenantId, Tier};
use serde_json::json;
use setup_database::{Checkpoint, Plan, SECRET, SetupDatabase};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tenant_api_client::{Strategy, TenantApi};
use testing::{ClaimedStep, required};
use tokio::net::TcpListener;

/// What the tenant-api of these tests asks for.
pub const INTERNAL_SECRET: &str = "the internal secret of this test";

/// The real parts, and one tenant.
#[derive(Clone)]
pub struct World {
    pub cluster: Cluster,
    pub platform: Platform,
    pub tenant: Tenant,
    pub run: RunId,
    /// Failures of the phase so far.
    pub failures: i32,
    pub namespace: String,
}

impl World {
    async fn new(strategy: Strategy, ending: &str) -> Self {
        required("KUBECONFIG");
        let tenant = Tenant {
            tier: Tier::Professional,
            has_dedicated_database: strategy == Strategy::Database,
            ..testing::tenant_ending("sdb", ending)
        };
        let mut platform = Platform { simulated_nodes: true, ..Platform::default() };
        let namespace = platform.namespace(&tenant.slug).to_string();
        let internal_secret = format!("k8s:{namespace}/of-this-test#internal").parse().unwrap();
        let region = testing::region(serve_tenant_api().await, internal_secret);
        platform.regions.insert("eastus".into(), region);
        let world = Self {
            cluster: Cluster::connect().await.unwrap(),
            platform,
            tenant,
            run: RunId::generate(),
            failures: 0,
            namespace,
        };
        let named = ObjectMeta { name: Some(world.namespace.clone()), ..ObjectMeta::default() };
        let namespaces: Api<v1::Namespace> = Api::all(world.cluster.client());
        let namespace = v1::Namespace { metadata: named, ..v1::Namespace::default() };
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        world.put_secret("of-this-test", &[("internal", INTERNAL_SECRET)], false).await;
        world
    }

    pub fn phase(&self) -> SetupDatabase {
        SetupDatabase::new(self.cluster.clone(), TenantApi::connect().unwrap())
    }

    pub fn plan(&self) -> Plan {
        self.phase().plan(&self.tenant, &self.platform, &Checkpoints::default()).unwrap()
    }

    /// The same world in a later run of the tenant.
    pub fn later_run(&self) -> Self {
        Self { run: RunId::generate(), ..self.clone() }
    }

    pub fn step(&self, scope: Scope) -> (Step, Arc<Watch>) {
        self.step_with(scope, Watch::default())
    }

    pub fn step_with(&self, scope: Scope, watch: Watch) -> (Step, Arc<Watch>) {
        let watch = Arc::new(watch);
        let step = ClaimedStep::new(SetupDatabase::NAME, &self.tenant, self.run);
        let step = step.scope(scope).failures(self.failures).fence(watch.clone()).step();
        (step, watch)
    }

    pub async fn apply(&self) -> Result<Checkpoint> {
        let (step, _) = self.step(Scope::Run);
        done(self.phase().apply(&self.plan(), &step).await)
    }

    pub async fn revert(&self, scope: Scope) -> Result<()> {
        let (step, _) = self.step(scope);
        done(self.phase().revert(&self.plan(), None, &step).await)
    }

    fn secrets(&self) -> Api<v1::Secret> {
        Api::namespaced(self.cluster.client(), &self.namespace)
    }

    /// The Secret as the API server has it.
    pub async fn secret(&self) -> Option<v1::Secret> {
        self.secrets().get_opt(SECRET).await.unwrap()
    }

    /// The Secret's values as text.
    pub async fn values(&self) -> BTreeMap<String, String> {
        let data = self.secret().await.unwrap().data.unwrap();
        data.into_iter().map(|(key, value)| (key, String::from_utf8(value.0).unwrap())).collect()
    }

    pub async fn put_secret(&self, name: &str, values: &[(&str, &str)], ours: bool) {
        let label = ("matih.ai/tenant-id".to_owned(), self.tenant.id.to_string());
        let data =
            values.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        let secret = v1::Secret {
            metadata: ObjectMeta {
                name: Some(name.into()),
                labels: ours.then(|| BTreeMap::from([label])),
                ..ObjectMeta::default()
            },
            data: Some(data.collect()),
            ..v1::Secret::default()
        };
        self.secrets().create(&PostParams::default(), &secret).await.unwrap();
    }

    pub async fn change_secret(&self, values: &[(&str, &str)]) {
        let values: BTreeMap<_, _> = values.iter().copied().collect();
        let change = json!({ "stringData": values });
        self.secrets().patch(SECRET, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    }

    /// The administrator's session, for looking at what is there.
    pub async fn admin(&self) -> PgConnection {
        testing::region_admin().await
    }

    pub async fn sql(&self, statement: &str) {
        let mut admin = self.admin().await;
        let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut admin).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        admin.close().await.unwrap();
    }

    /// Role, database and schema of the tenant's names that are there, whoever owns them.
    pub async fn names(&self) -> Vec<String> {
        let question = "SELECT 'role' FROM pg_roles WHERE rolname = $1 \
                        UNION ALL SELECT 'database' FROM pg_database WHERE datname = $1 \
                        UNION ALL SELECT 'schema' FROM pg_namespace WHERE nspname = $1";
        let mut admin = self.admin().await;
        let names =
            sqlx::query_scalar(question).bind(&self.plan().place.role).fetch_all(&mut admin).await.unwrap();
        admin.close().await.unwrap();
        names
    }

    /// The six keys' login, by the URL.
    pub async fn login(&self) -> PgConnection {
        let url = &self.values().await["DATABASE_URL"];
        PgConnection::connect(url).await.unwrap()
    }

    async fn clean(&self) {
        let admin = Secret::new(required("REGION_DATABASE_ADMIN_PASSWORD"));
        let access = self.plan().server.with(Secret::new(INTERNAL_SECRET), admin);
        let api = TenantApi::connect().unwrap();
        api.drop(&access, self.tenant.id, &self.plan().place, None).await.unwrap();
        assert_eq!(api.inventory(&access, self.tenant.id).await.unwrap(), [], "left behind");
        let namespaces: Api<v1::Namespace> = Api::all(self.cluster.client());
        namespaces.delete(&self.namespace, &DeleteParams::default()).await.unwrap();
    }
}

fn done<T>(progress: Result<Progress<T>>) -> Result<T> {
    match progress? {
        Progress::Done(value) => Ok(value),
        Progress::Wait(wait) => panic!("waits for {}", wait.on),
    }
}

async fn serve_tenant_api() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let secrets = tenant_api::InternalSecrets::new([INTERNAL_SECRET.to_owned()]).unwrap();
    tokio::spawn(tenant_api::serve(listener, tenant_api::Config::new(secrets), std::future::pending()));
    url
}

/// A tenant's own tenant-api, which serves nobody else.
pub async fn serve_own(tenant: TenantId, secret: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let secrets = tenant_api::InternalSecrets::new([secret.to_owned()]).unwrap();
    let config = tenant_api::Config {
        tables: tenant_api::Tables::new(None, Some(tenant), false),
        ..tenant_api::Config::new(secrets)
    };
    tokio::spawn(tenant_api::serve(listener, config, std::future::pending()));
    url
}

/// A hold on a step that keeps all that is recorded, and can lose the step or change the world at the beginning of an
/// operation.
#[derive(Default)]
pub struct Watch {
    pub recorded: Mutex<Vec<String>>,
    pub lost_at: Option<&'static str>,
    pub change_at: Option<Change>,
}

/// New values for the Secret, at the beginning of an operation.
pub struct Change {
    pub operation: &'static str,
    pub world: World,
    pub values: Vec<(&'static str, String)>,
}

impl Watch {
    pub fn recorded(&self) -> String {
        self.recorded.lock().unwrap().join("\n")
    }
}

#[async_trait]
impl Fence for Watch {
    async fn record(&self, operations: &[Operation]) -> std::result::Result<(), Interrupt> {
        self.recorded.lock().unwrap().push(serde_json::to_string(operations).unwrap());
        let last = operations.last().filter(|operation| operation.state == OperationState::Running);
        let Some(begun) = last.map(|operation| operation.name.as_str()) else { return Ok(()) };
        if self.lost_at == Some(begun) {
            return Err(Interrupt::Fenced);
        }
        if let Some(change) = self.change_at.as_ref().filter(|change| change.operation == begun) {
            let values: Vec<_> = change.values.iter().map(|(key, value)| (*key, value.as_str())).collect();
            change.world.change_secret(&values).await;
        }
        Ok(())
    }
}

/// Runs `body` with a fresh tenant that is gone afterwards, also when it fails. A body that succeeds must leave nothing
/// that a deprovisioning cannot take away.
pub async fn with_tenant<F>(strategy: Strategy, body: impl FnOnce(World) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    with_tenant_named(strategy, "", body).await;
}

/// As [`with_tenant`], with an ending of the slug that tells the simulated nodes what to do.
pub async fn with_tenant_named<F>(strategy: Strategy, ending: &str, body: impl FnOnce(World) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let world = World::new(strategy, ending).await;
    let outcome = tokio::spawn(body(world.clone())).await;
    let cleaned = tokio::spawn({
        let world = world.clone();
        async move { world.clean().await }
    })
    .await;
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure.into_panic());
    }
    cleaned.unwrap();
}

/// As [`with_tenant`], for both strategies.
pub async fn with_both<F>(body: impl Fn(World) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    with_tenant(Strategy::Database, &body).await;
    with_tenant(Strategy::Schema, &body).await;
}
