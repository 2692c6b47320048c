//! Exports on a real RabbitMQ and a real Postgres: instances with a broker user each, as PROVISION_DEPLOYMENT makes it.

use crate::world::{SECRET, Strategy, Tenant, World, run, with_tenants};
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shared::job_broker::{JobBroker, prefix_of, user_of};
use shared::model::{RunId, TenantId};
use shared::phase::{Owner, Scope};
use shared::secret::{Secret, SecretRef};
use sqlx::Connection as _;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tenant_api::{Config, ExportSettings, InternalSecrets, Measures, Storage, Tables};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use uuid::Uuid;

/// Longest wait for anything.
const WITHIN: Duration = Duration::from_mins(1);
const PASSWORD: &str = "a broker password of a test";

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

/// A vhost that goes with the test, and a folder for files.
struct Broker {
    http: reqwest::Client,
    management: reqwest::Url,
    amqp: reqwest::Url,
    vhost: String,
    folder: TempDir,
}

impl Broker {
    fn new() -> Self {
        let url = |name: &str| -> reqwest::Url {
            std::env::var(name).unwrap_or_else(|_| panic!("{name}: run by `make test`")).parse().unwrap()
        };
        Self {
            http: reqwest::Client::new(),
            management: url("RABBITMQ_MANAGEMENT_URL"),
            amqp: url("AMQP_URL"),
            vhost: format!("exports-{}", Uuid::new_v4().simple()),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn administrator(&self) -> JobBroker {
        JobBroker::connect(&Secret::new(self.management.as_str()), &self.vhost).unwrap()
    }

    /// The login of a tenant's own user, made as PROVISION_DEPLOYMENT makes it.
    async fn login(&self, tenant: TenantId) -> String {
        self.administrator().ensure_user(&owner(tenant), &Secret::new(PASSWORD)).await.unwrap();
        self.url(&user_of(tenant), PASSWORD)
    }

    /// A login that may do everything in the vhost.
    async fn broad(&self) -> String {
        self.call(reqwest::Method::PUT, &format!("vhosts/{}", self.vhost), json!({})).await;
        let user = percent(self.amqp.username());
        let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        self.call(reqwest::Method::PUT, &format!("permissions/{}/{user}", self.vhost), all).await;
        self.url(self.amqp.username(), self.amqp.password().unwrap())
    }

    fn url(&self, user: &str, password: &str) -> String {
        let mut url = self.amqp.clone();
        url.set_username(user).unwrap();
        url.set_password(Some(&password.replace(' ', "%20"))).unwrap();
        url.set_path(&self.vhost);
        url.to_string()
    }

    /// A file with a secret in it.
    fn secret(&self, value: &str) -> SecretRef {
        let path = self.folder.path().join(Uuid::new_v4().to_string());
        std::fs::write(&path, value).unwrap();
        SecretRef::File(path.display().to_string())
    }

    fn storage(&self) -> PathBuf {
        self.folder.path().join("storage")
    }

    fn settings(&self, prefix: &str, login: &str, pinned: Option<TenantId>) -> ExportSettings {
        let storage = Storage::new(self.storage(), None, pinned).unwrap();
        let settings = ExportSettings::new(prefix.to_owned(), self.secret(login), storage);
        ExportSettings { pause: Duration::from_millis(50), ..settings }
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: Value) {
        let mut url = self.management.clone();
        url.set_username("").unwrap();
        url.set_password(None).unwrap();
        url.set_path(&format!("api/{path}"));
        let call = self.http.request(method, url).json(&body);
        let call = call.basic_auth(self.management.username(), self.management.password());
        assert!(call.send().await.unwrap().status().is_success(), "{path}");
    }

    async fn remove(self, tenants: &[&Tenant]) {
        for tenant in tenants {
            self.administrator().remove_user(&owner(TenantId(tenant.id))).await.unwrap();
        }
        self.call(reqwest::Method::DELETE, &format!("vhosts/{}", self.vhost), Value::Null).await;
    }
}

fn percent(text: &str) -> String {
    text.replace('/', "%2F")
}

fn owner(tenant_id: TenantId) -> Owner {
    let (slug, run_id) = ("acme".parse().unwrap(), RunId::generate());
    Owner { tenant_id, slug, run_id, epoch: 0, scope: Scope::Tenant }
}

/// A tenant-api within this process, with jobs.
struct Instance {
    url: String,
    http: reqwest::Client,
    measures: Measures,
}

impl Instance {
    async fn start(tables: Tables, exports: Option<ExportSettings>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let measures = Measures::default();
        let config = Config {
            tables,
            exports,
            measures: measures.clone(),
            ..Config::new(InternalSecrets::new([SECRET.to_owned()]).unwrap())
        };
        tokio::spawn(tenant_api::serve(listener, config, std::future::pending()));
        Self { url, http: reqwest::Client::new(), measures }
    }

    /// A tenant's own, whose jobs are named by this prefix and reached by this login.
    async fn own(world: &World, broker: &Broker, tenant: &Tenant, prefix: &str, login: &str) -> Self {
        let id = TenantId(tenant.id);
        let tables = Tables::new(Some(broker.secret(&tenant.url(world))), Some(id), false);
        Self::start(tables, Some(broker.settings(prefix, login, Some(id)))).await
    }

    fn at(url: String) -> Self {
        Self { url, http: reqwest::Client::new(), measures: Measures::default() }
    }

    async fn send(&self, call: reqwest::RequestBuilder) -> (u16, String) {
        let answer = call.header("x-internal-secret", SECRET).timeout(WITHIN).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, text) = self.send(self.http.post(format!("{}{path}", self.url)).json(body)).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.send(self.http.get(format!("{}{path}", self.url))).await
    }

    async fn ask(&self, tenant: &Tenant, id: Uuid) -> Value {
        let (status, answer) =
            self.post("/internal/exports", &json!({ "tenantId": tenant.id, "id": id })).await;
        assert_eq!((status, &answer["id"]), (202, &json!(id)), "{answer}");
        answer
    }

    async fn state(&self, tenant: &Tenant, id: Uuid) -> Value {
        let (status, text) = self.get(&format!("/internal/exports/{}/{id}", tenant.id)).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until an export is in this state.
    async fn becomes(&self, tenant: &Tenant, id: Uuid, wanted: &str) -> Value {
        let mut last;
        eventually!(&format!("{id} is {wanted}"), {
            last = self.state(tenant, id).await;
            last["state"] == wanted
        });
        last
    }

    /// How many jobs ended so.
    fn jobs(&self, outcome: &str) -> u64 {
        let name = format!("tenantry_jobs_total{{job=\"export\",outcome=\"{outcome}\"}} ");
        let text = self.measures.render();
        text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
    }
}

/// A tenant-api of its own, as in the tenant's container.
async fn process(world: &World, broker: &Broker, tenant: &Tenant, login: &str) -> (Child, Instance) {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let folder = TempDir::new_in(broker.folder.path()).unwrap().keep();
    std::fs::write(folder.join("AMQP_URL"), login).unwrap();
    std::fs::write(folder.join("DATABASE_URL"), tenant.url(world)).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_tenant-api"))
        // The control plane's, in which there is no tenant.
        .env_remove("DATABASE_URL")
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
async fn publish(login: &str, prefix: &str, body: &[u8]) {
    let connection = Connection::connect(login, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let (exchange, options) = (format!("{prefix}.in"), BasicPublishOptions::default());
    let properties = BasicProperties::default();
    let sent = channel.basic_publish(exchange.as_str().into(), "jobs".into(), options, body, properties);
    sent.await.unwrap().await.unwrap();
}

/// How many messages a queue has that nobody has taken.
async fn waiting(login: &str, queue: &str) -> u32 {
    let connection = Connection::connect(login, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), passive, FieldTable::default()).await.unwrap().message_count()
}

fn lines(text: &str) -> BTreeMap<String, usize> {
    let mut tables = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        *tables.entry(line["table"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    tables
}

#[tokio::test]
async fn an_export_holds_the_tenants_rows_and_nobodys_hash() {
    with_tenants([Strategy::Database, Strategy::Schema], async |world, [tenant, pooled]| {
        let broker = Broker::new();
        let login = broker.login(TenantId(tenant.id)).await;
        world.ok("initialize", &tenant.initialize(&world)).await;
        let mut body = pooled.initialize(&world);
        body["verifier"] = Value::Null;
        world.ok("initialize", &body).await;
        let insert = format!(
            "INSERT INTO users (tenant_id, email, role, password_hash) \
             VALUES ('{}', 'ann@acme.example', 'owner', 'the hash of a password')",
            tenant.id
        );
        run(&mut tenant.login(&world).await.unwrap(), &insert).await.unwrap();

        let own = Instance::own(&world, &broker, &tenant, &prefix_of(TenantId(tenant.id)), &login).await;
        // The pooled one has a prefix of its own, which the operator gives it.
        let tables = Tables::new(Some(SecretRef::Env("POOL_DATABASE_URL".into())), None, false);
        let broad = broker.broad().await;
        let shared = Instance::start(tables, Some(broker.settings("jobs.pooled", &broad, None))).await;

        for (instance, tenant, users) in [(&own, &tenant, 1), (&shared, &pooled, 0)] {
            let id = Uuid::new_v4();
            instance.ask(tenant, id).await;
            let done = instance.becomes(tenant, id, "done").await;
            let (status, text) = instance.get(&format!("/internal/exports/{}/{id}/content", tenant.id)).await;
            assert_eq!(status, 200);
            let mut expected =
                BTreeMap::from([("configuration", 5), ("system_roles", 4), ("dashboard_templates", 3)]);
            expected.extend((users > 0).then_some(("users", users)));
            assert!(
                lines(&text).iter().map(|(table, count)| (table.as_str(), *count)).eq(expected),
                "{text}"
            );
            assert!(text.contains(&tenant.id.to_string()) && !text.contains("hash"), "{text}");
            let hash: String = Sha256::digest(&text).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!((&done["sha256"], &done["attempts"]), (&json!(hash), &json!(1)), "{done}");
            assert_eq!((&done["rows"], &done["bytes"]), (&json!(text.lines().count()), &json!(text.len())));
            let name = format!("{}/exports/{id}.jsonl", tenant.id);
            assert_eq!(done["storage"], json!(name));
            let file = broker.storage().join(name);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            // Asked for again, it is the same one; its content lost, that is said.
            assert_eq!(instance.ask(tenant, id).await, done);
            std::fs::remove_file(&file).unwrap();
            let (status, text) = instance.get(&format!("/internal/exports/{}/{id}/content", tenant.id)).await;
            assert!(status == 410 && text.contains("export_gone"), "{text}");
            let (status, text) =
                instance.get(&format!("/internal/exports/{}/{}", tenant.id, Uuid::new_v4())).await;
            assert!(status == 404 && text.contains("export_unknown"), "{text}");
        }
        assert_eq!((own.jobs("done"), shared.jobs("done")), (1, 1));
        broker.remove(&[&tenant]).await;
    })
    .await;
}

/// Two tenants' instances on one broker, four exports each: how many jobs an instance got that were the other's.
async fn crossed(world: &World, broker: &Broker, sides: [(&Tenant, &str, &str); 2]) -> u64 {
    let mut asked = Vec::new();
    for (tenant, prefix, login) in sides {
        let instance = Instance::own(world, broker, tenant, prefix, login).await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(Uuid::new_v4());
        }
        asked.push((instance, tenant, ids));
    }
    // Both take jobs before there are any.
    for (_, prefix, login) in sides {
        let consumers = if sides[0].1 == sides[1].1 { 2 } else { 1 };
        eventually!("both take jobs", {
            let connection = Connection::connect(login, ConnectionProperties::default()).await.unwrap();
            let channel = connection.create_channel().await.unwrap();
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let queue = format!("{prefix}.jobs");
            let found = channel.queue_declare(queue.as_str().into(), passive, FieldTable::default()).await;
            found.is_ok_and(|queue| queue.consumer_count() == consumers)
        });
    }
    for (instance, tenant, ids) in &asked {
        for id in ids {
            instance.ask(tenant, *id).await;
        }
    }
    let over = |instance: &Instance| {
        ["done", "failed", "foreign"].iter().map(|outcome| instance.jobs(outcome)).sum::<u64>()
    };
    eventually!("all jobs are over", { asked.iter().map(|(instance, ..)| over(instance)).sum::<u64>() == 8 });
    let foreign = asked.iter().map(|(instance, ..)| instance.jobs("foreign")).sum();
    if foreign == 0 {
        for (instance, tenant, ids) in &asked {
            for id in ids {
                assert_eq!(instance.state(tenant, *id).await["state"], "done");
            }
        }
    }
    foreign
}

#[tokio::test]
async fn two_instances_on_one_broker_never_take_each_others_job() {
    with_tenants([Strategy::Schema, Strategy::Schema], async |world, [one, other]| {
        let broker = Broker::new();
        let [(my, mine), (their, theirs)] = [
            (broker.login(TenantId(one.id)).await, prefix_of(TenantId(one.id))),
            (broker.login(TenantId(other.id)).await, prefix_of(TenantId(other.id))),
        ];
        for tenant in [&one, &other] {
            world.ok("initialize", &tenant.initialize(&world)).await;
        }
        assert_eq!(crossed(&world, &broker, [(&one, &mine, &my), (&other, &theirs, &their)]).await, 0);

        // It is the broker that refuses: one's login does not get at the other's queue, whatever asks with it.
        let connection = Connection::connect(&my, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let queue = format!("{theirs}.jobs");
        let got = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await;
        assert!(format!("{got:?}").contains("ACCESS"), "{got:?}");
        let astray = Instance::own(&world, &broker, &one, &theirs, &my).await;
        let (status, answer) = astray.post("/internal/exports", &json!({ "tenantId": one.id })).await;
        assert_eq!((status, &answer["code"]), (503, &json!("jobs_unavailable")), "{answer}");
        assert!(answer.to_string().contains("ACCESS") && !answer.to_string().contains(PASSWORD), "{answer}");

        // And it is the prefix that keeps them apart: with the same one, and a login that may use it, jobs do cross.
        let broad = broker.broad().await;
        let both = [(&one, "jobs.same", broad.as_str()), (&other, "jobs.same", broad.as_str())];
        let lost = crossed(&world, &broker, both).await;
        assert!(lost > 0);
        eventually!("they are put aside", u64::from(waiting(&broad, "jobs.same.dead").await) == lost);
        broker.remove(&[&one, &other]).await;
    })
    .await;
}

#[tokio::test]
async fn a_job_that_comes_twice_is_done_once_and_what_is_no_job_is_put_aside() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        let broker = Broker::new();
        let (login, prefix) = (broker.login(TenantId(tenant.id)).await, prefix_of(TenantId(tenant.id)));
        world.ok("initialize", &tenant.initialize(&world)).await;
        let instance = Instance::own(&world, &broker, &tenant, &prefix, &login).await;
        let id = Uuid::new_v4();
        instance.ask(&tenant, id).await;
        let done = instance.becomes(&tenant, id, "done").await;
        let file = broker.storage().join(format!("{}/exports/{id}.jsonl", tenant.id));
        let written = std::fs::metadata(&file).unwrap().modified().unwrap();
        let job = json!({ "tenantId": tenant.id, "exportId": id }).to_string();
        for body in [&job, &job, "nonsense", "{}"] {
            publish(&login, &prefix, body.as_bytes()).await;
        }
        let nobodys = json!({ "tenantId": tenant.id, "exportId": Uuid::new_v4() }).to_string();
        publish(&login, &prefix, nobodys.as_bytes()).await;
        eventually!("all are over", {
            (instance.jobs("repeated"), instance.jobs("malformed"), instance.jobs("unknown")) == (2, 2, 1)
        });
        assert_eq!(instance.state(&tenant, id).await, done);
        assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), written, "not written again");
        eventually!("put aside", waiting(&login, &format!("{prefix}.dead")).await == 2);
        assert_eq!(waiting(&login, &format!("{prefix}.jobs")).await, 0);

        // What cannot be done fails with its reason; the next job is done.
        let rename = |from: &str, to: &str| format!("ALTER TABLE {from} RENAME TO {to}");
        let mut session = tenant.login(&world).await.unwrap();
        run(&mut session, &rename("dashboard_templates", "elsewhere")).await.unwrap();
        let poison = Uuid::new_v4();
        instance.ask(&tenant, poison).await;
        let failed = instance.becomes(&tenant, poison, "failed").await;
        assert_eq!((&failed["error"]["code"], &failed["attempts"]), (&json!("database_error"), &json!(1)));
        assert!(failed["error"]["detail"].as_str().unwrap().contains("dashboard_templates"), "{failed}");
        let (status, text) = instance.get(&format!("/internal/exports/{}/{poison}/content", tenant.id)).await;
        assert!(status == 409 && text.contains("export_not_done"), "{text}");
        run(&mut session, &rename("elsewhere", "dashboard_templates")).await.unwrap();
        let next = Uuid::new_v4();
        instance.ask(&tenant, next).await;
        instance.becomes(&tenant, next, "done").await;
        let kept = std::fs::read_dir(file.parent().unwrap()).unwrap().count();
        assert_eq!(kept, 2, "nothing half-written stays");
        broker.remove(&[&tenant]).await;
    })
    .await;
}

