//! A world with a topic of its own, in which relays run.

use std::future::Future;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use engine::phase::{Error, Progress};
use engine::runtime::DynPhase;
use model::TenantId;
use model::platform::{Delivery, Platform, Seconds};
use tests::process::{Process, Variables, free_port, program};
use tests::{World, eventually, required};
pub use tests::{letters, mailbox};

use crate::topic::{self, Record};

/// The world, the platform file and the topic.
pub struct Station {
    pub world: World,
    pub topic: String,
    pub variables: Variables,
    folder: tempfile::TempDir,
}

/// A running relay.
pub struct Relay {
    pub process: Process,
    url: String,
}

impl Station {
    /// Makes a station, runs the test, and takes it away. The topic goes with the stack.
    pub async fn run<A, F, R>(adjust: A, test: F)
    where
        A: FnOnce(&mut Platform),
        F: FnOnce(Station) -> R,
        R: Future<Output = ()>,
    {
        World::run(|world| async move {
            let folder = tempfile::tempdir().expect("a folder");
            let topic = format!("relay-{}", uuid::Uuid::new_v4().simple());
            let mut platform = world.platform.clone();
            platform.events.topic.clone_from(&topic);
            // Times that a slow machine keeps; what is waited for is not the clock.
            let delivery = Delivery {
                backoff: Seconds(0.2),
                backoff_cap: Seconds(1.0),
                poll: Seconds(0.2),
                ..Delivery::default()
            };
            platform.events.delivery = delivery.clone();
            platform.mail.delivery = delivery;
            platform.mail.operators = vec![operators(&topic)];
            adjust(&mut platform);
            let config = folder.path().join("platform.toml");
            std::fs::write(&config, toml::to_string(&platform).expect("TOML")).expect("a file");
            let mut variables: Variables = ["PATH", "KAFKA_BROKERS", "SMTP_URL"]
                .into_iter()
                .map(|name| (name.to_owned(), required(name)))
                .collect();
            variables.insert("DATABASE_URL".into(), world.database_url.clone());
            variables.insert("TENANTRY_CONFIG".into(), config.display().to_string());
            variables.insert("RUST_LOG".into(), "info".into());
            test(Station { world, topic, variables, folder }).await;
        })
        .await;
    }

    /// The operators of this station alone.
    pub fn operators(&self) -> String {
        operators(&self.topic)
    }

    /// Starts a relay, and waits until it serves.
    pub async fn relay(&self) -> Relay {
        let address = format!("127.0.0.1:{}", free_port());
        let mut variables = self.variables.clone();
        variables.insert("HEALTH_LISTEN".into(), address.clone());
        let command = Command::new(program("event-relay"));
        let mut process = Process::start("event-relay", command, &variables, self.folder.path());
        process.serves(&format!("http://{address}/readyz")).await;
        Relay { process, url: format!("http://{address}/metrics") }
    }

    /// A folder that goes with the station.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a command of the relay to its end.
    pub async fn command(&self, words: &[&str]) -> String {
        self.run_program("event-relay", words).await
    }

    /// Runs a command of one of our programs to its end.
    pub async fn run_program(&self, name: &str, words: &[&str]) -> String {
        let mut command = Command::new(program(name));
        command.args(words);
        let mut process = Process::start(name, command, &self.variables, self.folder.path());
        let status = process.end().await;
        let log = process.log();
        assert!(status.success(), "{name} {words:?}: {status}\n{log}");
        log
    }

    /// Brings tenants to their run's end while no relay runs.
    pub async fn finish(&self, phase: Arc<dyn DynPhase>, tenants: &[TenantId], status: &str) {
        let dispatcher = self.world.dispatch(vec![phase]);
        for tenant in tenants {
            self.world.until(*tenant, status).await;
        }
        dispatcher.stop().await.unwrap();
    }

    /// A phase that does its work.
    pub fn works(&self) -> Arc<dyn DynPhase> {
        self.world.phase("ONE").arc()
    }

    /// A phase that cannot do its work.
    pub fn fails(&self) -> Arc<dyn DynPhase> {
        self.world
            .phase("ONE")
            .on_apply(|_| async move {
                Err::<Progress<()>, _>(
                    Error::fatal("no_chart", "no chart <ingress> & no other").next("Publish the chart."),
                )
            })
            .arc()
    }

    /// The ids of a tenant's rows for a sink, in the order of their writing.
    pub async fn ids(&self, tenant: TenantId, sink: &str) -> Vec<String> {
        sqlx::query_scalar("SELECT id::text FROM outbox WHERE tenant_id = $1 AND sink = $2 ORDER BY number")
            .bind(tenant.0)
            .bind(sink)
            .fetch_all(&self.world.pool)
            .await
            .unwrap()
    }

    /// Waits until the topic holds at least so many records.
    pub async fn records(&self, count: usize) -> Vec<Record> {
        eventually(&format!("{count} records"), || async {
            topic::records(&self.topic).await.len() >= count
        })
        .await;
        topic::records(&self.topic).await
    }
}

impl Relay {
    /// A measure, such as `tenantry_outbox_waiting{sink="kafka"}`.
    pub async fn measure(&self, name: &str, sink: &str) -> u64 {
        let text = reqwest::get(&self.url).await.unwrap().text().await.unwrap();
        let start = format!("{name}{{sink=\"{sink}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("{start} in {text}")).parse().unwrap()
    }

    /// Waits until a measure is at least so much.
    pub async fn until(&self, name: &str, sink: &str, least: u64) {
        eventually(&format!("{name} of {sink} is {least}"), || async {
            self.measure(name, sink).await >= least
        })
        .await;
    }

    /// Waits until nothing waits at the sink.
    pub async fn until_drained(&self, sink: &str) {
        eventually(&format!("nothing waits at {sink}"), || async {
            self.measure("tenantry_outbox_waiting", sink).await == 0
        })
        .await;
    }
}

fn operators(topic: &str) -> String {
    format!("operators@{topic}.example")
}
