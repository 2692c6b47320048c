//! What becomes of one message.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use engine::phase::{Answer, Job};
use engine::store::{Disposition, Store};
use model::PhaseName;
use model::platform::Engine;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::invoker::{Invoked, Invoker};
use crate::publisher::{PublishError, Publisher};
use crate::tenant_queue::TenantQueues;
use crate::topology;

/// One delivery, without its broker.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) body: Vec<u8>,
    pub(crate) queue: String,
    pub(crate) redelivered: bool,
    /// It came out of a delay queue.
    pub(crate) delayed: bool,
}

/// Places for steps in flight.
#[derive(Clone, Debug)]
struct Places {
    all: Arc<Semaphore>,
    by_name: Arc<HashMap<String, Arc<Semaphore>>>,
}

/// Handles messages. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Handler {
    store: Store,
    engine: Arc<Engine>,
    invoker: Arc<dyn Invoker>,
    publisher: Publisher,
    queues: TenantQueues,
    places: Places,
    paused: watch::Receiver<bool>,
}

impl Handler {
    pub(crate) fn new(
        store: Store,
        engine: Arc<Engine>,
        invoker: Arc<dyn Invoker>,
        publisher: Publisher,
        queues: TenantQueues,
        paused: watch::Receiver<bool>,
    ) -> Self {
        let by_name = engine
            .in_flight_per_phase
            .iter()
            .chain(&engine.in_flight_per_dependency)
            .map(|(name, places)| (name.clone(), Arc::new(Semaphore::new(*places))))
            .collect();
        let places = Places { all: Arc::new(Semaphore::new(engine.in_flight)), by_name: Arc::new(by_name) };
        Self { store, engine, invoker, publisher, queues, places, paused }
    }

    /// Does what the message calls for. When it returns, the message can be acked: whatever must follow is published, or
    /// the sweeper will see to it.
    pub(crate) async fn handle(&self, message: Message) {
        let job = match Job::decode(&message.body) {
            Ok(job) if job.queue() == message.queue => job,
            Ok(job) => {
                let reason = format!("a job of {} in another tenant's queue", job.queue());
                return self.bury(&message, &reason).await;
            }
            Err(error) => return self.bury(&message, &error.to_string()).await,
        };
        if *self.paused.borrow() {
            // Turned on again, every live run is looked at at once.
            return;
        }
        let depends = self.store.tenancy().phase(&job.phase).map_or(&[][..], |known| known.depends);
        let Some(_places) = self.places.take(&job.phase, depends, self.engine.place_within.duration()).await
        else {
            self.later(&job, Duration::from_secs(1)).await;
            return;
        };
        if self.invoker.remote() && !self.worth_invoking(&job, &message).await {
            return;
        }
        self.invoke(&job, &message).await;
    }

    /// Looks at the row before a function is started for nothing.
    async fn worth_invoking(&self, job: &Job, message: &Message) -> bool {
        match self.store.peek(job.run_id, job.seq).await {
            Ok(Disposition::Due) => true,
            Ok(Disposition::NotDue(remaining)) => self.wait_out(job, message, remaining).await,
            Ok(Disposition::Newer) => {
                matches!(self.store.peek(job.run_id, job.seq).await, Ok(Disposition::Due))
            }
            Ok(Disposition::Unknown) => {
                self.bury(message, "no such run").await;
                false
            }
            Ok(Disposition::Busy | Disposition::Stale) => false,
            Err(error) => {
                tracing::warn!(%error, run.id = %job.run_id, "cannot look at the run; left to the sweeper");
                false
            }
        }
    }

    /// A message that is not due: one out of a delay queue goes round again for what remains, or, with less than a second
    /// to go, waits here. Any other is a duplicate of one that will come. True when it is due now.
    async fn wait_out(&self, job: &Job, message: &Message, remaining: Duration) -> bool {
        if !message.delayed {
            return false;
        }
        if topology::delay_for(remaining).is_some() {
            self.later(job, remaining).await;
            return false;
        }
        tokio::time::sleep(remaining).await;
        true
    }