#[tokio::test]
async fn a_process_killed_in_the_middle_is_repeated_by_the_broker_but_not_for_ever() {
    with_tenants([Strategy::Database], async |world, [tenant]| {
        let broker = Broker::new();
        let login = broker.login(TenantId(tenant.id)).await;
        world.ok("initialize", &tenant.initialize(&world)).await;
        // Each export is stopped by this lock in the middle of its rows.
        for (deaths, wanted) in [(1, "done"), (3, "failed")] {
            let mut held = tenant.login(&world).await.unwrap();
            run(&mut held, "BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE").await.unwrap();
            let id = Uuid::new_v4();
            for death in 1..=deaths {
                let (mut child, instance) = process(&world, &broker, &tenant, &login).await;
                if death == 1 {
                    instance.ask(&tenant, id).await;
                }
                eventually!("it is under way", {
                    let now = instance.state(&tenant, id).await;
                    now["state"] == "running" && now["attempts"] == json!(death)
                });
                child.kill().await.unwrap();
            }
            held.close().await.unwrap();
            let (mut child, instance) = process(&world, &broker, &tenant, &login).await;
            let end = instance.becomes(&tenant, id, wanted).await;
            assert_eq!(end["attempts"], json!(deaths + 1), "{end}");
            if wanted == "failed" {
                assert_eq!(end["error"]["code"], "given_up", "{end}");
            }
            child.kill().await.unwrap();
        }
        assert_eq!(waiting(&login, &format!("{}.jobs", prefix_of(TenantId(tenant.id)))).await, 0);
        broker.remove(&[&tenant]).await;
    })
    .await;
}

