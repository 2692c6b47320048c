//! The runner: a dispatcher in this process, real queues and rows, phases that do nothing.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use engine::phase::{Answer, Checkpoints, Job, Progress, Result, Step};
use engine::runtime::DynPhase;
use futures::future::join_all;
use lapin::options::QueueDeleteOptions;
use lapin::{Connection, ConnectionProperties};
use model::platform::Platform;
use model::{PhaseName, Tenant, TenantId};
use queue::{Broker, Dispatcher, Embedded, Invoked, Invoker, Publisher};
use serde_json::{Value, json};
use tenants::Store;
use tests::World;
use tokio::sync::mpsc;

use crate::machine;
use crate::parked::{self, END, STEPS};
use crate::table::{Spread, quantile};

/// As many as the dispatcher's own process holds.
const CONNECTIONS: u32 = 24;

/// A phase without operations.
struct Nothing(String);

#[async_trait]
impl DynPhase for Nothing {
    fn name(&self) -> PhaseName {
        self.0.clone().into()
    }

    fn plan(&self, tenant: &Tenant, _platform: &Platform, _earlier: &Checkpoints) -> Result<Value> {
        Ok(json!({ "slug": tenant.slug }))
    }

    async fn apply(&self, _plan: &Value, step: &Step) -> Result<Progress<Value>> {
        Ok(Progress::Done(json!({ "by": step.owner().run_id })))
    }

    async fn revert(&self, _plan: &Value, _done: Option<&Value>, _step: &Step) -> Result<Progress<()>> {
        Ok(Progress::Done(()))
    }
}

/// The embedded invoker with a watch: what one step takes from the completion before it (when its message is published)
/// to its own.
struct Watched {
    inner: Embedded,
    last: Mutex<HashMap<TenantId, Instant>>,
    steps: Mutex<Vec<f64>>,
    ended: mpsc::UnboundedSender<(TenantId, Instant)>,
    finished: Mutex<HashSet<TenantId>>,
}

#[async_trait]
impl Invoker for Watched {
    async fn invoke(&self, job: &Job, headers: &Value, redelivered: bool) -> Invoked {
        let invoked = self.inner.invoke(job, headers, redelivered).await;
        match &invoked {
            Invoked::Answered(Answer::Next { job: next, .. }) => {
                let now = Instant::now();
                if let Some(before) = self.last.lock().unwrap().insert(job.tenant_id, now) {
                    self.steps.lock().unwrap().push((now - before).as_secs_f64() * 1000.0);
                }
                if next.phase.as_str() == END {
                    // Its message would belong to no step.
                    self.ended.send((job.tenant_id, now)).ok();
                    return Invoked::Answered(Answer::Idle);
                }
            }
            Invoked::Answered(Answer::Finished) => {
                self.finished.lock().unwrap().insert(job.tenant_id);
            }
            _ => {}
        }
        invoked
    }

    fn remote(&self) -> bool {
        false
    }
}

/// A dispatcher of phases that do nothing.
pub struct Engine {
    world: World,
    dispatcher: Dispatcher,
    watched: Arc<Watched>,
    ended: mpsc::UnboundedReceiver<(TenantId, Instant)>,
    publisher: Publisher,
}

/// What a width came to.
#[derive(Debug)]
pub struct Measured {
    /// Steps a second.
    pub rate: Spread,
    /// Milliseconds a step: half of them, and all but one in a hundred, took no longer.
    pub p50: f64,
    pub p99: f64,
    /// Milliseconds of CPU a step: this process (dispatcher and phases), Postgres, RabbitMQ.
    pub cpu: [f64; 3],
    /// Kilobytes of write-ahead log a step.
    pub wal_kb: f64,
}

impl Engine {
    /// Starts it.
    pub fn start(world: &World) -> Self {
        let (ended, receiver) = mpsc::unbounded_channel();
        let phases = (1..=STEPS).map(|nth| Arc::new(Nothing(parked::step(nth))) as Arc<dyn DynPhase>);
        let store = Store::connect_to(&world.database_url, CONNECTIONS).expect("store");
        let runner = engine::runtime::Runner::new(store.clone(), Arc::new(world.platform.clone()));
        let runner = Arc::new(phases.fold(runner, engine::runtime::Runner::and));
        let watched = Arc::new(Watched {
            inner: Embedded(runner),
            last: Mutex::default(),
            steps: Mutex::default(),
            ended,
            finished: Mutex::default(),
        });
        let broker = Broker::new(&world.amqp_url, "bench").expect("broker");
        let dispatcher = Dispatcher::start(
            store.into(),
            world.database_url.clone(),
            &broker,
            watched.clone(),
            Arc::new(world.platform.engine.clone()),
        );
        Self {
            world: world.clone(),
            dispatcher,
            watched,
            ended: receiver,
            publisher: Publisher::new(&broker),
        }
    }

