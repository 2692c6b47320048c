//! A running tenant-service with a database of its own, which is gone when the test ends, however it ends.

use std::fmt::Write as _;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use engine::decide::machine::{self, Event};
use engine::store::{Applied, Claim, ClaimedStep, StepOutput, TransitionContext};
use futures::FutureExt as _;
use model::platform::{Platform, Seconds};
use model::secret::SecretRef;
use model::{DeploymentType, RunId, TenantId};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use tenant_service::{App, router, serve};
use tenants::Store;
use tokio::net::TcpListener;

pub const ALICE: &str = "the-token-of-alice";
pub const BOB: &str = "the-token-of-bob";

pub struct World {
    pub url: String,
    pub client: reqwest::Client,
    pub store: Store,
    pub platform: Platform,
    database: String,
    server: PgConnectOptions,
}

/// Runs `test` against a service and a database of its own.
pub async fn with_world<F: Future<Output = ()>>(test: impl FnOnce(Arc<World>) -> F) {
    with_platform(|_| {}, test).await;
}

/// As [`with_world`], with a platform that `change` has changed.
pub async fn with_platform<F: Future<Output = ()>>(
    change: impl FnOnce(&mut Platform),
    test: impl FnOnce(Arc<World>) -> F,
) {
    with_app(change, |app| app, test).await;
}