#[tokio::test]
async fn a_job_that_the_broker_has_lost_is_given_to_it_again_and_an_outage_is_waited_for() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        let broker = Broker::new();
        let (login, prefix) = (broker.login(TenantId(tenant.id)).await, prefix_of(TenantId(tenant.id)));
        world.ok("initialize", &tenant.initialize(&world)).await;
        let [lost, kept] = [0; 2].map(|_| Uuid::new_v4());
        let mut session = tenant.login(&world).await.unwrap();
        for (id, queued) in [(lost, "now() - interval '1 hour'"), (kept, "now()")] {
            let insert = format!(
                "INSERT INTO exports (tenant_id, id, queued_at) VALUES ('{}', '{id}', {queued})",
                tenant.id
            );
            run(&mut session, &insert).await.unwrap();
        }
        session.close().await.unwrap();
        let instance = Instance::own(&world, &broker, &tenant, &prefix, &login).await;
        instance.becomes(&tenant, lost, "done").await;
        // The other one's is with the broker, as far as anybody knows. It comes while nobody may log in.
        let lock = |how: &str| [format!("ALTER ROLE \"{}\" {how}", tenant.name)];
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}'",
            tenant.name
        );
        let admin = crate::world::SHARED;
        let join = format!("GRANT \"{}\" TO CURRENT_USER", tenant.name);
        world.sql(admin, &[vec![join], lock("NOLOGIN").to_vec(), vec![end]].concat()).await;
        let job = json!({ "tenantId": tenant.id, "exportId": kept }).to_string();
        publish(&login, &prefix, job.as_bytes()).await;
        eventually!("it is taken", waiting(&login, &format!("{prefix}.jobs")).await == 0);
        world.sql(admin, &lock("LOGIN")).await;
        assert_eq!(instance.becomes(&tenant, kept, "done").await["attempts"], 1);
        world.sql(admin, &[format!("REVOKE \"{}\" FROM CURRENT_USER", tenant.name)]).await;
        broker.remove(&[&tenant]).await;
    })
    .await;
}

