//! The tables of the data plane and the rows every tenant starts with.

use crate::problem::{self, Problem};
use crate::request::Identifier;
use crate::sql;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::migrate::{Migrate, Migrator};
use sqlx::postgres::PgConnection;
use std::collections::HashSet;
use std::sync::Arc;
use uuid::Uuid;

/// One versioned file of `migrations/`.
#[derive(Debug, Serialize)]
pub struct Migration {
    version: i64,
    description: String,
    /// Whether it was this call that ran it.
    applied: bool,
}

/// Rows that this call added.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seeded {
    dashboard_templates: u64,
    system_roles: u64,
    configuration: u64,
}

/// The migrations that a tenant's tables come from, in order.
#[derive(Clone, Debug)]
pub struct Migrations(Arc<Migrator>);

impl Default for Migrations {
    /// Those of this version.
    fn default() -> Self {
        sqlx::migrate!("./migrations").into()
    }
}

impl From<Migrator> for Migrations {
    fn from(mut migrator: Migrator) -> Self {
        // Its lock is one per database; ours is one per tenant, so that tenants of a shared database do not queue.
        migrator.set_locking(false);
        Self(Arc::new(migrator))
    }
}

impl Migrations {
    /// The version of the newest one.
    pub(crate) fn newest(&self) -> i64 {
        self.0.iter().map(|migration| migration.version).max().unwrap_or_default()
    }

    /// All of them, none run by this call.
    pub(crate) fn that_ran(&self) -> Vec<Migration> {
        self.listed(|_| false)
    }

    fn listed(&self, applied: impl Fn(i64) -> bool) -> Vec<Migration> {
        self.0
            .iter()
            .map(|migration| Migration {
                version: migration.version,
                description: migration.description.to_string(),
                applied: applied(migration.version),
            })
            .collect()
    }

    /// Runs those that have not run yet, each in one transaction with its row in the schema's own `_sqlx_migrations`. A call
    /// after one that died goes on where that one stopped.
    pub(crate) async fn run(&self, place: &mut PgConnection) -> Result<Vec<Migration>, Problem> {
        let before = ran_before(place, &self.0).await.map_err(|error| problem::from_migration(&error))?;
        self.0.run_direct(None, place, false).await.map_err(|error| problem::from_migration(&error))?;
        Ok(self.listed(|version| !before.contains(&version)))
    }
}

/// How many of them this call ran.
pub fn applied(migrations: &[Migration]) -> u64 {
    migrations.iter().map(|migration| u64::from(migration.applied)).sum()
}

/// Makes `place` act as the tenant's role in the tenant's schema: what it creates is the tenant's. What the role has set for
/// its own sessions is not meant for migrations.
pub async fn act_as(place: &mut PgConnection, role: &Identifier, schema: &Identifier) -> Result<(), Problem> {
    let statement = format!(
        "SET ROLE {}; SET search_path TO {}; SET statement_timeout TO 0; SET default_transaction_read_only TO off",
        role.quoted(),
        schema.quoted()
    );
    sql::run(place, "acting as the tenant's role", statement).await
}

async fn ran_before(
    place: &mut PgConnection,
    migrator: &Migrator,
) -> Result<HashSet<i64>, sqlx::migrate::MigrateError> {
    place.ensure_migrations_table(&migrator.table_name).await?;
    let ran = place.list_applied_migrations(&migrator.table_name).await?;
    Ok(ran.into_iter().map(|migration| migration.version).collect())
}

/// Adds the starting rows that are missing, in one transaction. Rows that are there stay as they are.
pub async fn seed(place: &mut PgConnection, tenant: Uuid) -> Result<Seeded, Problem> {
    insert_all(place, tenant).await.map_err(|error| problem::from_sql("adding the seed data", &error))
}

async fn insert_all(place: &mut PgConnection, tenant: Uuid) -> Result<Seeded, sqlx::Error> {
    let mut tx = place.begin().await?;
    let mut seeded = Seeded::default();
    for (key, value) in configuration() {
        seeded.configuration += sqlx::query(
            "INSERT INTO configuration (tenant_id, key, value) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(tenant)
        .bind(key)
        .bind(value)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    }
    for (name, description, permissions) in ROLES {
        seeded.system_roles += sqlx::query(
            "INSERT INTO system_roles (tenant_id, name, description, permissions, is_system) \
             VALUES ($1, $2, $3, $4, true) ON CONFLICT DO NOTHING",
        )
        .bind(tenant)
        .bind(name)
        .bind(description)
        .bind(permissions)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    }
    for (slug, title, description, layout) in dashboards() {
        seeded.dashboard_templates += sqlx::query(
            "INSERT INTO dashboard_templates (tenant_id, slug, title, description, layout) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(tenant)
        .bind(slug)
        .bind(title)
        .bind(description)
        .bind(layout)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    }
    tx.commit().await?;
    Ok(seeded)
}

const ROLES: [(&str, &str, &[&str]); 4] = [
    ("owner", "Everything, and the tenant's billing", &["*"]),
    (
        "admin",
        "Users, connections and settings",
        &["users:*", "connections:*", "configuration:*", "dashboards:*"],
    ),
    ("analyst", "Makes queries and dashboards", &["queries:*", "dashboards:*", "catalog:read"]),
    ("viewer", "Looks at dashboards", &["dashboards:read"]),
];

fn configuration() -> [(&'static str, Value); 5] {
    [
        ("locale", json!("en")),
        ("timezone", json!("UTC")),
        ("queries.timeoutSeconds", json!(300)),
        ("queries.maxRows", json!(100_000)),
        ("retention.days", json!(365)),
    ]
}

fn dashboards() -> [(&'static str, &'static str, &'static str, Value); 3] {
    let tile = |title: &str, kind: &str, width: u8| json!({ "title": title, "kind": kind, "width": width });
    [
        (
            "executive-overview",
            "Executive overview",
            "The few numbers that matter, against last period",
            json!({ "tiles": [tile("Revenue", "number", 3), tile("Customers", "number", 3), tile("Trend", "line", 6)] }),
        ),
        (
            "data-quality",
            "Data quality",
            "Freshness, completeness and failed checks of every source",
            json!({ "tiles": [tile("Freshness", "table", 6), tile("Failed checks", "bar", 6)] }),
        ),
        (
            "usage",
            "Usage",
            "Who asks what, and how long it takes",
            json!({ "tiles": [tile("Queries a day", "line", 6), tile("Slowest queries", "table", 6)] }),
        ),
    ]
}
