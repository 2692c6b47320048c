//! A tenant's own instance: alive before its tenant has a database, ready once it has.

use std::path::Path;

use crate::world::{SECRET, SHARED, Strategy, World, number, run, with_tenants};
use model::TenantId;
use model::secret::SecretRef;
use serde_json::{Value, json};
use std::time::Duration;
use tenant_api::{Config, InternalSecrets, Readiness, Tables};
use tokio::net::TcpListener;

async fn instance(folder: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let secrets = InternalSecrets::new([SECRET.to_owned()]).unwrap();
    let config = Config { readiness: Readiness::by_credentials_in(folder), ..Config::new(secrets) };
    tokio::spawn(tenant_api::serve(listener, config, std::future::pending()));
    url
}

async fn ready(world: &World, url: &str) -> (u16, String) {
    let answer = world.client.get(format!("{url}/readyz")).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn an_instance_is_alive_at_once_and_ready_when_its_credentials_log_in() {
    with_tenants([Strategy::Database], async |world, [tenant]| {
        let folder = tempfile::tempdir().unwrap();
        let url = instance(&folder.path().join("database")).await;
        let alive = world.client.get(format!("{url}/healthz")).send().await.unwrap();
        assert_eq!(alive.status(), 200);
        let not_yet = async |why: &str| {
            let (status, text) = ready(&world, &url).await;
            let problem: Value = serde_json::from_str(&text).unwrap();
            assert_eq!((status, &problem["code"]), (503, &Value::from("not_ready")), "{problem}");
            assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
            assert!(!text.contains(&tenant.password), "{problem}");
        };
        not_yet("no database yet").await;
        // As the kubelet fills the folder, while the instance runs.
        let admin = world.admin();
        let (host, port) = (admin["host"].as_str().unwrap(), &admin["port"]);
        let address =
            format!("postgres://{}:{}@{host}:{port}/{}", tenant.name, tenant.password, tenant.database());
        std::fs::create_dir(folder.path().join("database")).unwrap();
        std::fs::write(folder.path().join("database/DATABASE_URL"), address).unwrap();
        not_yet("cannot be logged in to").await;
        world.ok("initialize", &tenant.initialize(&world)).await;
        assert_eq!(ready(&world, &url).await, (200, "ok".to_owned()));
        // A pooled instance has no tenant to wait for.
        assert_eq!(ready(&world, &world.url).await.0, 200);
    })
    .await;
}

#[tokio::test]
async fn two_pods_of_a_professional_tenant_fit_into_its_limit_and_are_ready_while_all_sessions_work() {
    with_tenants([Strategy::Database], async |world, [tenant]| {
        world.ok("initialize", &tenant.initialize(&world)).await;
        let folder = tempfile::tempdir().unwrap();
        let address = folder.path().join("DATABASE_URL");
        std::fs::write(&address, tenant.url(&world)).unwrap();
        let pod = async || {
            let login = Some(SecretRef::File(address.display().to_string()));
            let config = Config {
                tables: Tables::new(login, Some(TenantId(tenant.id)), false),
                readiness: Readiness::by_credentials_in(folder.path()),
                ..Config::new(InternalSecrets::new([SECRET.to_owned()]).unwrap())
            };
            World::with(config).await
        };
        let pods = [pod().await, pod().await];
        // Whoever holds the table is not one of the role's own sessions.
        world.sql(SHARED, &[format!("GRANT \"{}\" TO CURRENT_USER", tenant.name)]).await;
        let mut holder = world.look(tenant.database()).await;
        run(&mut holder, &format!("SET ROLE \"{}\"; BEGIN; LOCK TABLE users", tenant.name)).await.unwrap();
        let body = json!({ "tenantId": tenant.id, "runId": tenant.run, "email": "ann@acme.example" });
        let calls: Vec<_> = (0..24)
            .map(|turn| {
                let call =
                    pods[turn % 2].client.post(format!("{}/internal/users/bootstrap", pods[turn % 2].url));
                let call = call.header("x-internal-secret", SECRET).json(&body).send();
                tokio::spawn(async move { call.await.unwrap().status().as_u16() })
            })
            .collect();
        let sessions = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{}'", tenant.name);
        let mut eye = world.look(SHARED).await;
        let all = async {
            while number(&mut eye, &sessions).await < 20 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(8), all).await.expect("20 sessions");
        for pod in &pods {
            assert_eq!(ready(&world, &pod.url).await, (200, "ok".to_owned()));
        }
        run(&mut holder, "ROLLBACK").await.unwrap();
        for call in calls {
            assert_eq!(call.await.unwrap(), 200);
        }
    })
    .await;
}
