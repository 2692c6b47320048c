//! A world whose parts are processes: the real programs against the world's own database and vhost.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use model::TenantId;
use model::platform::{Engine, Platform, Seconds};
use serde_json::{Value, json};
use tenants::StatusRow;
use tenants::phases;

use crate::environment::required;
use crate::outside;
use crate::process::{Process, Variables, free_port, program};
use crate::world::{World, eventually};

/// Longer than any one thing of a run takes; a run that shows no change for so long will show none.
const STILL: Duration = Duration::from_mins(3);

/// A world, a platform file and a tenant-api.
#[expect(missing_debug_implementations, reason = "a handle with nothing to show")]
pub struct Site {
    /// Database, vhost and store.
    pub world: World,
    /// What all programs find in their environment. Only the dispatcher gets `AMQP_URL` besides.
    pub variables: Variables,
    folder: tempfile::TempDir,
    tenant_api: Process,
}

impl Site {
    /// Makes a site with the world's short times, runs the test, and takes it away.
    pub async fn run<F, R>(test: F)
    where
        F: FnOnce(Site) -> R,
        R: Future<Output = ()>,
    {
        Self::run_with(|_| {}, test).await;
    }

    /// As [`Site::run`], with a platform file that `adjust` has changed.
    pub async fn run_with<A, F, R>(adjust: A, test: F)
    where
        A: FnOnce(&mut Platform),
        F: FnOnce(Site) -> R,
        R: Future<Output = ()>,
    {
        World::run(|world| async move { test(Site::new(world, adjust).await).await }).await;
    }

    async fn new(mut world: World, adjust: impl FnOnce(&mut Platform)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let passed = [
            "PATH",
            "HOME",
            "KUBECONFIG",
            "TENANT_API_INTERNAL_SECRET",
            "REGION_DATABASE_ADMIN_PASSWORD",
            "ADMIN_TOKEN",
            "PDNS_API_KEY",
            "RABBITMQ_MANAGEMENT_URL",
            "LICENSE_SIGNING_KEY",
            "LICENSE_KEY_ENCRYPTION_KEY",
            "LICENSE_PUBLIC_KEYS",
            "POOL_DATABASE_URL",
            "TERRAFORM_STATE_URL",
            "TERRAFORM_STATE_KEY",
        ];
        let mut variables: Variables =
            passed.into_iter().map(|name| (name.to_owned(), required(name))).collect();
        variables.insert("DATABASE_URL".into(), world.database_url.clone());
        variables.insert("RUST_LOG".into(), "info".into());
        let failpoints = folder.path().join("failpoints");
        variables.insert("TENANTRY_FAILPOINTS".into(), failpoints.display().to_string());
        // As talkative as can be: the test of secrets reads what it says.
        let mut talkative = variables.clone();
        talkative.insert("RUST_LOG".into(), "debug".into());
        talkative.insert("STAND_IN".into(), "true".into());
        let (tenant_api, url) = serve("tenant-api", &talkative, folder.path(), "/healthz").await;
        let mut platform = Platform::read(Path::new(&required("TENANTRY_CONFIG")), &phases::step_names())
            .expect("the stack's platform file");
        for region in platform.regions.values_mut() {
            region.tenant_api_url.clone_from(&url);
        }
        platform.engine = world.platform.engine.clone();
        // With TTLs that a test can wait out.
        platform.dns = crate::dns();
        adjust(&mut platform);
        world.platform = platform;
        let config = folder.path().join("platform.toml");
        std::fs::write(&config, toml::to_string(&world.platform).expect("TOML")).expect("a file");
        variables.insert("TENANTRY_CONFIG".into(), config.display().to_string());
        Self { world, variables, folder, tenant_api }
    }