#[tokio::test]
async fn without_a_broker_there_are_no_exports_and_without_an_answer_they_may_be_asked_for_again() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        let broker = Broker::new();
        world.ok("initialize", &tenant.initialize(&world)).await;
        let tables = || {
            let login = broker.secret(&tenant.url(&world));
            Tables::new(Some(login), Some(TenantId(tenant.id)), false)
        };
        let body = json!({ "tenantId": tenant.id, "id": Uuid::new_v4() });
        let mut settings =
            broker.settings("jobs.x", "amqp://u:hunter2@127.0.0.1:1/x", Some(TenantId(tenant.id)));
        let silent = Instance::start(tables(), Some(settings.clone())).await;
        settings.login = SecretRef::File("/nowhere/AMQP_URL".into());
        let without = Instance::start(tables(), Some(settings)).await;
        let none = Instance::start(tables(), None).await;
        for (instance, status, code) in [
            (&none, 501, "jobs_not_configured"),
            (&without, 501, "jobs_not_configured"),
            (&silent, 503, "jobs_unavailable"),
        ] {
            let (got, answer) = instance.post("/internal/exports", &body).await;
            assert_eq!((got, &answer["code"]), (status, &json!(code)), "{answer}");
            assert!(!answer.to_string().contains("hunter2"), "{answer}");
        }
        // The same one, once there is a broker.
        let (login, prefix) = (broker.login(TenantId(tenant.id)).await, prefix_of(TenantId(tenant.id)));
        let instance = Instance::own(&world, &broker, &tenant, &prefix, &login).await;
        let id = body["id"].as_str().unwrap().parse().unwrap();
        instance.ask(&tenant, id).await;
        instance.becomes(&tenant, id, "done").await;
        let call = instance.http.post(format!("{}/internal/exports", instance.url)).json(&body);
        assert_eq!(call.send().await.unwrap().status(), 401, "nobody without the secret");
        broker.remove(&[&tenant]).await;
    })
    .await;
}
