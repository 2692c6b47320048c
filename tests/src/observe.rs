//! What tests look at beside a run's own status: all its rows, its sweeps, what went through the delay queues.

use engine::phase::{Job, queue_name};
use model::{PhaseName, RunId, TenantId};
use queue::{Broker, topology};
use serde_json::Value;
use sqlx::{Executor as _, PgPool};

use crate::world::{World, eventually};

/// Gets a copy of every message that goes into a delay queue.
const TAP: &str = "tap";

/// Makes every look of a sweeper at a run leave a row behind.
pub(crate) async fn record_sweeps(pool: &PgPool) {
    pool.execute(
        "CREATE TABLE swept (id bigserial PRIMARY KEY, run_id uuid, seq bigint);
         CREATE FUNCTION record_sweep() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO swept (run_id, seq) VALUES (NEW.id, NEW.seq); RETURN NULL; END $$;
         CREATE TRIGGER record_sweep AFTER UPDATE ON provisioning_runs FOR EACH ROW
         WHEN (NEW.sweeps > OLD.sweeps) EXECUTE FUNCTION record_sweep()",
    )
    .await
    .expect("sweeps are recorded");
}

impl World {
    /// Everything that is stored of a tenant, in every table: two equal values mean that nothing was written between.
    pub async fn rows(&self, tenant: TenantId) -> Value {
        sqlx::query_scalar(
            "SELECT jsonb_build_object(
                 'tenant', (SELECT to_jsonb(t) FROM tenants t WHERE id = $1),
                 'runs', (SELECT jsonb_agg(to_jsonb(r) ORDER BY r.id) FROM provisioning_runs r WHERE tenant_id = $1),
                 'phases', (SELECT jsonb_agg(to_jsonb(p) ORDER BY p.run_id, p.position) FROM provisioning_phases p
                            JOIN provisioning_runs r ON r.id = p.run_id WHERE r.tenant_id = $1),
                 'held', (SELECT jsonb_agg(to_jsonb(h) ORDER BY h.position) FROM tenant_phases h WHERE tenant_id = $1),
                 'audit', (SELECT jsonb_agg(to_jsonb(a) ORDER BY a.number) FROM provisioning_audit_logs a
                           WHERE tenant_id = $1),
                 'outbox', (SELECT jsonb_agg(to_jsonb(o) ORDER BY o.id) FROM outbox o WHERE tenant_id = $1))",
        )
        .bind(tenant.0)
        .fetch_one(&self.pool)
        .await
        .expect("rows")
    }

    /// Waits for the last that is written of finished runs: that their queue is deleted.
    pub async fn settled(&self, tenant: TenantId) {
        eventually("the queue is deleted", || async {
            let left: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM provisioning_runs WHERE tenant_id = $1 AND NOT queue_deleted",
            )
            .bind(tenant.0)
            .fetch_one(&self.pool)
            .await
            .expect("runs");
            left == 0
        })
        .await;
    }

    /// How often a sweeper has looked at the tenant's runs.
    pub async fn sweeps(&self, tenant: TenantId) -> u64 {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM swept s JOIN provisioning_runs r ON r.id = s.run_id WHERE r.tenant_id = $1",
        )
        .bind(tenant.0)
        .fetch_one(&self.pool)
        .await
        .expect("sweeps");
        count.unsigned_abs()
    }

    /// Lets the time pass after which a sweeper looks at the tenant's run.
    pub async fn sweep_now(&self, tenant: TenantId) {
        sqlx::query(
            "UPDATE provisioning_runs SET sweep_at = clock_timestamp() WHERE tenant_id = $1 AND finished_at IS NULL",
        )
        .bind(tenant.0)
        .execute(&self.pool)
        .await
        .expect("runs");
    }

    /// How often a phase of the tenant was entered, in either direction: once for each claim that got so far.
    pub async fn entered(&self, slug: &str) -> u64 {
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM effects WHERE slug = $1 AND what LIKE 'enter %'")
                .bind(slug)
                .fetch_one(&self.pool)
                .await
                .expect("effects table");
        count.unsigned_abs()
    }

    /// The message that the tenant's newest run is at, moved by `ahead` transitions.
    pub async fn job(&self, tenant: TenantId, ahead: i64) -> Job {
        let status = self.status(tenant).await;
        let phase = status
            .phases
            .iter()
            .find(|phase| phase.position == status.run.cursor)
            .map_or(PhaseName::TAKE_INVENTORY, |phase| PhaseName::from(phase.name.clone()));
        Job::new(tenant, RunId(status.run.id), phase, status.run.seq + ahead)
    }

    /// A connection to the world's broker.
    pub fn broker(&self) -> Broker {
        Broker::new(&self.amqp_url, "test").expect("broker")
    }

    /// Declares the tenant's queue, as a dispatcher would.
    pub async fn declare_queue(&self, tenant: TenantId) {
        let broker = self.broker();
        let channel = broker.channel().await.expect("channel");
        topology::declare_tenant_queue(&channel, &queue_name(tenant)).await.expect("a queue");
        broker.close().await;
    }

    /// From now on every message that goes into a delay queue is copied for [`World::tapped`].
    pub async fn tap_delays(&self) {
        let broker = self.broker();
        // A new connection's first channel declares the fixed topology.
        broker.channel().await.expect("topology");
        self.management.create_queue(TAP).await;
        for seconds in topology::DELAYS {
            self.management.bind(&topology::delay_exchange(seconds), TAP).await;
        }
        broker.close().await;
    }

    /// The jobs that have gone into delay queues since the last call, each with the number of its seconds.
    pub async fn tapped(&self) -> Vec<(Job, u32)> {
        let messages = self.management.take(TAP).await;
        messages
            .iter()
            .map(|message| {
                let body = message["payload"].as_str().expect("a body");
                let exchange = message["exchange"].as_str().expect("an exchange");
                let seconds = exchange.trim_start_matches("delay.").trim_end_matches('s');
                (Job::decode(body.as_bytes()).expect("a job"), seconds.parse().expect("seconds"))
            })
            .collect()
    }
}