    /// Starts another tenant-api, with these variables instead of the site's; where it answers.
    pub async fn another_tenant_api(&self, instead: &[(&str, &str)]) -> (Process, String) {
        let mut variables = self.variables.clone();
        variables.insert("STAND_IN".into(), "true".into());
        variables.extend(instead.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        serve("tenant-api", &variables, self.folder.path(), "/healthz").await
    }

    /// A folder that goes with the site.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The log of the tenant-api.
    pub fn tenant_api_log(&self) -> String {
        self.tenant_api.log()
    }

    /// Sets the failpoints for every process of the site; `SLUG PHASE apply|revert OPERATION before|after ACTION`, with
    /// tabs between.
    pub fn failpoints(&self, lines: &[&str]) {
        let fresh = self.folder.path().join("failpoints.new");
        std::fs::write(&fresh, lines.join("\n")).expect("a file");
        std::fs::rename(fresh, self.folder.path().join("failpoints")).expect("a file");
    }

    /// The environment of a dispatcher.
    pub fn dispatcher_variables(&self) -> Variables {
        let mut variables = self.variables.clone();
        variables.insert("AMQP_URL".into(), self.world.amqp_url.clone());
        variables.insert("INVOKER".into(), "embedded".into());
        variables
    }

    /// Starts a dispatcher with the phases and failpoints in it; returns at once.
    pub fn dispatcher(&self) -> Process {
        let command = Command::new(program("worker"));
        Process::start("dispatcher", command, &self.dispatcher_variables(), self.folder.path())
    }

    /// Starts a dispatcher that invokes functions at `endpoint`; returns at once.
    pub fn dispatcher_of(&self, endpoint: &str) -> Process {
        let mut variables = self.dispatcher_variables();
        variables.insert("INVOKER".into(), "lambda".into());
        variables.insert("LAMBDA_ENDPOINT".into(), endpoint.into());
        Process::start("dispatcher", Command::new(program("dispatcher")), &variables, self.folder.path())
    }

    /// Starts a tenant-service as a plain server.
    pub async fn tenant_service(&self) -> (Process, Api) {
        let (process, url) = serve("tenant-service", &self.variables, self.folder.path(), "/healthz").await;
        (process, Api::new(url))
    }

    /// Where the tenant-api answers.
    pub fn tenant_api_url(&self) -> String {
        self.world.platform.regions["eastus"].tenant_api_url.clone()
    }

    /// Starts a relay that sends its letters to `smtp_url`, and waits until it serves; where it tells its measures.
    pub async fn relay(&self, smtp_url: &str) -> (Process, String) {
        let address = format!("127.0.0.1:{}", free_port());
        let mut variables = self.variables.clone();
        variables.insert("KAFKA_BROKERS".into(), required("KAFKA_BROKERS"));
        variables.insert("SMTP_URL".into(), smtp_url.to_owned());
        variables.insert("HEALTH_LISTEN".into(), address.clone());
        let command = Command::new(program("event-relay"));
        let mut process = Process::start("event-relay", command, &variables, self.folder.path());
        process.serves(&format!("http://{address}/readyz")).await;
        (process, format!("http://{address}/metrics"))
    }

    /// Starts `cargo lambda watch` for all functions, and says where it listens.
    ///
    /// It runs functions by `cargo run`. The cargo on its path runs the program that is there, a phase's function with
    /// failpoints, and leaves everything else to the real one.
    pub async fn functions(&self) -> (Process, String) {
        let bin = self.folder.path().join("bin");
        std::fs::create_dir_all(&bin).expect("a folder");
        let programs = program("dispatcher");
        // By its path: by its name it would be this script again, for ever.
        let real = std::env::var("CARGO").unwrap_or_else(|_| env!("CARGO").into());
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = run ] || exec '{real}' \"$@\"\n\
             while [ $# -gt 1 ] && [ \"$1\" != --bin ]; do shift; done\n\
             [ \"$2\" = tenant-service ] && exec '{programs}/tenant-service'\n\
             exec '{programs}/function' \"$2\"\n",
            programs = programs.parent().expect("a folder").display(),
        );
        write_executable(&bin.join("cargo"), &script);
        let mut variables = self.variables.clone();
        variables.insert("PATH".into(), format!("{}:{}", bin.display(), required("PATH")));
        variables.insert("CARGO".into(), bin.join("cargo").display().to_string());
        let port = free_port();
        let mut command = Command::new(cargo_lambda());
        command
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace"))
            .args(["lambda", "watch", "--invoke-address", "127.0.0.1", "--invoke-port", &port.to_string()])
            .args(["--concurrency", "4", "--ignore-changes"]);
        let process = Process::start("functions", command, &variables, self.folder.path());
        eventually("cargo lambda watch listens", || async move {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        (process, format!("http://127.0.0.1:{port}"))
    }

    /// Waits until the tenant's row is as wanted. Fails when nothing has changed for three minutes.
    pub async fn until_row(
        &self,
        tenant: TenantId,
        what: &str,
        wanted: impl Fn(&StatusRow) -> bool,
    ) -> StatusRow {
        let mut changed = (Instant::now(), 0);
        loop {
            let row = self.world.status(tenant).await;
            if wanted(&row) {
                return row;
            }
            if row.run.seq != changed.1 {
                changed = (Instant::now(), row.run.seq);
            }
            assert!(changed.0.elapsed() < STILL, "waited for {what}, but it is {row:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the tenant's status is `status`.
    pub async fn until(&self, tenant: TenantId, status: &str) -> StatusRow {
        let ended = ["ACTIVE", "FAILED", "DELETED"];
        let row = self
            .until_row(tenant, status, |row| {
                row.tenant.status == status
                    || (row.run.finished_at.is_some() && ended.contains(&row.tenant.status.as_str()))
            })
            .await;
        assert_eq!(row.tenant.status, status, "{row:#?}");
        row
    }

    /// Nothing of the tenant is in the cluster, in Postgres, or in the broker.
    pub async fn nothing_is_left(&self, slug: &str, tenant: TenantId) {
        assert_eq!(outside::left_of(slug, tenant).await, Vec::<String>::new());
        eventually("the queue is deleted", || async {
            self.world.management.tenant_queues().await.is_empty()
        })
        .await;
    }
}

/// tenant-service, as somebody with a token calls it.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    url: String,
}

impl Api {
    /// At `url`.
    pub fn new(url: impl Into<String>) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_mins(1)).build().expect("a client");
        Self { http, url: url.into() }
    }

    /// Asks for a professional tenant; its id.
    pub async fn create(&self, slug: &str) -> TenantId {
        let body = json!({
            "slug": slug, "name": slug, "tier": "professional", "region": "eastus",
            "adminEmail": format!("admin@{slug}.example"), "deploymentType": "container_per_tenant",
        });
        let tenant = Self::accepted(self.post("/api/v1/tenants").json(&body)).await;
        tenant["id"].as_str().expect("an id").parse().expect("an id")
    }

    /// Asks for a free tenant of the pooled instance; its id.
    pub async fn create_shared(&self, slug: &str) -> TenantId {
        let body = json!({
            "slug": slug, "name": slug, "tier": "free", "region": "eastus",
            "adminEmail": format!("admin@{slug}.example"),
        });
        let request = self.post("/api/v1/tenants").json(&body);
        let tenant = Self::accepted(request).await;
        assert_eq!(tenant["deploymentType"], "shared", "{tenant}");
        tenant["id"].as_str().expect("an id").parse().expect("an id")
    }

    /// Asks for a tenant in words of the test's own; its id.
    pub async fn create_as(&self, body: &Value) -> TenantId {
        let tenant = Self::accepted(self.post("/api/v1/tenants").json(body)).await;
        tenant["id"].as_str().expect("an id").parse().expect("an id")
    }

    /// Makes a region, or finds it as asked for.
    pub async fn make_region(&self, body: &Value) {
        let request = self.http.post(format!("{}/api/v1/regions", self.url)).json(body);
        let answer = request.bearer_auth(required("ADMIN_TOKEN")).send().await.expect("tenant-service");
        let status = answer.status();
        assert_eq!(status.as_u16(), 201, "{}", answer.text().await.expect("a body"));
    }

    /// Changes a region.
    pub async fn change_region(&self, key: &str, patch: &Value) {
        let request = self.http.patch(format!("{}/api/v1/regions/{key}", self.url)).json(patch);
        let answer = request.bearer_auth(required("ADMIN_TOKEN")).send().await.expect("tenant-service");
        let status = answer.status();
        assert_eq!(status.as_u16(), 200, "{}", answer.text().await.expect("a body"));
    }

    /// What a tenant's status says.
    pub async fn status(&self, tenant: TenantId) -> Value {
        let url = format!("{}/api/v1/tenants/{tenant}/provisioning/status", self.url);
        let request = self.http.get(url).bearer_auth(required("ADMIN_TOKEN"));
        request.send().await.expect("tenant-service").json().await.expect("JSON")
    }

    /// Asks for another invitation of a tenant's administrator.
    pub async fn invite(&self, tenant: TenantId) {
        Self::accepted(self.post(&format!("/api/v1/tenants/{tenant}/bootstrap-user/invitations"))).await;
    }

    fn post(&self, path: &str) -> reqwest::RequestBuilder {
        let key = uuid::Uuid::new_v4().to_string();
        self.http.post(format!("{}{path}", self.url)).header("Idempotency-Key", key)
    }

    /// Asks for a tenant's end.
    pub async fn delete(&self, tenant: TenantId) {
        Self::accepted(self.http.delete(format!("{}/api/v1/tenants/{tenant}", self.url))).await;
    }

    async fn accepted(request: reqwest::RequestBuilder) -> Value {
        let answer = request.bearer_auth(required("ADMIN_TOKEN")).send().await.expect("tenant-service");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert_eq!(status.as_u16(), 202, "{text}");
        serde_json::from_str(&text).expect("JSON")
    }
}

/// Leases and times that a slow machine keeps too, for tests in which no worker may be lost.
pub fn calm(platform: &mut Platform) {
    let defaults = Engine::default();
    platform.engine.lease = defaults.lease;
    platform.engine.renew = defaults.renew;
    platform.engine.lease_margin = defaults.lease_margin;
    platform.engine.step_timeout = defaults.step_timeout;
    platform.engine.function_timeout = defaults.function_timeout;
    platform.engine.invoke_timeout = defaults.invoke_timeout;
}

/// A lease that is soon over, for tests that kill workers. A machine so slow that living workers lose it too loses time
/// by that, and nothing else: however often a worker is lost, the run is not paused.
pub fn hasty(platform: &mut Platform) {
    platform.engine.lease = Seconds(3.0);
    platform.engine.renew = Seconds(0.5);
    platform.engine.lease_margin = Seconds(0.5);
    platform.engine.lost = 100;
}

/// A slug that no other test uses.
pub fn fresh_slug(kind: &str) -> String {
    format!("{kind}-{}", &uuid::Uuid::new_v4().simple().to_string()[..10])
}

/// Starts a server of ours on a port of its own, and waits until `path` answers.
async fn serve(name: &str, variables: &Variables, folder: &Path, path: &str) -> (Process, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let mut variables = variables.clone();
    variables.insert("LISTEN".into(), address.clone());
    let mut process = Process::start(name, Command::new(program(name)), &variables, folder);
    process.serves(&format!("http://{address}{path}")).await;
    (process, format!("http://{address}"))
}

fn cargo_lambda() -> PathBuf {
    let linked = Path::new(&required("LOCAL_BIN")).join("cargo-lambda");
    if linked.exists() {
        return linked;
    }
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/tools/cargo_lambda.py");
    let done = Command::new(tool).output().expect("infra/tools/cargo_lambda.py");
    let text = String::from_utf8_lossy(&done.stdout);
    let path = text.trim().strip_prefix("cargo-lambda ").expect("the path of cargo-lambda");
    PathBuf::from(path)
}

/// Writes a script.
pub(crate) fn write_executable(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).expect("a file");
}
