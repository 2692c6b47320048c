//! A tenant's own instance: alive before its tenant has a database, ready once it has.

use std::path::Path;

use crate::world::{SECRET, Strategy, World, with_tenants};
use serde_json::Value;
use tenant_api::{Config, InternalSecrets, Readiness};
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