    async fn invoke(&self, job: &Job, message: &Message) {
        // At most three looks: a message that becomes due while it is looked at is worth a second one.
        for _ in 0..3 {
            let headers = json!({});
            let invoked = self.call(job, &headers, message.redelivered).await;
            let answer = match invoked {
                Invoked::Answered(answer) => answer,
                Invoked::Throttled => return self.later(job, Duration::from_secs(1)).await,
                Invoked::Unknown(why) => {
                    tracing::warn!(tenant.id = %job.tenant_id, run.id = %job.run_id, phase = %job.phase, seq = job.seq,
                        why, "the outcome of an invocation is unknown; left to its lease");
                    return;
                }
            };
            match answer {
                Answer::Next { job, delay_ms } => {
                    return self.next(&job, Duration::from_millis(delay_ms)).await;
                }
                Answer::Finished => {
                    if let Err(error) = self.queues.delete(job.tenant_id).await {
                        tracing::warn!(%error, tenant.id = %job.tenant_id, "queue not deleted; left to the sweeper");
                    }
                    return;
                }
                Answer::NotDue { remaining_ms } => {
                    if !self.wait_out(job, message, Duration::from_millis(remaining_ms)).await {
                        return;
                    }
                }
                Answer::Unknown => return self.bury(message, "no such run").await,
                // Read once more, as a standby that was behind may have caught up.
                Answer::Newer => {}
                Answer::Busy | Answer::Stale | Answer::Fenced | Answer::Idle => return,
            }
        }
    }

    async fn call(&self, job: &Job, headers: &Value, redelivered: bool) -> Invoked {
        if !self.invoker.remote() {
            return self.invoker.invoke(job, headers, redelivered).await;
        }
        tokio::select! {
            invoked = self.invoker.invoke(job, headers, redelivered) => invoked,
            why = crate::watch::lost(&self.store, job) => Invoked::Unknown(why.to_owned()),
        }
    }

    /// Publishes what comes next: at once, after a short wait in place, or through a delay queue.
    async fn next(&self, job: &Job, delay: Duration) {
        if topology::delay_for(delay).is_some() {
            return self.later(job, delay).await;
        }
        // A sleep of nothing would still wait for the timer's next millisecond.
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        self.persist(job, || self.queues.publish(job)).await;
    }

    async fn later(&self, job: &Job, delay: Duration) {
        let seconds = topology::delay_for(delay).unwrap_or(topology::DELAYS[0]);
        self.persist(job, || self.publisher.publish_later(job, seconds)).await;
    }

    /// Publishes in spite of a short outage of the broker. After that the sweeper sees to it.
    async fn persist<F, P, T>(&self, job: &Job, publish: F)
    where
        F: Fn() -> P,
        P: Future<Output = Result<T, PublishError>>,
    {
        let patience = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(2))
            .with_max_times(5)
            .with_jitter();
        if let Err(error) = publish.retry(patience).await {
            tracing::warn!(%error, run.id = %job.run_id, seq = job.seq, "not published; left to the sweeper");
        }
    }

    async fn bury(&self, message: &Message, reason: &str) {
        tracing::warn!(queue = message.queue, reason, "message put aside");
        let bury = || self.publisher.bury(&message.body, reason, &message.queue);
        if let Err(error) = bury.retry(ExponentialBuilder::default().with_max_times(5)).await {
            // Acked all the same: one message that is no job must not stop a tenant's queue.
            tracing::error!(%error, queue = message.queue, "message could not be put aside");
        }
    }
}

impl Places {
    /// A place in the dispatcher and one for the phase and each of its dependencies; none if that takes too long.
    async fn take(
        &self,
        phase: &PhaseName,
        depends: &[&str],
        within: Duration,
    ) -> Option<Vec<OwnedSemaphorePermit>> {
        let names = std::iter::once(phase.as_str()).chain(depends.iter().copied());
        let narrow: Vec<Arc<Semaphore>> = names.filter_map(|name| self.by_name.get(name).cloned()).collect();
        let take = async {
            let mut taken = Vec::with_capacity(narrow.len() + 1);
            // The narrow ones first, so that a crowd before one of them does not fill the dispatcher.
            for places in narrow.into_iter().chain([self.all.clone()]) {
                taken.push(places.acquire_owned().await.ok()?);
            }
            Some(taken)
        };
        tokio::time::timeout(within, take).await.ok().flatten()
    }
}
