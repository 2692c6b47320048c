//! A second region: a Postgres and a cluster of its own, beside those of the stack that the tests run on; and what each
//! region holds, as its operator sees it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use crate::environment::required;
use crate::objects::{Content, objects_at};
use crate::process::free_port;

/// The ports of the parts of the stack's profile `region`.
const PORTS: [&str; 8] = [
    "POSTGRES_PORT",
    "ETCD_PORT",
    "ETCD_PEER_PORT",
    "KUBE_APISERVER_PORT",
    "KUBE_CONTROLLER_MANAGER_PORT",
    "KUBE_SCHEDULER_PORT",
    "KWOK_PORT",
    "LOAD_BALANCER_PORT",
];

/// What may be given to the stack of the tests, instead of parts that a region has for itself; and what moves its ports.
const OF_THE_FIRST: [&str; 3] = ["DATABASE_URL", "TENANTRY_KUBECONFIG", "PORT_OFFSET"];

/// What another region has for itself. Ended when dropped.
#[derive(Debug)]
pub struct Elsewhere {
    local: PathBuf,
    variables: BTreeMap<String, String>,
    values: BTreeMap<String, String>,
}

impl Elsewhere {
    /// Starts it, empty. There is one at a time; `with-stack` ends it where the test could not.
    pub async fn start() -> Self {
        let local = PathBuf::from(format!("{}-region", required("TENANTRY_ENV_OF")));
        let mut variables: BTreeMap<String, String> =
            PORTS.iter().map(|name| ((*name).to_owned(), free_port().to_string())).collect();
        variables.insert("TENANTRY_LOCAL".into(), local.display().to_string());
        let mut made = Self { local, variables, values: BTreeMap::new() };
        tokio::task::spawn_blocking(move || {
            made.stack(&["clean"]);
            made.stack(&["up", "--profile", "region"]);
            let text = std::fs::read_to_string(made.local.join("env")).expect("its env file");
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            made.values =
                pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned())).collect();
            made
        })
        .await
        .expect("another region")
    }

    /// What its env file says.
    pub fn value(&self, name: &str) -> &str {
        self.values.get(name).unwrap_or_else(|| panic!("{name} of the other region"))
    }

    /// Its cluster and its Postgres are gone.
    pub async fn fall(&self) {
        let kill = async {
            // An API server that is asked to end lets whoever watches it watch on for half a minute.
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.control("signal", &["KILL", "kube-apiserver"]).await;
        };
        tokio::join!(self.control("stop", &["kube-apiserver"]), kill);
        self.control("stop", &["postgres"]).await;
    }

    /// They are back.
    pub async fn rise(&self) {
        self.control("start", &["postgres", "kube-apiserver"]).await;
    }

    async fn control(&self, what: &str, parts: &[&str]) {
        let mut ctl = tokio::process::Command::new("supervisorctl");
        ctl.arg("-c").arg(self.local.join("supervisord.conf")).arg(what).args(parts);
        let done = ctl.output().await.expect("supervisorctl");
        let said = [done.stdout, done.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(done.status.success(), "{what} {parts:?}: {}: {said}", done.status);
    }

    fn stack(&self, arguments: &[&str]) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/local/stack.py");
        let mut stack = Command::new(program);
        for variable in OF_THE_FIRST {
            stack.env_remove(variable);
        }
        stack.args(arguments).envs(&self.variables).stdin(Stdio::null());
        let done = stack.output().expect("infra/local/stack.py");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() || std::thread::panicking(), "stack.py {arguments:?}: {said}");
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.stack(&["down"]);
    }
}

/// Where a region's tenants are: its cluster, its Postgres and its names.
#[derive(Clone, Debug)]
pub struct RegionSite {
    /// Its kubeconfig.
    pub kubeconfig: String,
    /// Port of its Postgres, here.
    pub port: u16,
    /// The administrator of that, and the password.
    pub admin: (String, String),
    /// Parent of its names.
    pub domain: String,
}

/// What a place held when it was looked at: each thing's kind and name, and all that is said of it.
#[derive(Clone, Debug)]
pub struct RegionContents(Vec<(String, String)>);

impl RegionContents {
    /// Everything that says one of `marks` anywhere, a line each.
    pub fn of(&self, marks: &[&str]) -> Vec<&str> {
        let marked = self.0.iter().filter(|(_, said)| marks.iter().any(|mark| said.contains(mark)));
        marked.map(|(title, _)| title.as_str()).collect()
    }
}

impl RegionSite {
    /// Everything in the place: all objects of all kinds of the cluster, all databases, roles and schemas with their
    /// comments, all zones and records.
    pub async fn look(&self) -> RegionContents {
        let (objects, databases, names) = tokio::join!(self.objects(), self.databases(), self.names());
        let objects = objects.into_iter().map(|object| {
            let title = format!("{} {}", object["kind"], object["metadata"]["name"]).replace('"', "");
            (title, object.to_string())
        });
        let others = databases.into_iter().chain(names).map(|text| (text.clone(), text));
        RegionContents(objects.chain(others).collect())
    }

    async fn objects(&self) -> Vec<Value> {
        let objects = objects_at(&self.kubeconfig, Content::Whole).await;
        assert!(objects.iter().any(|object| object["kind"] == "Node"), "a cluster that has been looked at");
        objects
    }

    async fn databases(&self) -> Vec<String> {
        let mut found = self
            .rows(
                "postgres",
                "SELECT 'database ' || datname FROM pg_database WHERE datallowconn \
                 UNION ALL SELECT 'role ' || rolname || ' ' || COALESCE(shobj_description(oid, 'pg_authid'), '') \
                 FROM pg_roles",
            )
            .await;
        let databases: Vec<String> =
            found.iter().filter_map(|name| name.strip_prefix("database ").map(str::to_owned)).collect();
        assert!(databases.iter().any(|name| name == "region_eastus"), "{databases:?}");
        // A tenant's own database lets in nobody but its owner; what is in it goes by its name.
        for database in databases.iter().filter(|name| name.starts_with("region_")) {
            let schemas = "SELECT 'schema ' || current_database() || '.' || nspname || ' ' || \
                           COALESCE(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace";
            found.extend(self.rows(database, schemas).await);
        }
        found
    }

    async fn rows(&self, database: &str, query: &str) -> Vec<String> {
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(self.port);
        let options = options.username(&self.admin.0).password(&self.admin.1).database(database);
        let mut session = options.connect().await.expect("the region's Postgres");
        let rows = sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(&mut session).await;
        session.close().await.expect("closed");
        rows.expect("the region's catalogue")
    }

    async fn names(&self) -> Vec<String> {
        let within = format!("{}.", self.domain);
        let all = crate::names::all().await.into_iter().filter(|(_, name, said)| {
            name.ends_with(&within) || said.contains(&format!("\"zone\":\"{within}\""))
        });
        all.map(|(kind, name, said)| format!("{kind} {name} {said}")).collect()
    }
}
