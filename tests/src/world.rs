//! One test's own world: database, vhost, platform, dispatchers.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::decide::verbs::{Request, Verb};
use engine::runtime::{DynPhase, Runner};
use engine::store::{KeyUse, OperateError, StoredResponse, VerbRequest};
use futures::FutureExt as _;
use model::platform::{Platform, Seconds};
use model::{Change, DeploymentType, OnFailure, PhaseName, TenantId, Tier};
use queue::{Broker, Dispatcher, Embedded, Invoker};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};
use tenants::{ChangeError, ChangeOutcome, NewTenant, StatusRow, Store, VerbOutcome};

use crate::broker::Management;
use crate::environment::Environment;
use crate::failpoints::Failpoints;
use crate::inventory::Inventory;
use crate::phases::Scripted;

pub use model::platform::Engine;

/// A world. Everything in it is real and goes with it.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a handle with nothing to show")]
pub struct World {
    /// The control plane's store.
    pub store: Store,
    /// The control plane's database and the table `effects`.
    pub pool: PgPool,
    /// Its URL.
    pub database_url: String,
    /// The broker's URL with the world's vhost.
    pub amqp_url: String,
    /// The broker as its operator sees it.
    pub management: Management,
    /// The platform; change it before anything is started.
    pub platform: Platform,
}

/// The engine's settings with everything short, so that tests wait for what happens and not for the clock.
fn short() -> Engine {
    Engine {
        // Long enough that a slow machine is no lost worker; tests that wait for a lost one make it shorter.
        lease: Seconds(10.0),
        renew: Seconds(0.5),
        lease_margin: Seconds(0.5),
        step_timeout: Seconds(20.0),
        function_timeout: Seconds(21.0),
        invoke_timeout: Seconds(22.0),
        failures: 3,
        lost: 5,
        backoff: Seconds(0.2),
        backoff_cap: Seconds(1.0),
        unavailable: Seconds(0.2),
        unavailable_within: Seconds(60.0),
        sweep: Seconds(1.0),
        sweep_cap: Seconds(4.0),
        sweep_tick: Seconds(0.2),
        ..Engine::default()
    }
}

