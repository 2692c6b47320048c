//! The engine by itself, as an example: three phases that make a schema, a table and a row in Postgres.
//!
//! Each phase says what it will do (`plan`), does it (`apply`) and undoes it (`revert`); the engine stores the plan before the
//! first effect, tries again what may be tried again, and goes back phase by phase when one has failed for good. Whoever uses
//! the engine delivers the jobs, here [`deliver`]; Tenantry does it by queues. What the phases have made is looked at in
//! Postgres itself, never in the engine's own tables.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy knows only functions marked as tests for tests"
)]

use std::sync::Arc;
use std::time::Duration;

use engine::decide::verbs::{Request, Verb};
use engine::phase::{
    Answer, CheckpointPart, Checkpoints, Clients, Error, Job, Phase, Progress, Result, Step, Trigger,
};
use engine::runtime::{Loaded, Runner};
use engine::store::{Plain, Store, VerbRequest, transaction};
use futures::FutureExt as _;
use model::platform::{Engine, Platform, Seconds};
use model::{PhaseName, RunId, Tenant, TenantId};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgPool};

static PHASES: [PhaseName; 3] = [CreateSchema::NAME, CreateTable::NAME, InsertRow::NAME];

/// CREATE_SCHEMA: the schema that holds what is the tenant's.
struct CreateSchema(PgPool);

/// What CREATE_SCHEMA will make, and has made: the undo must know the name though nothing else was ever written.
#[derive(Serialize, Deserialize)]
struct Schema {
    name: String,
}

/// The phases after it read the name.
impl CheckpointPart for Schema {
    const PHASE: &'static str = "CREATE_SCHEMA";
}

impl Phase for CreateSchema {
    const NAME: PhaseName = PhaseName::new("CREATE_SCHEMA");
    type Plan = Schema;
    type Checkpoint = Schema;

    async fn connect(_: &impl Clients) -> Result<Self> {
        Ok(Self(world().await?))
    }

    fn plan(&self, tenant: &Tenant, _: &Platform, _: &Checkpoints) -> Result<Schema> {
        Ok(Schema { name: schema_of(tenant.id) })
    }

    async fn apply(&self, plan: &Schema, step: &Step) -> Result<Progress<Schema>> {
        let create = run(&self.0, format!("CREATE SCHEMA IF NOT EXISTS {}", plan.name));
        step.operation("schema", create).await?;
        Ok(Progress::Done(Schema { name: plan.name.clone() }))
    }

    async fn revert(&self, plan: &Schema, _: Option<&Schema>, step: &Step) -> Result<Progress<()>> {
        // Without CASCADE: the phases after this one have taken away what they made.
        let drop = run(&self.0, format!("DROP SCHEMA IF EXISTS {}", plan.name));
        step.operation("schema", drop).await?;
        Ok(Progress::Done(()))
    }
}

/// CREATE_TABLE: a table in that schema.
struct CreateTable(PgPool);

/// What CREATE_TABLE will make.
#[derive(Serialize, Deserialize)]
struct Table {
    name: String,
}

impl Phase for CreateTable {
    const NAME: PhaseName = PhaseName::new("CREATE_TABLE");
    type Plan = Table;
    type Checkpoint = ();

    async fn connect(_: &impl Clients) -> Result<Self> {
        Ok(Self(world().await?))
    }

    fn plan(&self, _: &Tenant, _: &Platform, earlier: &Checkpoints) -> Result<Table> {
        let schema: Schema = earlier
            .read()?
            .ok_or_else(|| Error::fatal("schema_missing", "the run has no schema to make a table in"))?;
        Ok(Table { name: format!("{}.guests", schema.name) })
    }

    async fn apply(&self, plan: &Table, step: &Step) -> Result<Progress<()>> {
        let create = format!("CREATE TABLE IF NOT EXISTS {} (name text PRIMARY KEY)", plan.name);
        step.operation("table", run(&self.0, create)).await?;
        Ok(Progress::Done(()))
    }

    async fn revert(&self, plan: &Table, _: Option<&()>, step: &Step) -> Result<Progress<()>> {
        step.operation("table", run(&self.0, format!("DROP TABLE IF EXISTS {}", plan.name))).await?;
        Ok(Progress::Done(()))
    }
}

/// INSERT_ROW: the first guest. Fails for as long as the schema has no table `guests` that takes the name.
struct InsertRow(PgPool);

/// What INSERT_ROW will write, and where.
#[derive(Serialize, Deserialize)]
struct Row {
    table: String,
    name: String,
}

impl Phase for InsertRow {
    const NAME: PhaseName = PhaseName::new("INSERT_ROW");
    type Plan = Row;
    type Checkpoint = ();

    async fn connect(_: &impl Clients) -> Result<Self> {
        Ok(Self(world().await?))
    }

    fn plan(&self, tenant: &Tenant, _: &Platform, _: &Checkpoints) -> Result<Row> {
        Ok(Row { table: format!("{}.guests", schema_of(tenant.id)), name: tenant.name.clone() })
    }

