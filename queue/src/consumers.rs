//! One consumer for each tenant with a live run.
//!
//! lapin ends a consumer silently when its channel fails or its queue is deleted; each consumer's task opens it again for
//! as long as the tenant has a live run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::phase::queue_name;
use futures::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions};
use lapin::{Channel, Consumer};
use model::{RunId, TenantId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Broker, BrokerError, bounded};
use crate::handle::{Handler, Message};
use crate::tenant_queue::TenantQueues;

/// Two, so that one hanging invocation does not keep a tenant's next message waiting. Postgres fences.
const PREFETCH: u16 = 2;

/// The consumers of this process.
#[derive(Clone)]
pub(crate) struct Consumers {
    broker: Broker,
    queues: TenantQueues,
    handler: Handler,
    running: Arc<Mutex<HashMap<TenantId, Entry>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// One consumer. It belongs to a run, not only to a tenant: RabbitMQ can miss telling a consumer that its queue is gone
/// when a queue of the same name comes at once, as when a tenant is deprovisioned the moment it is whole.
struct Entry {
    run: RunId,
    stop: CancellationToken,
    opened: Opened,
}

/// Since when the consumer consumes.
type Opened = Arc<Mutex<Option<Instant>>>;

impl Consumers {
    pub(crate) fn new(
        broker: &Broker,
        queues: TenantQueues,
        handler: Handler,
        stop: CancellationToken,
    ) -> Self {
        Self {
            broker: broker.for_purpose("consumer"),
            queues,
            handler,
            running: Arc::default(),
            tasks: TaskTracker::new(),
            stop,
        }
    }

    /// Makes the set of consumers that of the `live` runs.
    pub(crate) fn set(&self, live: &[(TenantId, RunId)]) {
        let live: HashMap<TenantId, RunId> = live.iter().copied().collect();
        let mut running = locked(&self.running);
        running.retain(|tenant, entry| {
            let keep = live.get(tenant) == Some(&entry.run);
            if !keep {
                entry.stop.cancel();
            }
            keep
        });
        for (tenant, run) in live {
            if !running.contains_key(&tenant) {
                self.start(&mut running, tenant, run);
            }
        }
    }

    /// Opens a tenant's consumer again if it was opened before `missing`, when its queue was found missing.
    pub(crate) fn reopen(&self, tenant: TenantId, missing: Instant) {
        let mut running = locked(&self.running);
        let Some(entry) = running.get(&tenant) else { return };
        if locked(&entry.opened).is_some_and(|opened| opened < missing) {
            entry.stop.cancel();
            let run = entry.run;
            running.remove(&tenant);
            self.start(&mut running, tenant, run);
        }
    }

    fn start(&self, running: &mut HashMap<TenantId, Entry>, tenant: TenantId, run: RunId) {
        if self.stop.is_cancelled() {
            return;
        }
        let (stop, opened) = (self.stop.child_token(), Opened::default());
        running.insert(tenant, Entry { run, stop: stop.clone(), opened: opened.clone() });
        let consumers = self.clone();
        self.tasks.spawn(async move { consumers.consume(tenant, &stop, &opened).await });
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        locked(&self.running).len()
    }

    async fn consume(&self, tenant: TenantId, stop: &CancellationToken, opened: &Opened) {
        let mut pause = Duration::from_millis(100);
        while !stop.is_cancelled() {
            match self.consume_once(tenant, stop, opened).await {
                Ok(true) => pause = Duration::from_millis(100),
                // No live run: the next look at the live tenants brings it back if one comes.
                Ok(false) => break,
                Err(error) => tracing::debug!(%error, tenant.id = %tenant, "consumer ended; opened again"),
            }
            *locked(opened) = None;
            let spread = pause.mul_f64(0.5 + rand::random::<f64>());
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(spread) => {}
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
        // A cancelled one was taken out by whoever cancelled it, and a newer one may be in its place.
        let mut running = locked(&self.running);
        if !stop.is_cancelled() {
            running.remove(&tenant);
        }
    }

    /// Consumes until the consumer ends; false if there is no queue to consume.
    async fn consume_once(
        &self,
        tenant: TenantId,
        stop: &CancellationToken,
        opened: &Opened,
    ) -> Result<bool, BrokerError> {
        let channel = self.broker.channel().await?;
        let mut consumer = match self.queues.consume(tenant, &channel, PREFETCH).await {
            Ok(Some(consumer)) => consumer,
            nothing => {
                self.broker.done_with(channel).await;
                return nothing.map(|_| false);
            }
        };
        *locked(opened) = Some(Instant::now());
        let steps = TaskTracker::new();
        let ended = loop {
            let delivery = tokio::select! {
                () = stop.cancelled() => break Ok(true),
                delivery = consumer.next() => delivery,
            };
            match delivery {
                Some(Ok(delivery)) => self.spawn(&steps, tenant, delivery),
                Some(Err(error)) => break Err(error.into()),
                None => break Ok(true),
            }
        };
        let consumers = self.clone();
        self.tasks.spawn(async move {
            if channel.status().connected() {
                consumers.finish(tenant, &channel, &mut consumer, &steps).await;
            }
            consumers.broker.done_with(channel).await;
        });
        ended
    }

    /// Waits for the steps under way, which still ack on this channel.
    async fn finish(
        &self,
        tenant: TenantId,
        channel: &Channel,
        consumer: &mut Consumer,
        steps: &TaskTracker,
    ) {
        steps.close();
        if self.stop.is_cancelled() {
            // No more messages. Without an answer: when the queue is being deleted, RabbitMQ answers twice, and lapin closes
            // the connection over the second.
            let options = BasicCancelOptions { nowait: true };
            drop(bounded(channel.basic_cancel(consumer.tag(), options)).await);
            return steps.wait().await;
        }
        // The run has ended, and another dispatcher may be deleting the queue: RabbitMQ 3 closes the whole connection over a
        // cancellation that meets that. What may still come is handled; the channel's end gives back the rest.
        loop {
            tokio::select! {
                () = steps.wait() => return,
                delivery = consumer.next() => match delivery {
                    Some(Ok(delivery)) => self.spawn(steps, tenant, delivery),
                    _ => return steps.wait().await,
                },
            }
        }
    }

    fn spawn(&self, steps: &TaskTracker, tenant: TenantId, delivery: Delivery) {
        let handler = self.handler.clone();
        steps.spawn(async move {
            let message = Message {
                queue: queue_name(tenant),
                redelivered: delivery.redelivered,
                delayed: has_death(&delivery),
                body: delivery.data,
            };
            handler.handle(message).await;
            // A stale ack (the channel is gone) is no harm: the message comes again and finds its run moved on.
            if let Err(error) = delivery.acker.ack(BasicAckOptions::default()).await {
                tracing::debug!(%error, "message not acked");
            }
        });
    }

    /// Ends every consumer, gives the steps under way some time, and closes the connections.
    pub(crate) async fn close(&self, within: Duration) {
        self.tasks.close();
        if tokio::time::timeout(within, self.tasks.wait()).await.is_err() {
            tracing::warn!("steps were still under way at the end; their leases decide");
        }
        self.broker.close().await;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while one of these was held cannot have left it half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// RabbitMQ adds `x-death` to what a delay queue has let go.
fn has_death(delivery: &Delivery) -> bool {
    delivery.properties.headers().as_ref().is_some_and(|headers| headers.inner().contains_key("x-death"))
}