impl World {
    /// Makes a world, runs the test in it, and takes the world away, also after a panic.
    pub async fn run<F, R>(test: F)
    where
        F: FnOnce(World) -> R,
        R: Future<Output = ()>,
    {
        // Shown only with --nocapture; RUST_LOG says how much.
        engine::runtime::init_logging();
        let environment = Environment::read();
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&environment.database_url).await.expect("Postgres");
        crate::template::copy(&environment, &mut admin, &name).await;
        let management = Management::new(&environment.management_url, &name);
        management.create_vhost().await;
        let database_url = environment.database(&name);
        let store = Store::connect_to(&database_url, 32).expect("store");
        let pool = sqlx::postgres::PgPoolOptions::new()
            .max_connections(32)
            .connect(&database_url)
            .await
            .expect("Postgres");
        pool.execute(
            "CREATE TABLE effects (id bigserial PRIMARY KEY, slug text, phase text, what text, \
             at timestamptz DEFAULT clock_timestamp())",
        )
        .await
        .expect("effects table");
        crate::observe::record_sweeps(&pool).await;
        let platform = Platform { engine: short(), ..Platform::default() };
        let world =
            World { store, pool, database_url, amqp_url: environment.vhost(&name), management, platform };
        let ended = AssertUnwindSafe(test(world.clone())).catch_unwind().await;
        world.pool.close().await;
        world.management.delete_vhost().await;
        let dropped = format!("DROP DATABASE {name} WITH (FORCE)");
        admin.execute(sqlx::AssertSqlSafe(dropped)).await.expect("our database goes");
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    }

    /// A scripted phase in this world.
    pub fn phase(&self, name: &'static str) -> Scripted {
        Scripted::new(name, &self.pool)
    }

    /// A runner of these phases.
    pub fn runner(&self, phases: Vec<Arc<dyn DynPhase>>) -> Arc<Runner> {
        let runner = Runner::new(self.store.clone(), Arc::new(self.platform.clone()))
            .with_hook(Failpoints::of_this_process().hook());
        Arc::new(phases.into_iter().fold(runner, Runner::and))
    }

    /// Starts a dispatcher that runs these phases in this process. An inventory that finds what the effects table says is
    /// left comes by itself.
    pub fn dispatch(&self, mut phases: Vec<Arc<dyn DynPhase>>) -> Dispatcher {
        phases.push(Arc::new(Inventory(self.pool.clone())));
        self.dispatch_by(Arc::new(Embedded(self.runner(phases))))
    }

    /// Starts a dispatcher with an invoker of the test's own.
    pub fn dispatch_by(&self, invoker: Arc<dyn Invoker>) -> Dispatcher {
        let store = Store::connect_to(&self.database_url, 16).expect("store");
        let broker = Broker::new(&self.amqp_url, "test").expect("broker");
        Dispatcher::start(
            store.into(),
            self.database_url.clone(),
            &broker,
            invoker,
            Arc::new(self.platform.engine.clone()),
        )
    }

    /// A tenant with a run of these phases, due at once.
    pub async fn tenant(&self, slug: &str, phases: &[&'static str]) -> TenantId {
        self.tenant_as(slug, phases, |_| {}).await
    }

    /// As [`World::tenant`], changed by `adjust` before it is written.
    pub async fn tenant_as(
        &self,
        slug: &str,
        phases: &[&'static str],
        adjust: impl FnOnce(&mut NewTenant),
    ) -> TenantId {
        let mut new = NewTenant {
            slug: slug.parse().expect("a slug"),
            name: slug.to_owned(),
            tier: Tier::Professional,
            region: "eastus".into(),
            admin_email: format!("admin@{slug}.example"),
            domain: None,
            compliance_required: false,
            member_count: 0,
            monthly_api_calls: 0,
            deployment_type: DeploymentType::ContainerPerTenant,
            deployment_reason: "test".into(),
            has_dedicated_database: true,
            cost_center: None,
            alerting: None,
            on_failure: OnFailure::Rollback,
            actor: "tester".into(),
            phases: phases.iter().map(|name| PhaseName::new(name)).collect(),
        };
        adjust(&mut new);
        let key = uuid::Uuid::new_v4().to_string();
        let key = KeyUse { actor: "tester", key: &key, body_hash: b"test", kept: Seconds(60.0) };
        let made = self
            .store
            .create_tenant(&new, &key, Seconds(0.0), &self.platform.domains, |row| StoredResponse {
                status: 202,
                body: serde_json::json!({ "id": row.id }),
                headers: serde_json::json!({}),
            })
            .await
            .expect("a tenant");
        self.store.notify().await.expect("notify");
        made.body["id"].as_str().unwrap().parse().unwrap()
    }

    /// Begins a change of a tenant.
    pub async fn change(&self, tenant: TenantId, change: &Change) -> Result<ChangeOutcome, ChangeError> {
        let begun = self.store.change(tenant, change, "tester").await?;
        self.store.notify().await.expect("notify");
        Ok(begun)
    }

    /// Asks a verb on the run as it is now.
    pub async fn ask(&self, tenant: TenantId, verb: Verb) -> Result<VerbOutcome, OperateError> {
        let seq = self.status(tenant).await.run.seq;
        self.ask_at(tenant, verb, Some(seq), true).await
    }

    /// Asks a verb with a sequence number of the test's own.
    pub async fn ask_at(
        &self,
        tenant: TenantId,
        verb: Verb,
        seq: Option<i64>,
        force: bool,
    ) -> Result<VerbOutcome, OperateError> {
        let request = Request { verb, actor: "tester".into(), reason: Some("because".into()) };
        let asked = VerbRequest { request, seq, force };
        let operated = self.store.operate(tenant, &asked, Seconds(0.0), &self.platform.engine).await?;
        self.store.notify().await.expect("notify");
        Ok(operated)
    }

    /// `DELETE` of a tenant, which stays for so long if it was in use.
    pub async fn delete_after(&self, tenant: TenantId, retention: f64) -> VerbOutcome {
        let request = Request { verb: Verb::Delete, actor: "tester".into(), reason: None };
        let (asked, retention) = (VerbRequest { request, seq: None, force: false }, Seconds(retention));
        let operated = self.store.operate(tenant, &asked, retention, &self.platform.engine).await;
        let operated = operated.expect("a deletion");
        self.store.notify().await.expect("notify");
        operated
    }

    /// The tenant with its newest run.
    pub async fn status(&self, tenant: TenantId) -> StatusRow {
        self.store.status(tenant).await.expect("status").expect("a tenant")
    }

    /// Waits until the tenant's status is `status`.
    pub async fn until(&self, tenant: TenantId, status: &str) -> StatusRow {
        self.until_row(tenant, status, |row| row.tenant.status == status).await
    }

    /// Waits until the tenant's row is as wanted; fails with the row as it is after three minutes.
    pub async fn until_row(
        &self,
        tenant: TenantId,
        what: &str,
        wanted: impl Fn(&StatusRow) -> bool,
    ) -> StatusRow {
        let began = Instant::now();
        loop {
            let row = self.status(tenant).await;
            if wanted(&row) {
                return row;
            }
            assert!(began.elapsed() < Duration::from_mins(3), "waited for {what}, but it is {row:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What was done for a tenant, in order: `PHASE apply`, `PHASE revert`; entries without effect are left out.
    pub async fn effects(&self, slug: &str) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT phase || ' ' || what FROM effects WHERE slug = $1 AND what NOT LIKE 'enter %' \
             AND phase <> 'TAKE_INVENTORY' ORDER BY id",
        )
        .bind(slug)
        .fetch_all(&self.pool)
        .await
        .expect("effects table")
    }

    /// The audit log of a tenant: actions in order.
    pub async fn actions(&self, tenant: TenantId) -> Vec<String> {
        let rows = self.store.audit(tenant, 0, 10_000).await.expect("audit log");
        // Numbered without a gap: a row that is missing or doubled would show.
        for (nth, row) in (1..).zip(&rows) {
            assert_eq!(row.number, nth, "audit rows are numbered without a gap");
        }
        rows.into_iter().map(|row| row.action).collect()
    }
}

/// Waits until `wanted` holds; fails with `what` after three minutes.
pub async fn eventually<F, R>(what: &str, wanted: F)
where
    F: Fn() -> R,
    R: Future<Output = bool>,
{
    let began = Instant::now();
    while !wanted().await {
        assert!(began.elapsed() < Duration::from_mins(3), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// So many seconds, for the engine's settings.
pub fn seconds(seconds: f64) -> Seconds {
    Seconds(seconds)
}
