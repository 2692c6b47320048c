//! What the outside systems hold: cluster, Postgres, DNS and broker themselves, not what the runner's tables say of them.

use std::collections::BTreeMap;

use model::TenantId;
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::broker::Management;
use crate::environment::required;
use crate::objects::{Content, objects};

/// Every region of the local stack has its shared database.
const DATABASES: [&str; 3] = ["region_eastus", "region_za_north", "region_eu_west_1"];

/// One look at everything.
#[derive(Clone, Debug)]
pub struct Outside {
    /// All objects of the cluster, or their metadata.
    pub(crate) objects: Vec<Value>,
    /// Kind, name, comment and whatever else is said of all roles, databases and schemas.
    pub(crate) databases: Vec<(String, String, String, String)>,
    queues: Vec<String>,
    /// Users of the broker.
    users: Vec<String>,
    /// The enterprise tenants' infrastructure.
    pub(crate) instances: Vec<String>,
    /// Kind, name and content of whatever the DNS servers hold.
    pub(crate) names: Vec<(String, String, String)>,
}

impl Outside {
    /// Looks at everything there is; of the cluster's objects at what [`Outside::of`] needs.
    pub async fn look(management: &Management) -> Self {
        Self::look_at(management, Content::Metadata).await
    }

    /// As [`Outside::look`], with as much of the cluster's objects as is asked for.
    pub(crate) async fn look_at(management: &Management, content: Content) -> Self {
        Self {
            objects: objects(content).await,
            databases: databases().await,
            queues: management.tenant_queues().await,
            users: management.users().await,
            instances: crate::instances::all().await,
            names: crate::names::all().await,
        }
    }

    /// Everything that bears the tenant's id or the name of its namespace, by whatever label, name or comment; a line
    /// each. Helm's releases are among the Secrets.
    pub fn of(&self, slug: &str, tenant: TenantId) -> Vec<String> {
        let (namespace, id) = (format!("matih-{slug}"), tenant.to_string());
        let named = |text: &str| text.contains(&namespace) || text.contains(&id);
        let objects = self.objects.iter().filter(|object| named(&object["metadata"].to_string()));
        let objects = objects.map(title);
        let databases = self.databases.iter().filter(|(_, name, comment, _)| named(name) || named(comment));
        let databases = databases.map(|(kind, name, ..)| format!("{kind} {name}"));
        let queues = self.queues.iter().filter(|queue| named(queue)).map(|queue| format!("queue {queue}"));
        let users = self.users.iter().filter(|user| named(user)).map(|user| format!("user {user}"));
        let zone = format!("{slug}.matih.ai.");
        let names = self.names.iter().filter(|(_, name, said)| name.ends_with(&zone) || named(said));
        let names = names.map(|(kind, name, _)| format!("{kind} {name}"));
        let instances = self.instances.iter().filter(|instance| named(instance)).cloned();
        objects.chain(databases).chain(queues).chain(users).chain(names).chain(instances).collect()
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

/// An object's kind, name and uid.
pub(crate) fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let [kind, namespace, name, uid] =
        [&object["kind"], &metadata["namespace"], &metadata["name"], &metadata["uid"]].map(text);
    format!("{kind} {namespace}/{name} {uid}")
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

async fn databases() -> Vec<(String, String, String, String)> {
    let mut found = Vec::new();
    for database in DATABASES {
        let mut admin = admin(database).await;
        // Postgres itself makes a schema for each session with temporary tables.
        let rows: Vec<(String, String, String, String)> = sqlx::query_as(
            "SELECT 'schema', current_database() || '.' || nspname, COALESCE(obj_description(oid, 'pg_namespace'), ''), \
                    concat_ws(' ', oid, nspowner::regrole, nspacl) \
             FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_' \
             UNION SELECT 'role', rolname, COALESCE(shobj_description(oid, 'pg_authid'), ''), \
                    concat_ws(' ', oid, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, \
                              rolbypassrls, rolconnlimit, rolvaliduntil, rolconfig, \
                              ARRAY(SELECT roleid::regrole::text FROM pg_auth_members m WHERE m.member = r.oid ORDER BY 1)) \
             FROM pg_roles r \
             UNION SELECT 'database', datname, COALESCE(shobj_description(oid, 'pg_database'), ''), \
                    concat_ws(' ', oid, datdba::regrole, datallowconn, datconnlimit, datacl) \
             FROM pg_database",
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
