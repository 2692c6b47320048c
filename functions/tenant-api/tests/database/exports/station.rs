//! A RabbitMQ with a vhost of the test's own, and instances of tenant-api that take jobs from it.

use crate::world::{SECRET, Tenant, World};
use engine::phase::{Owner, Scope};
use job_broker::{JobBroker, prefix_of, user_of};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use model::secret::{Secret, SecretRef};
use model::{RunId, TenantId};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tenant_api::{Config, ExportSettings, InternalSecrets, Licenses, Measures, Storage, Tables};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use uuid::Uuid;

/// Longest wait for anything.
pub const WITHIN: Duration = Duration::from_mins(3);
pub const PASSWORD: &str = "a broker password of a test";

/// Looks until it is so. A macro, since what holds an asynchronous closure cannot be sent to another thread.
macro_rules! eventually {
    ($what:expr, $look:expr) => {{
        let begun = std::time::Instant::now();
        while !$look {
            assert!(begun.elapsed() < WITHIN, "not within {} s: {}", WITHIN.as_secs(), $what);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }};
}

pub(crate) use eventually;

/// A vhost that goes with the test, and a folder for files.
pub struct Broker {
    http: reqwest::Client,
    management: reqwest::Url,
    amqp: reqwest::Url,
    vhost: String,
    folder: TempDir,
}

impl Broker {
    pub fn new() -> Self {
        let url = |name: &str| -> reqwest::Url {
            std::env::var(name).unwrap_or_else(|_| panic!("{name}: run by `make test`")).parse().unwrap()
        };
        Self {
            // A connection left idle may be closed by the server in the moment of the next request, which is lost then.
            http: reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap(),
            management: url("RABBITMQ_MANAGEMENT_URL"),
            amqp: url("AMQP_URL"),
            vhost: format!("exports-{}", Uuid::new_v4().simple()),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn administrator(&self) -> JobBroker {
        JobBroker::connect(&Secret::new(self.management.as_str()), &self.vhost).unwrap()
    }

    /// The login of a tenant's own user, made as PROVISION_DEPLOYMENT makes it.
    pub async fn login(&self, tenant: TenantId) -> String {
        self.administrator().ensure_user(&owner(tenant), &Secret::new(PASSWORD)).await.unwrap();
        self.url(&user_of(tenant), PASSWORD)
    }

    /// A login that may do everything in the vhost.
    pub async fn broad(&self) -> String {
        self.call(reqwest::Method::PUT, &format!("vhosts/{}", self.vhost), json!({})).await;
        let user = percent(self.amqp.username());
        let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        self.call(reqwest::Method::PUT, &format!("permissions/{}/{user}", self.vhost), all).await;
        self.url(self.amqp.username(), self.amqp.password().unwrap())
    }

    pub fn url(&self, user: &str, password: &str) -> String {
        let mut url = self.amqp.clone();
        url.set_username(user).unwrap();
        url.set_password(Some(&password.replace(' ', "%20"))).unwrap();
        url.set_path(&self.vhost);
        url.to_string()
    }

    /// A file with a secret in it.
    pub fn secret(&self, value: &str) -> SecretRef {
        let path = self.folder.path().join(Uuid::new_v4().to_string());
        std::fs::write(&path, value).unwrap();
        SecretRef::File(path.display().to_string())
    }

    pub fn storage(&self) -> PathBuf {
        self.folder.path().join("storage")
    }

    pub fn settings(&self, prefix: &str, login: &str, pinned: Option<TenantId>) -> ExportSettings {
        let storage = Storage::new(self.storage(), None, pinned).unwrap();
        let settings = ExportSettings::new(prefix.to_owned(), self.secret(login), storage);
        ExportSettings { pause: Duration::from_millis(50), ..settings }
    }

    pub async fn call(&self, method: reqwest::Method, path: &str, body: Value) {
        let mut url = self.management.clone();
        url.set_username("").unwrap();
        url.set_password(None).unwrap();
        url.set_path(&format!("api/{path}"));
        let call = self.http.request(method, url).json(&body);
        let call = call.basic_auth(self.management.username(), self.management.password());
        assert!(call.send().await.unwrap().status().is_success(), "{path}");
    }

    pub async fn remove(self, tenants: &[&Tenant]) {
        for tenant in tenants {
            self.administrator().remove_user(&owner(TenantId(tenant.id))).await.unwrap();
        }
        self.call(reqwest::Method::DELETE, &format!("vhosts/{}", self.vhost), Value::Null).await;
    }
}

pub fn percent(text: &str) -> String {
    text.replace('/', "%2F")
}

pub fn owner(tenant_id: TenantId) -> Owner {
    let (slug, run_id) = ("acme".parse().unwrap(), RunId::generate());
    Owner { tenant_id, slug, run_id, epoch: 0, scope: Scope::Tenant }
}

/// A tenant-api within this process, with jobs.
pub struct Instance {
    pub url: String,
    pub http: reqwest::Client,
    measures: Measures,
}

impl Instance {
    pub async fn start(tables: Tables, exports: Option<ExportSettings>) -> Self {
        Self::licensed(tables, exports, Licenses::default()).await
    }

    /// Where licences are checked.
    pub async fn licensed(tables: Tables, exports: Option<ExportSettings>, licenses: Licenses) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let measures = Measures::default();
        let config = Config {
            tables,
            exports,
            licenses,
            measures: measures.clone(),
            ..Config::new(InternalSecrets::new([SECRET.to_owned()]).unwrap())
        };
        tokio::spawn(tenant_api::serve(listener, config, std::future::pending()));
        Self { url, http: reqwest::Client::new(), measures }
    }

    /// A tenant's own, whose jobs are named by this prefix and reached by this login.
    pub async fn own(world: &World, broker: &Broker, tenant: &Tenant, prefix: &str, login: &str) -> Self {
        let id = TenantId(tenant.id);
        let tables = Tables::new(Some(broker.secret(&tenant.url(world))), Some(id), false);
        Self::start(tables, Some(broker.settings(prefix, login, Some(id)))).await
    }

    pub fn at(url: String) -> Self {
        Self { url, http: reqwest::Client::new(), measures: Measures::default() }
    }

    pub async fn send(&self, call: reqwest::RequestBuilder) -> (u16, String) {
        let answer = call.header("x-internal-secret", SECRET).timeout(WITHIN).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, text) = self.send(self.http.post(format!("{}{path}", self.url)).json(body)).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        self.send(self.http.get(format!("{}{path}", self.url))).await
    }

    pub async fn ask(&self, tenant: &Tenant, id: Uuid) -> Value {
        let (status, answer) =
            self.post("/internal/exports", &json!({ "tenantId": tenant.id, "id": id })).await;
        assert_eq!((status, &answer["id"]), (202, &json!(id)), "{answer}");
        answer
    }

    pub async fn state(&self, tenant: &Tenant, id: Uuid) -> Value {
        let (status, text) = self.get(&format!("/internal/exports/{}/{id}", tenant.id)).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until an export is in this state.
    pub async fn becomes(&self, tenant: &Tenant, id: Uuid, wanted: &str) -> Value {
        let mut last;
        eventually!(&format!("{id} is {wanted}"), {
            last = self.state(tenant, id).await;
            last["state"] == wanted
        });
        last
    }

    /// How many jobs ended so.
    pub fn jobs(&self, outcome: &str) -> u64 {
        let name = format!("tenantry_jobs_total{{job=\"export\",outcome=\"{outcome}\"}} ");
        let text = self.measures.render();
        text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
    }
}

/// A tenant-api of its own, as in the tenant's container.
pub async fn process(world: &World, broker: &Broker, tenant: &Tenant, login: &str) -> (Child, Instance) {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let folder = TempDir::new_in(broker.folder.path()).unwrap().keep();
    std::fs::write(folder.join("AMQP_URL"), login).unwrap();
    std::fs::write(folder.join("DATABASE_URL"), tenant.url(world)).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_tenant-api"))
        // The control plane's, in which there is no tenant.
        .env_remove("DATABASE_URL")
        // The stack's: no licence is asked for here.
        .env_remove("LICENSE_PUBLIC_KEYS")
        .env("TENANT_API_INTERNAL_SECRET", SECRET)
        .env("LISTEN", free.to_string())
        .env("TENANT_ID", tenant.id.to_string())
        .env("DATABASE_CREDENTIALS_DIR", &folder)
        .env("JOBS_CREDENTIALS_DIR", &folder)
        .env("QUEUE_PREFIX", prefix_of(TenantId(tenant.id)))
        .env("STORAGE_DIR", broker.storage())
        .env("STORAGE_PREFIX", format!("{}/", tenant.id))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let instance = Instance::at(format!("http://{free}"));
    eventually!("it answers", instance.http.get(format!("{}/healthz", instance.url)).send().await.is_ok());
    (child, instance)
}

/// Puts a message into a tenant's queue by the tenant's own login.
pub async fn publish(login: &str, prefix: &str, body: &[u8]) {
    let connection = Connection::connect(login, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let (exchange, options) = (format!("{prefix}.in"), BasicPublishOptions::default());
    let properties = BasicProperties::default();
    let sent = channel.basic_publish(exchange.as_str().into(), "jobs".into(), options, body, properties);
    sent.await.unwrap().await.unwrap();
}

/// How many messages a queue has that nobody has taken.
pub async fn waiting(login: &str, queue: &str) -> u32 {
    let connection = Connection::connect(login, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), passive, FieldTable::default()).await.unwrap().message_count()
}
