//! A running tenant-api, a Postgres server to look at, and tenants that are gone when a test ends.

use model::secret::SecretRef;
use postgres_protocol::password::scram_sha_256;
use serde_json::{Value, json};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, SqlSafeStr};
use std::future::Future;
use std::time::Duration;
use tenant_api::{Config, InternalSecrets, Migrations, Tables};
use testing::required;
use tokio::net::TcpListener;
use uuid::Uuid;

pub const SECRET: &str = "the internal secret of this test";
pub const SHARED: &str = "region_eastus";
pub const OTHER_REGION: &str = "region_za_north";

#[derive(Clone)]
pub struct World {
    pub url: String,
    pub client: reqwest::Client,
    host: String,
    port: u16,
    user: String,
    password: String,
}

impl World {
    /// With a pooled instance.
    pub async fn new() -> Self {
        required("POOL_DATABASE_URL");
        let login = SecretRef::Env("POOL_DATABASE_URL".into());
        Self::serving(Tables::new(Some(login), None, false)).await
    }

    /// With a pooled instance of a later version, whose migrations are one more: it makes the table `later`.
    pub async fn later() -> Self {
        let login = SecretRef::Env("POOL_DATABASE_URL".into());
        let secrets = InternalSecrets::new([SECRET.to_owned()]).unwrap();
        let more = "CREATE TABLE later (tenant_id uuid PRIMARY KEY)".into_sql_str();
        let more = Migration::new(2, "later".into(), MigrationType::Simple, more, false);
        let known = sqlx::migrate!("./migrations");
        let migrations = Migrator::with_migrations(known.iter().cloned().chain([more]).collect());
        Self::with(Config {
            tables: Tables::new(Some(login), None, false),
            migrations: Migrations::from(migrations),
            ..Config::new(secrets)
        })
        .await
    }

    /// With an instance that works in these tables.
    pub async fn serving(tables: Tables) -> Self {
        let secrets = InternalSecrets::new([SECRET.to_owned()]).unwrap();
        Self::with(Config { tables, ..Config::new(secrets) }).await
    }

    /// With an instance of this configuration.
    pub async fn with(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(tenant_api::serve(listener, config, std::future::pending()));
        Self {
            url,
            client: reqwest::Client::new(),
            host: required("REGION_DATABASE_HOST"),
            port: required("REGION_DATABASE_PORT").parse().expect("REGION_DATABASE_PORT is a number"),
            user: required("REGION_DATABASE_ADMIN_USER"),
            password: required("REGION_DATABASE_ADMIN_PASSWORD"),
        }
    }

    pub fn admin(&self) -> Value {
        json!({ "host": self.host, "port": self.port, "user": self.user, "password": self.password,
                "database": SHARED })
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self
            .client
            .post(format!("{}/internal/database/{path}", self.url))
            .header("x-internal-secret", SECRET)
            .json(body)
            .timeout(Duration::from_mins(1))
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub async fn ok(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.post(path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    pub async fn refused(&self, path: &str, body: &Value, status: u16, code: &str) -> Value {
        let (got, answer) = self.post(path, body).await;
        assert_eq!((got, &answer["code"]), (status, &json!(code)), "{path}: {answer}");
        answer
    }

    pub async fn connect_as(&self, user: &str, password: &str, database: &str) -> sqlx::Result<PgConnection> {
        PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(self.port)
            .username(user)
            .password(password)
            .database(database)
            .connect()
            .await
    }

    /// The administrator's own session, for looking at what is there.
    pub async fn look(&self, database: &str) -> PgConnection {
        self.connect_as(&self.user, &self.password, database).await.unwrap()
    }

    /// Does `statements`, one after the other, as the administrator.
    pub async fn sql(&self, database: &str, statements: &[String]) {
        let mut conn = self.look(database).await;
        for statement in statements {
            run(&mut conn, statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    pub async fn inventory(&self, tenant: &Tenant) -> Vec<(String, String)> {
        let body = json!({ "tenantId": tenant.id, "database": SHARED, "admin": self.admin() });
        let answer = self.ok("inventory", &body).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| (text(&item["kind"]), text(&item["name"])))
            .collect()
    }
}

pub async fn run(conn: &mut PgConnection, statement: &str) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(conn).await.map(|_| ())
}

pub async fn number(conn: &mut PgConnection, query: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
        .fetch_one(conn)
        .await
        .unwrap_or_else(|error| panic!("{query}: {error}"))
}

pub fn sqlstate<T>(outcome: sqlx::Result<T>) -> String {
    match outcome {
        Ok(_) => "00000".to_owned(),
        Err(sqlx::Error::Database(answer)) => answer.code().unwrap_or_default().into_owned(),
        Err(other) => panic!("no answer of the server: {other}"),
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Strategy {
    Schema,
    Database,
}

#[derive(Clone)]
pub struct Tenant {
    pub id: Uuid,
    pub run: Uuid,
    pub strategy: Strategy,
    /// Name of the role, and of the tenant's own schema or database.
    pub name: String,
    pub password: String,
}

impl Tenant {
    fn new(strategy: Strategy) -> Self {
        let id = Uuid::new_v4();
        Self {
            id,
            run: Uuid::new_v4(),
            strategy,
            name: format!("tenant_{id}"),
            password: Uuid::new_v4().to_string(),
        }
    }

    pub fn database(&self) -> &str {
        if self.strategy == Strategy::Schema { SHARED } else { &self.name }
    }

    pub fn schema(&self) -> &str {
        if self.strategy == Strategy::Schema { &self.name } else { "public" }
    }

    pub fn initialize(&self, world: &World) -> Value {
        json!({
            "tenantId": self.id, "runId": self.run,
            "strategy": if self.strategy == Strategy::Schema { "schema" } else { "database" },
            "database": self.database(), "schema": self.schema(), "role": self.name,
            "verifier": scram_sha_256(self.password.as_bytes()),
            "connectionLimit": 20, "admin": world.admin(),
        })
    }

    pub fn drop(&self, world: &World, only_if_run: Option<Uuid>) -> Value {
        json!({
            "tenantId": self.id,
            "strategy": if self.strategy == Strategy::Schema { "schema" } else { "database" },
            "database": self.database(), "schema": self.schema(), "role": self.name,
            "onlyIfRun": only_if_run, "admin": world.admin(),
        })
    }

    /// The URL of the tenant's own login.
    pub fn url(&self, world: &World) -> String {
        let (host, port) = (&world.host, world.port);
        format!("postgres://{}:{}@{host}:{port}/{}", self.name, self.password, self.database())
    }

    /// Logs in to the tenant's database with the tenant's own password.
    pub async fn login(&self, world: &World) -> sqlx::Result<PgConnection> {
        world.connect_as(&self.name, &self.password, self.database()).await
    }
}

/// Runs `body` with fresh tenants and drops them afterwards, also when it fails. A body that succeeds must leave
/// nothing that the drop cannot take away.
pub async fn with_tenants<const N: usize, F>(
    strategies: [Strategy; N],
    body: impl FnOnce(World, [Tenant; N]) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let world = World::new().await;
    let tenants = strategies.map(Tenant::new);
    let outcome = tokio::spawn(body(world.clone(), tenants.clone())).await;
    for tenant in &tenants {
        let (_, answer) = world.post("drop", &tenant.drop(&world, None)).await;
        if outcome.is_ok() {
            assert_eq!(world.inventory(tenant).await, [], "left behind after {answer}");
        }
    }
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure.into_panic());
    }
}