/// As [`with_platform`], with a service that `adjust` has changed.
pub async fn with_app<F: Future<Output = ()>>(
    change: impl FnOnce(&mut Platform),
    adjust: impl FnOnce(App) -> App,
    test: impl FnOnce(Arc<World>) -> F,
) {
    let url = testing::required("DATABASE_URL");
    let server: PgConnectOptions = url.parse().expect("DATABASE_URL is a Postgres URL");
    let database = format!("tenant_service_{}", uuid::Uuid::now_v7().simple());
    run(&server, &format!("CREATE DATABASE {database}")).await;
    let (before, _) = url.rsplit_once('/').unwrap();
    let store = Store::connect_to(&format!("{before}/{database}"), 8).unwrap();
    let outcome = AssertUnwindSafe(async {
        store.migrate().await.unwrap();
        let mut platform = platform();
        change(&mut platform);
        let files = tokens(&mut platform, &[("alice", ALICE), ("bob", BOB)]);
        let app = App::new(store.clone(), platform.clone());
        for file in files {
            std::fs::remove_file(file).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = router(adjust(app.unwrap()), Duration::from_secs(30));
        tokio::spawn(serve(listener, routes, std::future::pending()));
        let client = reqwest::Client::new();
        let world =
            World { url, client, store, platform, database: database.clone(), server: server.clone() };
        test(Arc::new(world)).await;
    })
    .catch_unwind()
    .await;
    run(&server, &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

async fn run(server: &PgConnectOptions, statement: &str) {
    let mut connection = server.connect().await.expect("the Postgres of DATABASE_URL answers");
    connection.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
}

fn platform() -> Platform {
    let mut platform = Platform { slug_rest: Seconds(60.0), ..Platform::default() };
    let region = json!({
        "tenant_api_url": "http://127.0.0.1:1", "internal_secret": "env:UNUSED",
        "database": { "host": "127.0.0.1", "port": 1, "shared_database": "unused", "admin_user": "unused",
                      "admin_password": "env:UNUSED" },
    });
    for name in ["eastus", "za-north", "eu-west-1"] {
        platform.regions.insert(name.into(), serde_json::from_value(region.clone()).unwrap());
    }
    platform.deployment.available = vec![DeploymentType::ContainerPerTenant];
    platform.lifecycle.retention = Seconds(0.0);
    platform
}

fn tokens(platform: &mut Platform, tokens: &[(&str, &str)]) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for (name, token) in tokens {
        let path = std::env::temp_dir().join(format!("tenant-service-{}", uuid::Uuid::now_v7()));
        std::fs::write(&path, token).unwrap();
        platform.tokens.insert((*name).to_owned(), SecretRef::File(path.display().to_string()));
        files.push(path);
    }
    files
}

/// A body that is accepted.
pub fn body(slug: &str) -> Value {
    json!({ "slug": slug, "name": "Acme Ltd", "tier": "professional", "region": "eastus",
            "adminEmail": "admin@acme.example", "deploymentType": "container_per_tenant" })
}

/// An answer, read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, headers, body }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that this is a problem of RFC 9457 with all its parts.
    pub fn problem(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, &self.body["code"]), (status, &json!(code)), "{:#}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["type"], format!("urn:tenantry:problem:{code}"));
        assert_eq!(self.body["status"], status);
        assert!(self.body["title"].is_string() && self.body["detail"].is_string());
        self
    }

    pub fn ok(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:#}", self.body);
        self
    }

    /// The fields named in a problem's `errors`.
    pub fn fields(&self) -> Vec<String> {
        let errors = self.body["errors"].as_array().unwrap();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}

impl World {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).bearer_auth(ALICE)
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path).send().await.unwrap()).await
    }

    pub async fn create(&self, key: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, "/api/v1/tenants").header("idempotency-key", key);
        Answer::of(request.json(body).send().await.unwrap()).await
    }

    /// A new tenant's id.
    pub async fn tenant(&self, slug: &str) -> TenantId {
        let made = self.create(&format!("key-{slug}"), &body(slug)).await.ok(202);
        made.body["id"].as_str().unwrap().parse().unwrap()
    }

    pub async fn verb(&self, tenant: &str, verb: &str, body: &Value) -> Answer {
        let path = format!("/api/v1/tenants/{tenant}/provisioning/{verb}");
        Answer::of(self.request(Method::POST, &path).json(body).send().await.unwrap()).await
    }

    pub async fn status(&self, tenant: impl ToString) -> Value {
        self.get(&format!("/api/v1/tenants/{}/provisioning/status", tenant.to_string())).await.ok(200).body
    }

    /// A session of the test's own in the service's database.
    pub async fn look(&self) -> PgConnection {
        self.server.clone().database(&self.database).connect().await.unwrap()
    }

    pub async fn number(&self, query: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut self.look().await).await.unwrap()
    }

    /// Every row of every table, as text: two that are the same show that nothing was written in between.
    pub async fn everything(&self) -> String {
        let mut connection = self.look().await;
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let mut all = String::new();
        for table in tables {
            let rows: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(format!("SELECT t::text FROM {table} t ORDER BY 1")))
                    .fetch_all(&mut connection)
                    .await
                    .unwrap();
            writeln!(all, "{table}: {rows:?}").unwrap();
        }
        all
    }

    /// Drops the service's database under its feet.
    pub async fn lose_database(&self) {
        run(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.database)).await;
    }

    /// Claims the step that the tenant's run is at, as a worker does.
    pub async fn claim(&self, tenant: TenantId) -> Box<ClaimedStep> {
        let run = self.store.status(tenant).await.unwrap().unwrap().run;
        match self.store.claim(RunId(run.id), run.seq, &self.platform.engine).await.unwrap() {
            Claim::Won(claimed) => claimed,
            Claim::Lost(why) => panic!("no claim: {why:?}"),
        }
    }

    /// Ends a claimed step, as a worker does.
    pub async fn end(&self, claimed: &ClaimedStep, event: &Event) {
        let engine = &self.platform.engine;
        let to = machine::next(&claimed.run, event, engine, 0.5);
        let cause = TransitionContext {
            tenant: &claimed.tenant,
            kind: claimed.run.kind,
            direction: claimed.run.direction,
            position: claimed.run.cursor,
            actor: "worker",
        };
        let checkpoint = json!({});
        let left =
            StepOutput { plan: Some(json!({})), checkpoint: Some(&checkpoint), ..StepOutput::default() };
        let applied = self.store.complete(&claimed.hold, &cause, &to, &left, engine, false).await.unwrap();
        assert!(matches!(applied, Applied::Written(_)), "{applied:?}");
    }

    /// Lets every step of the tenant's run succeed until the run is over.
    pub async fn finish(&self, tenant: TenantId) {
        while self.store.status(tenant).await.unwrap().unwrap().run.finished_at.is_none() {
            let claimed = self.claim(tenant).await;
            self.end(&claimed, &Event::Done).await;
        }
    }
}
