//! The user at the job broker: a real RabbitMQ, tried with the tenants' own logins.

use std::time::Duration;

use engine::phase::{Kind, Scope};
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use model::RunId;
use model::platform::JobBroker;
use model::secret::SecretRef;
use reqwest::Method;
use serde_json::{Value, json};
use testing::kubectl;

use crate::world::World;

/// RabbitMQ as its administrator sees it, and a vhost that goes with the test.
pub struct Broker {
    http: reqwest::Client,
    url: reqwest::Url,
    pub vhost: String,
}

impl Broker {
    pub fn new() -> Self {
        let url =
            std::env::var("RABBITMQ_MANAGEMENT_URL").expect("RABBITMQ_MANAGEMENT_URL: run by `make test`");
        let vhost = format!("jobs-{}", uuid::Uuid::new_v4().simple());
        // A connection left idle may be closed by the server in the moment of the next request, which is lost then.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { http, url: url.parse().unwrap(), vhost }
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut url = self.url.clone();
        let (user, password) = (url.username().to_owned(), url.password().map(str::to_owned));
        url.set_username("").unwrap();
        url.set_password(None).unwrap();
        url.set_path(&format!("api/{path}"));
        let mut request = self.http.request(method, url).basic_auth(user, password);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    /// The names of the vhost's queues and exchanges that are the tenants'.
    async fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for kind in ["queues", "exchanges"] {
            let (_, list) = self.call(Method::GET, &format!("{kind}/{}", self.vhost), None).await;
            let all = list.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str());
            names.extend(all.filter(|name| name.starts_with("jobs.")).map(str::to_owned));
        }
        names
    }

    pub fn settings(&self) -> JobBroker {
        let amqp: reqwest::Url = std::env::var("AMQP_URL").unwrap().parse().unwrap();
        JobBroker {
            management: SecretRef::Env("RABBITMQ_MANAGEMENT_URL".into()),
            vhost: self.vhost.clone(),
            host: amqp.host_str().unwrap().into(),
            port: amqp.port().unwrap(),
            tls: false,
            cidrs: vec!["10.60.0.0/16".into()],
        }
    }
}

pub fn value(world: &World, key: &str) -> String {
    let template = format!("--template={{{{index .data \"{key}\" | base64decode}}}}");
    kubectl(&["get", "secret", "tenant-api-jobs", "-n", &world.namespace, &template])
}

pub async fn log_in(world: &World) -> lapin::Result<Connection> {
    Connection::connect(&value(world, "AMQP_URL"), ConnectionProperties::default()).await
}