    /// Adds runs that wait; returns when each has its queue. Says how long that took.
    pub async fn park(&self, group: &str, count: usize) -> Duration {
        let began = Instant::now();
        let mut missing = parked::write(&self.world.pool, group, count).await;
        self.world.store.notify().await.expect("notify");
        let mut progress = Instant::now();
        while !missing.is_empty() {
            let before = missing.len();
            for queue in self.world.management.tenant_queues().await {
                missing.remove(&queue);
            }
            if missing.len() < before {
                progress = Instant::now();
            }
            assert!(progress.elapsed() < Duration::from_mins(1), "{} queues are missing", missing.len());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        began.elapsed()
    }

    /// Lets the runs of a group go through their phases, again and again, until each round has taken `round`. The first
    /// round warms up.
    pub async fn measure(
        &mut self,
        group: &str,
        rounds: usize,
        round: Duration,
        servers: &Servers,
    ) -> Measured {
        let mut rates = Vec::new();
        let mut steps = 0.0;
        let mut before = (servers.cpu(), self.wal().await);
        for nth in 0..=rounds {
            if nth == 1 {
                self.watched.steps.lock().unwrap().clear();
                before = (servers.cpu(), self.wal().await);
            }
            let (mut done, mut took) = (0.0, Duration::ZERO);
            while took < round {
                let (runs, lap) = self.lap(group).await;
                done += runs * f64::from(u32::try_from(STEPS).unwrap());
                took += lap;
            }
            if nth > 0 {
                rates.push(done / took.as_secs_f64());
                steps += done;
            }
        }
        let cpu = servers.cpu();
        let used = |nth: usize| (cpu[nth] - before.0[nth]) * 1000.0 / steps;
        let latencies = self.watched.steps.lock().unwrap().clone();
        Measured {
            rate: Spread::of(&rates),
            p50: quantile(&latencies, 0.5),
            p99: quantile(&latencies, 0.99),
            cpu: [used(0), used(1), used(2)],
            wal_kb: (self.wal().await - before.1) / 1024.0 / steps,
        }
    }

    /// All runs of a group from their first message to their last completion.
    async fn lap(&mut self, group: &str) -> (f64, Duration) {
        let jobs = parked::release(&self.world.pool, group).await;
        let began = Instant::now();
        self.watched.last.lock().unwrap().extend(jobs.iter().map(|job| (job.tenant_id, began)));
        for published in join_all(jobs.iter().map(|job| self.publisher.publish(job))).await {
            published.expect("the queues are there");
        }
        let mut missing: HashSet<TenantId> = jobs.iter().map(|job| job.tenant_id).collect();
        let mut last = began;
        while !missing.is_empty() {
            let ended = tokio::time::timeout(Duration::from_mins(1), self.ended.recv()).await;
            let (tenant, completed) = ended.expect("the runs go on").expect("a dispatcher");
            missing.remove(&tenant);
            last = last.max(completed);
        }
        let took = last - began;
        parked::settle(&self.world.pool, group).await;
        (f64::from(u32::try_from(jobs.len()).unwrap()), took)
    }

    async fn wal(&self) -> f64 {
        sqlx::query_scalar("SELECT (pg_current_wal_insert_lsn() - '0/0')::float8")
            .fetch_one(&self.world.pool)
            .await
            .expect("the write-ahead log's position")
    }

    /// Whole runs, from the request's transaction to the end with their queue made and deleted, `width` at a time: runs a
    /// second, and milliseconds of a run.
    pub async fn whole_runs(&self, width: usize, during: Duration) -> (f64, Spread) {
        let names: &'static [&'static str] =
            &["NOTHING_1", "NOTHING_2", "NOTHING_3", "NOTHING_4", "NOTHING_5"];
        let began = Instant::now();
        let work = (0..width).map(|worker| async move {
            let mut took = Vec::new();
            while began.elapsed() < during {
                let asked = Instant::now();
                let slug = format!("whole-{width}-{worker}-{}", took.len());
                let tenant = self.world.tenant(&slug, names).await;
                while !self.watched.finished.lock().unwrap().remove(&tenant) {
                    assert!(asked.elapsed() < Duration::from_mins(1), "the run goes on");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                took.push(asked.elapsed().as_secs_f64() * 1000.0);
            }
            took
        });
        let took: Vec<f64> = join_all(work).await.into_iter().flatten().collect();
        let runs = f64::from(u32::try_from(took.len()).unwrap());
        (runs / began.elapsed().as_secs_f64(), Spread::of(&took))
    }

    /// Stops it; the queues stay.
    pub async fn stop(self) {
        self.dispatcher.stop().await.expect("stops");
        self.publisher.close().await;
    }
}

/// Deletes every tenant's queue: a vhost full of them would take too long to delete.
pub async fn delete_queues(world: &World) {
    let names = world.management.tenant_queues().await;
    let connection =
        Connection::connect(&world.amqp_url, ConnectionProperties::default()).await.expect("RabbitMQ");
    let share = names.len().div_ceil(16).max(1);
    join_all(names.chunks(share).map(async |names| {
        let channel = connection.create_channel().await.expect("channel");
        for name in names {
            drop(channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await);
        }
    }))
    .await;
    drop(connection.close(200, "done".into()).await);
}

/// The processes whose CPU counts, as far as they run on this machine.
pub struct Servers {
    pub postgres: Option<u32>,
    pub rabbitmq: Option<u32>,
}

impl Servers {
    /// Seconds used so far: by this process, Postgres, RabbitMQ.
    pub fn cpu(&self) -> [f64; 3] {
        [
            machine::cpu_seconds(std::process::id()),
            self.postgres.map_or(f64::NAN, machine::cpu_seconds_with_children),
            self.rabbitmq.map_or(f64::NAN, machine::cpu_seconds_with_children),
        ]
    }
}