    async fn apply(&self, plan: &Row, step: &Step) -> Result<Progress<()>> {
        let insert = format!("INSERT INTO {} VALUES ('{}') ON CONFLICT DO NOTHING", plan.table, plan.name);
        step.operation("row", run(&self.0, insert)).await?;
        Ok(Progress::Done(()))
    }

    async fn revert(&self, plan: &Row, _: Option<&()>, step: &Step) -> Result<Progress<()>> {
        let delete = format!("DELETE FROM {} WHERE name = '{}'", plan.table, plan.name);
        step.operation("row", run(&self.0, delete)).await?;
        Ok(Progress::Done(()))
    }
}

/// The inventory, which ends every backward run: it looks whether anything is left, and does not believe the undos.
struct Inventory(PgPool);

impl Phase for Inventory {
    const NAME: PhaseName = PhaseName::TAKE_INVENTORY;
    type Plan = Schema;
    type Checkpoint = ();

    async fn connect(_: &impl Clients) -> Result<Self> {
        Ok(Self(world().await?))
    }

    fn plan(&self, tenant: &Tenant, _: &Platform, _: &Checkpoints) -> Result<Schema> {
        Ok(Schema { name: schema_of(tenant.id) })
    }

    async fn apply(&self, _: &Schema, _: &Step) -> Result<Progress<()>> {
        Err(Error::fatal("backward_only", "an inventory is taken at the end of a backward run only"))
    }

    async fn revert(&self, plan: &Schema, _: Option<&()>, step: &Step) -> Result<Progress<()>> {
        let left = async { Ok(schemas(&self.0, &plan.name).await) };
        match step.operation("inventory", left).await? {
            0 => Ok(Progress::Done(())),
            _ => Err(Error::retryable("left_over", format!("schema {} is left", plan.name))),
        }
    }
}

/// One effect. What the server refuses may be otherwise at the next attempt; a server that is not there is charged to nobody.
async fn run(world: &PgPool, statement: String) -> Result<()> {
    match sqlx::query(AssertSqlSafe(statement)).execute(world).await {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(refused)) => Err(Error::retryable("refused", refused.to_string())),
        Err(error) => Err(Error::unavailable("postgres", "postgres_unavailable", error.to_string())),
    }
}

/// Where the phases make their things: the server's own database, beside the engine's.
async fn world() -> Result<PgPool> {
    let url = std::env::var("DATABASE_URL").map_err(|_| {
        Error::fatal("setting_missing", "DATABASE_URL is not set").next("Run the tests by `make test`.")
    })?;
    let connected = PgPool::connect(&url).await;
    connected.map_err(|error| Error::unavailable("postgres", "postgres_unavailable", error.to_string()))
}

fn schema_of(tenant: TenantId) -> String {
    format!("three_phases_{}", tenant.0.simple())
}

async fn schemas(world: &PgPool, name: &str) -> i64 {
    let count = "SELECT count(*) FROM information_schema.schemata WHERE schema_name = $1";
    sqlx::query_scalar(count).bind(name).fetch_one(world).await.unwrap()
}

async fn guests(world: &PgPool, schema: &str) -> Vec<String> {
    let select = format!("SELECT name FROM {schema}.guests");
    sqlx::query_scalar(AssertSqlSafe(select)).fetch_all(world).await.unwrap()
}

/// A runner with the three phases, and a tenant with a run of them.
struct Example {
    store: Store,
    runner: Runner,
    engine: Engine,
    world: PgPool,
    tenant: TenantId,
    run: RunId,
}

impl Example {
    async fn new(store: Store) -> Self {
        let engine = Engine { failures: 3, backoff: Seconds(0.1), ..Engine::default() };
        let platform = Platform { engine: engine.clone(), ..Platform::default() };
        let runner = Runner::new(store.clone(), Arc::new(platform.clone()))
            .and(Arc::new(Loaded(CreateSchema::connect(&platform).await.unwrap())))
            .and(Arc::new(Loaded(CreateTable::connect(&platform).await.unwrap())))
            .and(Arc::new(Loaded(InsertRow::connect(&platform).await.unwrap())))
            .and(Arc::new(Loaded(Inventory::connect(&platform).await.unwrap())));
        let tenant = TenantId::generate();
        let mut connection = store.connection().await.unwrap();
        for statement in [
            "INSERT INTO tenants (id, slug, name, tier, region, admin_email, deployment_strategy, deployment_reason,
                 status, created_by)
             VALUES ($1, 'acme', 'Acme', 'free', 'here', 'admin@acme.example', 'shared', 'an example', 'PENDING', 'me')",
            "INSERT INTO tenant_audit_numbers (tenant_id, number) VALUES ($1, 0)",
        ] {
            sqlx::query(statement).bind(tenant.0).execute(&mut *connection).await.unwrap();
        }
        let run = transaction::start_provisioning(&mut connection, tenant, &PHASES, "me", "TENANT_CREATED");
        let run = run.await.unwrap();
        Self { store, runner, engine, world: world().await.unwrap(), tenant, run }
    }

    fn schema(&self) -> String {
        schema_of(self.tenant)
    }

    /// Delivers the job that `seq` names, and those that follow from it; ends with the run, or when `stop` says so of the job
    /// that comes next.
    async fn deliver(&self, run: RunId, phase: PhaseName, seq: i64, stop: fn(&Job) -> bool) -> Option<Job> {
        let mut job = Job::new(self.tenant, run, phase, seq);
        loop {
            if stop(&job) {
                return Some(job);
            }
            match self.runner.run(&job, Trigger::Dispatcher).await.unwrap() {
                Answer::Next { job: next, delay_ms } => {
                    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                    job = next;
                }
                Answer::NotDue { remaining_ms } => {
                    tokio::time::sleep(Duration::from_millis(remaining_ms)).await;
                }
                Answer::Finished => return None,
                other => panic!("{job:?}: {other:?}"),
            }
        }
    }

    /// How often the audit log says so.
    async fn told(&self, action: &str) -> usize {
        let rows = self.store.audit(self.tenant, 0, 1_000).await.unwrap();
        rows.iter().filter(|row| row.action == action).count()
    }
}

