//! The process dies in the middle of a call; the next call brings it to the same end.

use crate::world::{SECRET, SHARED, Strategy, World, number, run, with_tenants};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// A tenant-api process that logs everything it can. It dies with this value.
struct Process {
    child: Child,
    /// Reads all the time: a full pipe would stop the process.
    log: JoinHandle<String>,
    url: String,
}

impl Process {
    async fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tenant-api"))
            .env("TENANT_API_INTERNAL_SECRET", SECRET)
            .env("LISTEN", free.to_string())
            .env("RUST_LOG", "trace")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let log = tokio::spawn(async move {
            let mut log = String::new();
            stdout.read_to_string(&mut log).await.unwrap();
            log
        });
        while TcpStream::connect(free).await.is_err() {
            assert!(child.try_wait().unwrap().is_none(), "it stopped by itself");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self { child, log, url: format!("http://{free}") }
    }

    async fn post(&self, world: &World, path: &str, body: &Value) -> reqwest::Result<reqwest::Response> {
        world
            .client
            .post(format!("{}/internal/database/{path}", self.url))
            .header("x-internal-secret", SECRET)
            .json(body)
            .send()
            .await
    }

    /// Ends the process with SIGKILL; answers with its log.
    async fn kill(mut self) -> String {
        self.child.kill().await.unwrap();
        self.log.await.unwrap()
    }
}

#[tokio::test]
async fn a_process_killed_at_any_moment_leaves_nothing_that_the_next_call_cannot_finish() {
    for strategy in [Strategy::Schema, Strategy::Database] {
        for delay in [10, 25, 50, 75, 100, 150] {
            with_tenants([strategy], async move |world, [tenant]| {
                for (path, body) in [
                    ("initialize", tenant.initialize(&world)),
                    ("drop", tenant.drop(&world, Some(tenant.run))),
                ] {
                    let process = Process::start().await;
                    let call = process.post(&world, path, &body);
                    let _ = tokio::time::timeout(Duration::from_millis(delay), call).await;
                    process.kill().await;
                    let answer = world.ok(path, &body).await;
                    if path == "initialize" {
                        assert_eq!(answer["createdByRun"], json!(tenant.run));
                        let mut conn = tenant.login(&world).await.unwrap();
                        assert_eq!(number(&mut conn, "SELECT count(*) FROM dashboard_templates").await, 3);
                    } else {
                        assert_eq!(world.inventory(&tenant).await, []);
                    }
                }
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_process_killed_in_a_later_migration_leaves_a_tenant_that_the_next_call_lets_in_again() {
    for delay in [10, 20, 30, 40, 60, 80] {
        with_tenants([Strategy::Schema], async move |world, [tenant]| {
            let body = tenant.initialize(&world);
            world.ok("initialize", &body).await;
            // To the process, whose migrations are this version's, it is a tenant who was complete before the first of them.
            let mut conn = tenant.login(&world).await.unwrap();
            let outdate = "DROP TABLE exports, invitations, dashboard_templates, users, system_roles, configuration; \
                           DELETE FROM _sqlx_migrations";
            run(&mut conn, outdate).await.unwrap();
            let mark = json!({ "tenant": tenant.id, "run": tenant.run, "complete": 0 });
            world.sql(SHARED, &[format!("COMMENT ON ROLE \"{}\" IS 'tenantry {mark}'", tenant.name)]).await;
            let process = Process::start().await;
            let call = process.post(&world, "initialize", &body);
            let _ = tokio::time::timeout(Duration::from_millis(delay), call).await;
            process.kill().await;
            world.ok("initialize", &body).await;
            let mut conn = tenant.login(&world).await.unwrap();
            assert_eq!(number(&mut conn, "SELECT count(*) FROM exports").await, 0);
            assert_eq!(number(&mut conn, "SELECT count(*) FROM dashboard_templates").await, 3);
        })
        .await;
    }
}

#[tokio::test]
async fn no_secret_is_logged_even_at_the_finest_level() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        let process = Process::start().await;
        let mut body = tenant.initialize(&world);
        let verifier = body["verifier"].as_str().unwrap().to_owned();
        assert_eq!(process.post(&world, "initialize", &body).await.unwrap().status(), 200);
        let password = body["admin"]["password"].as_str().unwrap().to_owned();
        body["admin"]["password"] = json!("not-the-password");
        assert_eq!(process.post(&world, "initialize", &body).await.unwrap().status(), 503);
        let log = process.kill().await;
        assert!(log.contains("\"operation\":\"initialize\""), "{log}");
        for secret in [&verifier, &password, "not-the-password", SECRET] {
            assert!(
                !log.contains(secret),
                "{}",
                log.lines().find(|line| line.contains(secret)).unwrap_or_default()
            );
        }
    })
    .await;
}
