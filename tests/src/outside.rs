//! The outside systems as their operators see them: the cluster by kubectl, the region's Postgres by SQL. They tell what
//! is there, whatever our own tables say.

use std::process::Command;

use model::TenantId;
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::environment::required;

/// Runs kubectl; its output, or its complaint.
pub fn kubectl(arguments: &[&str]) -> Result<String, String> {
    let done = Command::new("kubectl").args(arguments).output().expect("kubectl is on PATH");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}

/// The objects that `arguments` of `kubectl get` name.
pub fn objects(arguments: &[&str]) -> Vec<Value> {
    let all = [&["get", "--output", "json"], arguments].concat();
    let text = kubectl(&all).expect("kubectl get");
    let list: Value = serde_json::from_str(&text).expect("JSON");
    list["items"].as_array().cloned().unwrap_or_default()
}

/// A value of one of the tenant's Secrets.
pub fn secret_value(namespace: &str, name: &str, key: &str) -> String {
    let template = format!("--template={{{{index .data \"{key}\" | base64decode}}}}");
    kubectl(&["get", "secret", name, "--namespace", namespace, &template]).expect("a Secret")
}

/// The names of the tenant's Secret are the provisioning reference's, phase 2.
pub const DATABASE_SECRET: &str = "tenant-database-credentials";

/// The password of the tenant's role, as soon as its Secret is there.
pub fn password(namespace: &str) -> Option<String> {
    kubectl(&["get", "secret", DATABASE_SECRET, "--namespace", namespace])
        .is_ok()
        .then(|| secret_value(namespace, DATABASE_SECRET, "POSTGRES_PASSWORD"))
}

/// Logs in to the tenant's database by what its Secret says, and reads from it.
pub async fn log_in(namespace: &str) {
    let url = secret_value(namespace, DATABASE_SECRET, "DATABASE_URL");
    let mut session = PgConnection::connect(&url).await.expect("the Secret's address works");
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE tableowner = current_user")
        .fetch_one(&mut session)
        .await
        .expect("a query");
    session.close().await.expect("a session");
    assert!(tables > 0, "the tenant's tables are there");
}

/// A session at the region's Postgres as its administrator.
pub async fn region_postgres() -> PgConnection {
    PgConnectOptions::new()
        .host(&required("REGION_DATABASE_HOST"))
        .port(required("REGION_DATABASE_PORT").parse().expect("a port"))
        .username(&required("REGION_DATABASE_ADMIN_USER"))
        .password(&required("REGION_DATABASE_ADMIN_PASSWORD"))
        .database("postgres")
        .connect()
        .await
        .expect("the region's Postgres")
}

/// The tenant's databases and roles.
pub async fn databases_and_roles(tenant: TenantId) -> Vec<String> {
    let mut session = region_postgres().await;
    let found = sqlx::query_scalar(
        "SELECT 'database ' || datname FROM pg_database WHERE datname LIKE '%' || $1 || '%' \
         UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname LIKE '%' || $1 || '%' ORDER BY 1",
    )
    .bind(tenant.to_string())
    .fetch_all(&mut session)
    .await
    .expect("the catalogues");
    session.close().await.expect("a session");
    found
}

/// Whatever of the tenant is still in cluster or Postgres.
pub async fn left_of(slug: &str, tenant: TenantId) -> Vec<String> {
    let mut left = databases_and_roles(tenant).await;
    let selector = format!("matih.ai/tenant-id={tenant}");
    let kinds = "namespaces,clusterroles,clusterrolebindings,ingressclasses,persistentvolumes";
    for object in objects(&[kinds, "--selector", &selector]) {
        left.push(format!("{} {}", object["kind"], object["metadata"]["name"]));
    }
    let namespace = format!("matih-{slug}");
    if kubectl(&["get", "namespace", &namespace]).is_ok() {
        left.push(format!("namespace {namespace}"));
    }
    left
}
