//! What the outside systems hold: cluster, Postgres, DNS and broker themselves, not what the runner's tables say of them.

use std::collections::BTreeMap;

use serde_json::Value;
use shared::model::TenantId;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::broker::Management;
use crate::cluster::kubectl;
use crate::environment::required;

/// Kinds that hold nothing of a tenant's: a log that ends by itself, and what is made up for each request.
const SKIPPED: [&str; 3] = ["events", "events.events.k8s.io", "componentstatuses"];

/// Every region of the local stack has its shared database.
const DATABASES: [&str; 3] = ["region_eastus", "region_za_north", "region_eu_west_1"];

/// One look at everything.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Metadata of all objects of the cluster, with their kind.
    objects: Vec<(String, Value)>,
    /// Kind, name and comment of all roles, databases and schemas.
    databases: Vec<(String, String, String)>,
    queues: Vec<String>,
    /// Kind, name and content of whatever the DNS servers hold.
    names: Vec<(String, String, String)>,
}

impl Outside {
    /// Looks at everything there is.
    pub async fn look(management: &Management) -> Self {
        let kinds = kubectl(&["api-resources", "--verbs=list", "--output=name"]).await;
        let kinds: Vec<&str> = kinds.lines().filter(|kind| !SKIPPED.contains(kind)).collect();
        assert!(kinds.contains(&"clusterroles.rbac.authorization.k8s.io"), "cluster-scoped kinds too");
        let all = kubectl(&["get", &kinds.join(","), "--all-namespaces", "--output=json"]).await;
        let all: Value = serde_json::from_str(&all).expect("JSON");
        let objects = all["items"].as_array().expect("a list").iter().map(|object| {
            (object["kind"].as_str().unwrap_or_default().to_owned(), object["metadata"].clone())
        });
        Self {
            objects: objects.collect(),
            databases: databases().await,
            queues: management.tenant_queues().await,
            names: crate::names::all().await,
        }
    }

    /// Everything that bears the tenant's id or the name of its namespace, by whatever label, name or comment; a line
    /// each. Helm's releases are among the Secrets.
    pub fn of(&self, slug: &str, tenant: TenantId) -> Vec<String> {
        let (namespace, id) = (format!("matih-{slug}"), tenant.to_string());
        let named = |text: &str| text.contains(&namespace) || text.contains(&id);
        let objects = self.objects.iter().filter(|(_, metadata)| named(&metadata.to_string()));
        let objects = objects.map(|(kind, metadata)| {
            let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
            format!("{kind} {}/{} {}", text("namespace"), text("name"), text("uid"))
        });
        let databases = self.databases.iter().filter(|(_, name, comment)| named(name) || named(comment));
        let databases = databases.map(|(kind, name, _)| format!("{kind} {name}"));
        let queues = self.queues.iter().filter(|queue| named(queue)).map(|queue| format!("queue {queue}"));
        let zone = format!("{slug}.matih.ai.");
        let names = self.names.iter().filter(|(_, name, said)| name.ends_with(&zone) || named(said));
        let names = names.map(|(kind, name, _)| format!("{kind} {name}"));
        objects.chain(databases).chain(queues).chain(names).collect()
    }

    /// How many of each kind the tenant has.
    pub fn counts(&self, slug: &str, tenant: TenantId) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for line in self.of(slug, tenant) {
            let kind = line.split(' ').next().unwrap_or_default().to_owned();
            *counts.entry(kind).or_default() += 1;
        }
        counts
    }
}

/// A session of the region's administrator.
pub(crate) async fn admin(database: &str) -> PgConnection {
    PgConnectOptions::new_without_pgpass()
        .host(&required("REGION_DATABASE_HOST"))
        .port(required("REGION_DATABASE_PORT").parse().expect("REGION_DATABASE_PORT is a number"))
        .username(&required("REGION_DATABASE_ADMIN_USER"))
        .password(&required("REGION_DATABASE_ADMIN_PASSWORD"))
        .database(database)
        .connect()
        .await
        .expect("the region's Postgres")
}

async fn databases() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for database in DATABASES {
        let mut admin = admin(database).await;
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT 'schema', current_database() || '.' || nspname, COALESCE(obj_description(oid), '') FROM pg_namespace \
             UNION SELECT 'role', rolname, COALESCE(shobj_description(oid, 'pg_authid'), '') FROM pg_roles \
             UNION SELECT 'database', datname, COALESCE(shobj_description(oid, 'pg_database'), '') FROM pg_database",
        )
        .fetch_all(&mut admin)
        .await
        .expect("the region's catalogue");
        found.extend(rows);
        admin.close().await.expect("closed");
    }
    found.sort();
    found.dedup();
    found
}