/// A channel of its own: a refusal closes it.
async fn channel(connection: &Connection) -> Channel {
    connection.create_channel().await.unwrap()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(what: &str, outcome: lapin::Result<T>) {
    let error = outcome.expect_err(what).to_string();
    assert!(error.contains("ACCESS_REFUSED") || error.contains("ACCESS-REFUSED"), "{what}: {error}");
}

/// Its own exchange, and its own queue behind it.
async fn own(connection: &Connection, prefix: &str) -> Channel {
    let channel = channel(connection).await;
    let (queue, exchange) = (format!("{prefix}.jobs"), format!("{prefix}.in"));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.as_str().into(), durable, FieldTable::default()).await.unwrap();
    let (options, none) = (ExchangeDeclareOptions::default(), FieldTable::default());
    channel.exchange_declare(exchange.as_str().into(), ExchangeKind::Direct, options, none).await.unwrap();
    channel
        .queue_bind(
            queue.as_str().into(),
            exchange.as_str().into(),
            "jobs".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    channel
}

async fn publish(connection: &Connection, exchange: &str, key: &str) -> lapin::Result<()> {
    let channel = channel(connection).await;
    channel.confirm_select(lapin::options::ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions::default();
    let sent =
        channel.basic_publish(exchange.into(), key.into(), options, b"job", BasicProperties::default());
    sent.await?.await?;
    Ok(())
}

#[tokio::test]
async fn a_tenants_user_does_with_its_own_queues_and_with_no_other() {
    World::run("", async |one| {
        let broker = Broker::new();
        World::run("", async |other| {
            for world in [&mut *one, &mut *other] {
                world.platform.regions.get_mut("eastus").unwrap().jobs = Some(broker.settings());
                let made = world.provision().await;
                let jobs = made.jobs.unwrap();
                assert_eq!(jobs.user, format!("tenant-{}", world.tenant.id));
                assert_eq!((jobs.vhost, jobs.created_by), (broker.vhost.clone(), Some(world.run)));
            }
            let prefix = |world: &World| format!("jobs.{}", world.tenant.id);
            let (mine, theirs) = (prefix(one), prefix(other));
            let (my, their) = (log_in(one).await.unwrap(), log_in(other).await.unwrap());
            own(&their, &theirs).await;
            let channel_of_mine = own(&my, &mine).await;
            publish(&my, &format!("{mine}.in"), "jobs").await.unwrap();
            let got = channel_of_mine
                .basic_get(format!("{mine}.jobs").as_str().into(), BasicGetOptions::default())
                .await
                .unwrap();
            assert_eq!(got.unwrap().data, b"job");

            let queue = format!("{theirs}.jobs");
            let declare = async |name: &str, arguments: FieldTable| {
                let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
                channel(&my).await.queue_declare(name.into(), options, arguments).await
            };
            refused("declares theirs", declare(&queue, FieldTable::default()).await);
            // Another tenant's id that begins as its own does not end there.
            refused(
                "declares beside its own",
                declare(&format!("{mine}x.jobs"), FieldTable::default()).await,
            );
            refused("declares anything", declare("anything", FieldTable::default()).await);
            let get = channel(&my).await;
            refused("gets", get.basic_get(queue.as_str().into(), BasicGetOptions::default()).await);
            let consume = channel(&my).await;
            let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
            refused(
                "consumes",
                consume.basic_consume(queue.as_str().into(), "me".into(), options, none).await,
            );
            refused("publishes by the default exchange", publish(&my, "", &queue).await);
            refused("publishes by theirs", publish(&my, &format!("{theirs}.in"), "jobs").await);
            let bind = channel(&my).await;
            let bound = bind.queue_bind(
                queue.as_str().into(),
                format!("{mine}.in").as_str().into(),
                "jobs".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            );
            refused("binds theirs to its own", bound.await);
            let mut dead = FieldTable::default();
            dead.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
            dead.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(queue.as_str().into()));
            refused("lets its dead go to theirs", declare(&format!("{mine}.dead"), dead).await);

            // One's end is not the other's.
            one.undo(one.run, Scope::Run).await;
            let (status, _) =
                broker.call(Method::GET, &format!("users/tenant-{}", one.tenant.id), None).await;
            assert_eq!(status, 404);
            let mut left = broker.names().await;
            left.sort();
            assert_eq!(left, [format!("{theirs}.in"), format!("{theirs}.jobs")]);
            publish(&their, &format!("{theirs}.in"), "jobs").await.unwrap();
            other.undo(other.run, Scope::Tenant).await;
            assert_eq!(broker.names().await, [""; 0]);
            assert_eq!(other.there(), [""; 0]);
        })
        .await;
        broker.call(Method::DELETE, &format!("vhosts/{}", broker.vhost), None).await;
    })
    .await;
}

#[tokio::test]
async fn a_password_is_made_once_and_the_broker_has_its_hash() {
    World::run("", async |world| {
        let broker = Broker::new();
        world.platform.regions.get_mut("eastus").unwrap().jobs = Some(broker.settings());
        let path = format!("users/tenant-{}", world.tenant.id);
        world.provision().await;
        let (password, (_, first)) =
            (value(world, "AMQP_PASSWORD"), broker.call(Method::GET, &path, None).await);
        assert!(password.len() >= 40 && !first.to_string().contains(&password));
        let later = RunId::generate();
        let again = world.provision_by(later).await;
        assert_eq!(again.jobs.unwrap().created_by, Some(world.run));
        assert_eq!(value(world, "AMQP_PASSWORD"), password);
        assert_eq!(broker.call(Method::GET, &path, None).await.1, first, "nothing was written");
        // A later run's rollback leaves it, with what is in it.
        own(&log_in(world).await.unwrap(), &format!("jobs.{}", world.tenant.id)).await;
        world.undo(later, Scope::Run).await;
        assert_eq!(broker.names().await.len(), 2);
        // The Secret lost: another password, which the broker learns.
        kubectl(&["delete", "secret", "tenant-api-jobs", "-n", &world.namespace]);
        world.provision_by(later).await;
        assert_ne!(value(world, "AMQP_PASSWORD"), password);
        log_in(world).await.unwrap();
        world.undo(world.run, Scope::Tenant).await;
        assert_eq!((broker.call(Method::GET, &path, None).await.0, broker.names().await.len()), (404, 0));
        broker.call(Method::DELETE, &format!("vhosts/{}", broker.vhost), None).await;
    })
    .await;
}

#[tokio::test]
async fn a_foreign_user_of_the_name_is_fatal_and_stays_with_what_it_has() {
    World::run("", async |world| {
        let broker = Broker::new();
        world.platform.regions.get_mut("eastus").unwrap().jobs = Some(broker.settings());
        let path = format!("users/tenant-{}", world.tenant.id);
        let theirs = json!({ "password": "theirs", "tags": "tenantry-tenant-another" });
        broker.call(Method::PUT, &path, Some(theirs)).await;
        let (_, before) = broker.call(Method::GET, &path, None).await;
        let error = world.attempt(Duration::ZERO).await.unwrap_err();
        assert_eq!((&error.kind, error.code), (&Kind::Fatal, "foreign_object"), "{error}");
        assert!(error.message.contains("RabbitMQ user"), "{error}");
        for scope in [Scope::Run, Scope::Tenant] {
            world.undo(world.run, scope).await;
        }
        assert_eq!(broker.call(Method::GET, &path, None).await, (200, before));
        assert_eq!(world.there(), [""; 0]);
        broker.call(Method::DELETE, &path, None).await;
        broker.call(Method::DELETE, &format!("vhosts/{}", broker.vhost), None).await;
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_does_not_answer_parks_the_run_and_shows_no_login() {
    World::run("", async |world| {
        let mut settings = Broker::new().settings();
        settings.management = world.file("http://admin:hunter2@127.0.0.1:1");
        world.platform.regions.get_mut("eastus").unwrap().jobs = Some(settings);
        let error = world.attempt(Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable { dependency: "job-broker".into() }, "{error}");
        assert_eq!(error.code, "job_broker_unavailable");
        assert!(!error.message.contains("hunter2"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_login_follows_the_way_to_its_broker_and_keeps_its_password() {
    World::run("", async |world| {
        let broker = Broker::new();
        let jobs = broker.settings();
        let set = |world: &mut World, jobs: &JobBroker| {
            world.platform.regions.get_mut("eastus").unwrap().jobs = Some(jobs.clone());
        };
        set(world, &jobs);
        world.provision().await;
        let (password, first) = (value(world, "AMQP_PASSWORD"), value(world, "AMQP_URL"));
        let pods = world.object("deployment", "tenant-api").unwrap()["metadata"]["generation"].clone();
        let way = JobBroker { host: "jobs.example".into(), port: 5671, tls: true, ..jobs.clone() };
        set(world, &way);
        world.make(&world.plan().await, RunId::generate()).await;
        let expected = first
            .replace("amqp://", "amqps://")
            .replace(&format!("@{}:{}/", jobs.host, jobs.port), "@jobs.example:5671/");
        assert_ne!(expected, first);
        assert_eq!(value(world, "AMQP_URL"), expected);
        assert_eq!(
            (value(world, "AMQP_HOST"), value(world, "AMQP_PORT")),
            ("jobs.example".into(), "5671".into())
        );
        assert_eq!(value(world, "AMQP_PASSWORD"), password);
        let after = world.object("deployment", "tenant-api").unwrap()["metadata"]["generation"].clone();
        assert_eq!(after, pods, "the instance reads its login anew for each connection");
        set(world, &jobs);
        world.make(&world.plan().await, RunId::generate()).await;
        assert_eq!(value(world, "AMQP_URL"), first);
        log_in(world).await.unwrap();
        world.undo(world.run, Scope::Tenant).await;
        broker.call(Method::DELETE, &format!("vhosts/{}", broker.vhost), None).await;
    })
    .await;
}

#[tokio::test]
async fn an_undo_reaches_the_broker_by_the_reference_that_the_region_has_now() {
    World::run("", async |world| {
        let broker = Broker::new();
        let management = std::env::var("RABBITMQ_MANAGEMENT_URL").unwrap();
        let first = world.file(&management);
        let jobs = JobBroker { management: first.clone(), ..broker.settings() };
        world.platform.regions.get_mut("eastus").unwrap().jobs = Some(jobs.clone());
        world.provision().await;
        let plan = world.plan().await;
        let path = format!("users/tenant-{}", world.tenant.id);
        assert_eq!(broker.call(Method::GET, &path, None).await.0, 200);
        let SecretRef::File(file) = first else { panic!("a file") };
        std::fs::remove_file(file).unwrap();
        let renewed = JobBroker { management: world.file(&management), ..jobs };
        world.platform.regions.get_mut("eastus").unwrap().jobs = Some(renewed);
        // A change's, which makes the plan of before again, and a deprovisioning's.
        world.make(&plan, RunId::generate()).await;
        log_in(world).await.unwrap();
        world.take_away(&plan, RunId::generate(), Scope::Tenant).await;
        assert_eq!((broker.call(Method::GET, &path, None).await.0, world.there()), (404, Vec::new()));
        broker.call(Method::DELETE, &format!("vhosts/{}", broker.vhost), None).await;
    })
    .await;
}
