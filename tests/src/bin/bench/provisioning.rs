//! A tenant through the real phases on the real parts: how much of the time is not the phases' own work.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use engine::decide::verbs::Verb;
use engine::phase::{Answer, Job, Operation};
use model::platform::Platform;
use model::{DeploymentType, Tier};
use queue::{Broker, Dispatcher, Embedded, Invoked, Invoker};
use serde_json::Value;
use sqlx::PgPool;
use sqlx::types::Json;
use tenants::Store;
use tenants::phases;
use tests::World;

/// One invocation of a phase, in seconds.
#[derive(Debug)]
pub struct Entry {
    /// Its phase.
    pub phase: String,
    /// From the message's arrival to the answer.
    pub took: f64,
    /// In operations.
    pub worked: f64,
    /// How long the phase then asked to be parked.
    pub parked: f64,
}

/// What a run came to, in seconds.
#[derive(Debug)]
pub struct Provisioned {
    /// From the request to ACTIVE.
    pub total: f64,
    /// Every invocation.
    pub entries: Vec<Entry>,
}

struct Watched {
    inner: Embedded,
    pool: PgPool,
    entries: Mutex<Vec<Entry>>,
    /// What the watching itself took.
    watching: Mutex<Duration>,
}

#[async_trait]
impl Invoker for Watched {
    async fn invoke(&self, job: &Job, headers: &Value, redelivered: bool) -> Invoked {
        let (at, began) = (Utc::now(), Instant::now());
        let invoked = self.inner.invoke(job, headers, redelivered).await;
        let parked = match &invoked {
            Invoked::Answered(Answer::Next { delay_ms, .. }) => {
                Duration::from_millis(*delay_ms).as_secs_f64()
            }
            Invoked::Answered(Answer::Finished) => 0.0,
            // A duplicate, which holds nobody up.
            _ => return invoked,
        };
        let (took, watching) = (began.elapsed().as_secs_f64(), Instant::now());
        let worked = self.worked(job, at).await;
        let entry = Entry { phase: job.phase.to_string(), took, worked, parked };
        self.entries.lock().unwrap().push(entry);
        *self.watching.lock().unwrap() += watching.elapsed();
        invoked
    }

    fn remote(&self) -> bool {
        false
    }
}

impl Watched {
    /// Seconds in operations since `since`, as they are recorded.
    async fn worked(&self, job: &Job, since: DateTime<Utc>) -> f64 {
        let Json(operations): Json<Vec<Operation>> =
            sqlx::query_scalar("SELECT operations FROM provisioning_phases WHERE run_id = $1 AND name = $2")
                .bind(job.run_id.0)
                .bind(job.phase.as_str())
                .fetch_one(&self.pool)
                .await
                .expect("the phase's row");
        let spans =
            operations.iter().filter(|operation| operation.started_at >= since).filter_map(|operation| {
                (operation.finished_at? - operation.started_at).to_std().ok().map(|span| span.as_secs_f64())
            });
        spans.sum()
    }
}

/// Provisions a tenant as the service would, and takes it away again.
pub async fn run(world: &World) -> Provisioned {
    let (url, serving) = tests::serve_tenant_api().await;
    let mut platform = Platform::from_env(&phases::step_names()).expect("TENANTRY_CONFIG");
    // Names that may be forgotten soon, as taking the tenant out waits for that.
    platform.dns = tests::dns();
    for region in platform.regions.values_mut() {
        region.tenant_api_url.clone_from(&url);
    }
    let platform = Arc::new(platform);
    let store = Store::connect_to(&world.database_url, 24).expect("store");
    let runner =
        dispatcher::registry::runner(store.clone(), platform.clone()).await.expect("the phases connect");
    let watched = Arc::new(Watched {
        inner: Embedded(Arc::new(runner)),
        pool: world.pool.clone(),
        entries: Mutex::default(),
        watching: Mutex::default(),
    });
    let broker = Broker::new(&world.amqp_url, "bench").expect("broker");
    let dispatcher = Dispatcher::start(
        store.into(),
        world.database_url.clone(),
        &broker,
        watched.clone(),
        Arc::new(platform.engine.clone()),
    );
    let slug = format!("bench-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let tenant = world
        .tenant_as(&slug, &[], |new| {
            new.phases = phases::plan(DeploymentType::ContainerPerTenant, Tier::Professional);
        })
        .await;
    let row = world.until(tenant, "ACTIVE").await.tenant;
    let took = row.provisioning_completed_at.expect("it is complete") - row.created_at;
    let watching = *watched.watching.lock().unwrap();
    let total = took.to_std().unwrap_or_default().saturating_sub(watching).as_secs_f64();
    let entries = std::mem::take(&mut *watched.entries.lock().unwrap());
    world.ask(tenant, Verb::Delete).await.expect("a deprovisioning run");
    world.until(tenant, "DELETED").await;
    dispatcher.stop().await.expect("stops");
    serving.abort();
    Provisioned { total, entries }
}
