//! The sweeper: publishes for runs that nobody has moved for too long, deletes queues that nothing needs, and keeps the
//! set of consumers. The ack chain is the fast path; this is the guarantee.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::store::{CHANNEL, Store, StoreError, Swept};
use model::platform::Engine;
use sqlx::postgres::PgListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::consumers::Consumers;
use crate::tenant_queue::{Published, TenantQueues};

/// How often the whole set of live tenants, the queues left behind and old keys are looked at, apart from hints.
const RECONCILE_EVERY: Duration = Duration::from_secs(5);

pub(crate) struct Sweeper {
    pub(crate) store: Store,
    pub(crate) engine: Arc<Engine>,
    pub(crate) queues: TenantQueues,
    pub(crate) consumers: Consumers,
    pub(crate) paused: watch::Sender<bool>,
    pub(crate) hint: Arc<Notify>,
}

impl Sweeper {
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let mut reconciled: Option<Instant> = None;
        let mut hinted = true;
        while !stop.is_cancelled() {
            let due = reconciled.is_none_or(|at| at.elapsed() >= RECONCILE_EVERY);
            if let Err(error) = self.look(hinted || due, due).await {
                tracing::warn!(%error, "sweep failed; tried again");
            } else if due {
                reconciled = Some(Instant::now());
            }
            let tick = self.engine.sweep_tick.duration().mul_f64(0.75 + rand::random::<f64>() / 2.0);
            hinted = tokio::select! {
                () = stop.cancelled() => break,
                () = self.hint.notified() => true,
                () = tokio::time::sleep(tick) => false,
            };
        }
    }

    async fn look(&self, consumers: bool, housekeeping: bool) -> Result<(), StoreError> {
        let paused = self.store.dispatching_paused().await?;
        self.paused.send_if_modified(|was| std::mem::replace(was, paused) != paused);
        if consumers {
            self.consumers.set(&self.store.live_runs().await?);
        }
        if !paused {
            loop {
                let swept = self.store.sweep(&self.engine).await?;
                let full = i64::try_from(swept.len()).unwrap_or(i64::MAX) >= self.engine.sweep_batch;
                futures::future::join_all(swept.iter().map(|run| self.publish(run))).await;
                if !full {
                    break;
                }
            }
        }
        if housekeeping {
            for tenant in self.store.queues_left().await? {
                if let Err(error) = self.queues.delete(tenant).await {
                    tracing::warn!(%error, tenant.id = %tenant, "queue not deleted; tried again");
                    break;
                }
            }
            self.store.forget_keys(self.engine.idempotency).await?;
        }
        Ok(())
    }

    async fn publish(&self, swept: &Swept) {
        let job = &swept.job;
        if swept.lease_over
            && let Err(error) = self.store.take_over(job.run_id, job.seq, &self.engine).await
        {
            tracing::warn!(%error, run.id = %job.run_id, "lease not taken over; tried again");
            return;
        }
        // After a take-over the run may have moved (a recorded request took effect); then this message is stale, and the
        // run, due at once, is swept again.
        match self.queues.publish(job).await {
            Ok(Published::ToQueue) => {}
            Ok(Published::ToNewQueue(since)) => self.consumers.reopen(job.tenant_id, since),
            Err(error) => tracing::warn!(%error, run.id = %job.run_id, "not published; tried again"),
        }
    }
}

/// Turns notifications into hints, for as long as it can listen; listens again after a loss.
pub(crate) async fn listen(url: String, hint: Arc<Notify>, stop: CancellationToken) {
    let mut pause = Duration::from_millis(200);
    while !stop.is_cancelled() {
        let listening = async {
            let mut listener = PgListener::connect(&url).await?;
            listener.listen(CHANNEL).await?;
            // What was announced while nobody listened.
            hint.notify_one();
            loop {
                listener.recv().await?;
                hint.notify_one();
            }
        };
        let ended: Result<(), sqlx::Error> = tokio::select! {
            () = stop.cancelled() => return,
            ended = listening => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "listener ended; listening again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}