/// Runs the test with an engine's database of its own, which goes with it, as does the tenant's schema.
async fn with_example<F: Future<Output = ()>>(test: impl FnOnce(Arc<Example>) -> F) {
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL is not set: run this by `make test`");
    let admin = world().await.unwrap();
    let name = format!("three_phases_{}", uuid::Uuid::new_v4().simple());
    run(&admin, format!("CREATE DATABASE {name}")).await.unwrap();
    let (server, _) = url.rsplit_once('/').unwrap();
    // `Plain`: of these tenants there is nothing more to know, and nobody is told of them.
    let store = Store::connect_to(&format!("{server}/{name}"), 4, Arc::new(Plain)).unwrap();
    store.migrate().await.unwrap();
    let example = Arc::new(Example::new(store).await);
    let ended = std::panic::AssertUnwindSafe(test(example.clone())).catch_unwind().await;
    example.store.close();
    run(&admin, format!("DROP SCHEMA IF EXISTS {} CASCADE", example.schema())).await.unwrap();
    run(&admin, format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_that_fails_is_tried_again_and_what_was_made_is_taken_out_in_reverse() {
    with_example(|example| async move {
        let schema = example.schema();
        // Two phases are done; then somebody takes the table away, and the third fails.
        let stop: fn(&Job) -> bool = |job| job.phase == InsertRow::NAME;
        let job = example.deliver(example.run, CreateSchema::NAME, 1, stop).await.unwrap();
        assert_eq!(guests(&example.world, &schema).await, [""; 0]);
        run(&example.world, format!("ALTER TABLE {schema}.guests RENAME TO hidden")).await.unwrap();
        let answer = example.runner.run(&job, Trigger::Dispatcher).await.unwrap();
        let Answer::Next { job: again, .. } = answer else { panic!("{answer:?}") };
        assert_eq!((again.phase, example.told("PHASE_RETRYING").await), (InsertRow::NAME, 1));
        // Now it is back, and the next attempt ends the run.
        run(&example.world, format!("ALTER TABLE {schema}.hidden RENAME TO guests")).await.unwrap();
        assert_eq!(example.deliver(example.run, InsertRow::NAME, again.seq, |_| false).await, None);
        assert_eq!(guests(&example.world, &schema).await, ["Acme"]);
        assert_eq!(example.told("TENANT_ACTIVE").await, 1);

        // The tenant is taken out: a run backward over all that it has, which ends with an inventory.
        let request = Request { verb: Verb::Delete, actor: "me".into(), reason: None };
        let asked = VerbRequest { request, seq: None, force: false };
        let out = example.store.operate(example.tenant, &asked, &example.engine).await.unwrap();
        assert_eq!(example.deliver(out.run_id, InsertRow::NAME, out.seq, |_| false).await, None);
        assert_eq!(schemas(&example.world, &schema).await, 0);
        assert_eq!(example.told("TENANT_DELETED").await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_that_fails_for_good_has_what_was_made_taken_back() {
    with_example(|example| async move {
        let schema = example.schema();
        let stop: fn(&Job) -> bool = |job| job.phase == InsertRow::NAME;
        let job = example.deliver(example.run, CreateSchema::NAME, 1, stop).await.unwrap();
        // No attempt can succeed: the name is not long enough.
        let check = format!("ALTER TABLE {schema}.guests ADD CHECK (length(name) > 100)");
        run(&example.world, check).await.unwrap();
        assert_eq!(example.deliver(example.run, InsertRow::NAME, job.seq, |_| false).await, None);
        assert_eq!(example.told("PHASE_RETRYING").await, 2, "three attempts");
        assert_eq!(example.told("PHASE_REVERTED").await, 3, "the one that failed, too");
        assert_eq!(example.told("TENANT_FAILED").await, 1);
        assert_eq!(schemas(&example.world, &schema).await, 0, "nothing is left in Postgres");
    })
    .await;
}
