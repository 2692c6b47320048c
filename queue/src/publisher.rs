//! Publishing with confirms. A message that was not confirmed was not published, as far as anybody is told.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::phase::Job;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::{Mutex, MutexGuard, Semaphore};

use crate::broker::{Broker, BrokerError, bounded};
use crate::topology;

/// Publishes under way at once. Each has a channel to itself, since a returned message could otherwise be taken for
/// another's: lapin pairs returns with confirms by order alone.
///
/// A queue's messages go by the same channel as long as that is free: a quorum queue takes note of every channel that
/// ever publishes to it, by an entry in its log.
const CHANNELS: usize = 128;

/// Why a message was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// There is no such queue.
    #[error("queue {0} does not exist")]
    Unroutable(String),
    /// The broker refused it.
    #[error("RabbitMQ refused a message for {0}")]
    Refused(String),
    /// The broker is not there or did not confirm in time; the message may or may not be there.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Publishes messages. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    broker: Broker,
    channels: Arc<[Mutex<Option<Channel>>]>,
    places: Arc<Semaphore>,
    published: Arc<AtomicU64>,
}

impl Publisher {
    /// A publisher with connections of its own.
    pub fn new(broker: &Broker) -> Self {
        Self {
            broker: broker.for_purpose("publisher"),
            channels: std::iter::repeat_with(Mutex::default).take(CHANNELS).collect(),
            places: Arc::new(Semaphore::new(CHANNELS)),
            published: Arc::default(),
        }
    }

    /// How many messages were published and confirmed.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Publishes a job to its tenant's queue.
    pub async fn publish(&self, job: &Job) -> Result<(), PublishError> {
        self.send("", &job.queue(), &job.encode(), FieldTable::default(), &message_id(job), true).await
    }

    /// Publishes a job to the delay queue of `seconds`, from where it comes to its tenant's queue.
    pub async fn publish_later(&self, job: &Job, seconds: u32) -> Result<(), PublishError> {
        let exchange = topology::delay_exchange(seconds);
        // The fanout always routes; whether the tenant's queue is there is seen when the delay is over.
        self.send(&exchange, &job.queue(), &job.encode(), FieldTable::default(), &message_id(job), true).await
    }

    /// Puts a message that is no job aside, with the reason and the queue it came from.
    pub async fn bury(&self, body: &[u8], reason: &str, queue: &str) -> Result<(), PublishError> {
        let mut headers = FieldTable::default();
        headers.insert("x-tenantry-reason".into(), AMQPValue::LongString(reason.into()));
        headers.insert("x-tenantry-queue".into(), AMQPValue::LongString(queue.into()));
        let id = uuid::Uuid::now_v7().to_string();
        self.send("", topology::DEAD, body, headers, &id, true).await
    }

    /// Publishes any body to any queue.
    pub async fn publish_raw(&self, queue: &str, body: &[u8]) -> Result<(), PublishError> {
        let id = uuid::Uuid::now_v7().to_string();
        self.send("", queue, body, FieldTable::default(), &id, true).await
    }

    async fn send(
        &self,
        exchange: &str,
        routing_key: &str,
        body: &[u8],
        headers: FieldTable,
        id: &str,
        mandatory: bool,
    ) -> Result<(), PublishError> {
        // Never closed, so this cannot fail; a failure would only mean one more publish at once.
        let _place = self.places.acquire().await.ok();
        let mut slot = self.slot(routing_key).await;
        let channel = self.open(&mut slot).await?;
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_message_id(id.into())
            .with_app_id("tenantry".into())
            // Persistent: survives a restart of the broker.
            .with_delivery_mode(2)
            .with_headers(headers);
        // Mandatory: a message for a queue that is not there comes back instead of vanishing.
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        let sent = bounded(async {
            let confirm =
                channel.basic_publish(exchange.into(), routing_key.into(), options, body, properties).await?;
            confirm.await
        })
        .await;
        match sent {
            Ok(Confirmation::Ack(None)) => {
                self.published.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => {
                Err(PublishError::Unroutable(routing_key.to_owned()))
            }
            Ok(_) => Err(PublishError::Refused(routing_key.to_owned())),
            Err(error) => {
                // A confirm that is still to come would be taken for the next message's.
                if let Some(channel) = slot.take() {
                    self.broker.done_with(channel).await;
                }
                Err(error.into())
            }
        }
    }

    /// The queue's channel, or the next one that is free.
    async fn slot(&self, routing_key: &str) -> MutexGuard<'_, Option<Channel>> {
        let mut hasher = DefaultHasher::new();
        routing_key.hash(&mut hasher);
        let home = usize::try_from(hasher.finish() % CHANNELS as u64).unwrap_or_default();
        let slots = self.channels[home..].iter().chain(&self.channels[..home]);
        for slot in slots {
            if let Ok(free) = slot.try_lock() {
                return free;
            }
        }
        // There are as many places as channels, so one has become free behind the search.
        self.channels[home].lock().await
    }

    /// The channel in the slot, opened if there is none that works.
    async fn open<'a>(&self, slot: &'a mut Option<Channel>) -> Result<&'a Channel, BrokerError> {
        if !slot.as_ref().is_some_and(|channel| channel.status().connected()) {
            *slot = None;
            let channel = self.broker.channel().await?;
            bounded(channel.confirm_select(ConfirmSelectOptions::default())).await?;
            *slot = Some(channel);
        }
        slot.as_ref().ok_or(BrokerError::Silent)
    }

    /// Whether the broker is there; tries to connect if it is not.
    pub async fn ready(&self) -> Result<(), BrokerError> {
        let mut slot = self.slot(topology::DEAD).await;
        self.open(&mut slot).await.map(drop)
    }

    /// Waits for publishes under way, then closes.
    pub async fn close(&self) {
        let all = u32::try_from(CHANNELS).unwrap_or(u32::MAX);
        drop(tokio::time::timeout(Duration::from_secs(15), self.places.acquire_many(all)).await);
        self.broker.close().await;
    }
}

fn message_id(job: &Job) -> String {
    format!("{}/{}", job.run_id, job.seq)
}
