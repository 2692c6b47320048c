//! Declaring and deleting a tenant's queue, both under the tenant's lock, so that no message of a new run is published
//! to a queue that an older run's end is about to delete.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable as _};
use engine::phase::{Job, queue_name};
use engine::store::Store;
use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use model::TenantId;
use tokio::sync::Semaphore;

use crate::broker::{Broker, BrokerError, bounded};
use crate::publisher::{PublishError, Publisher};
use crate::topology;

/// The sequence number of a run's first transition.
const FIRST: i64 = 1;

/// Where a message went.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Published {
    /// To the queue that was there.
    ToQueue,
    /// To one that was missing at this time and had to be declared.
    ToNewQueue(Instant),
}

/// Locks held at once for opening consumers, and as many again for first messages and deletions. Each holds a connection
/// to the database while the broker works, and a dispatcher that starts with a thousand tenants would leave none for the
/// steps. The broker makes no more queues a second with more of them.
const TURNS: usize = 4;

/// The tenants' queues.
#[derive(Clone, Debug)]
pub(crate) struct TenantQueues {
    opening: Arc<Semaphore>,
    changing: Arc<Semaphore>,
    store: Store,
    broker: Broker,
    publisher: Publisher,
}

impl TenantQueues {
    pub(crate) fn new(store: Store, broker: &Broker, publisher: Publisher) -> Self {
        let turns = || Arc::new(Semaphore::new(TURNS));
        Self { opening: turns(), changing: turns(), store, broker: broker.for_purpose("queues"), publisher }
    }

    /// Declares the queue and begins to consume it, if the tenant has a live run; none if it has not. All of it under the
    /// lock: a broker that is asked to consume a queue while it deletes it may close the whole connection.
    pub(crate) async fn consume(
        &self,
        tenant: TenantId,
        channel: &Channel,
        prefetch: u16,
    ) -> Result<Option<Consumer>, BrokerError> {
        // Never closed, so this cannot fail; a failure would only mean one more at once.
        let _turn = self.opening.acquire().await.ok();
        let mut consumer = None;
        self.store
            .with_queue_lock(tenant, async |live| {
                if live {
                    let consuming = bounded(consume(channel, tenant, prefetch)).await;
                    if matches!(consuming, Err(BrokerError::Silent)) {
                        // A broker that is silent as a whole loses nothing by the next line. One that answers others: a quorum
                        // queue that was being made when the broker was killed has no leader, and never gets one.
                        tracing::warn!(tenant.id = %tenant, "queue does not answer; recreated");
                        self.discard(tenant).await?;
                    }
                    consumer = Some(consuming?);
                }
                Ok::<_, BrokerError>(false)
            })
            .await?;
        Ok(consumer)
    }

    /// Deletes the queue unless the tenant has a live run. A queue that is not there counts as deleted.
    pub(crate) async fn delete(&self, tenant: TenantId) -> Result<(), BrokerError> {
        let _turn = self.changing.acquire().await.ok();
        self.store
            .with_queue_lock(tenant, async |live| {
                if live {
                    return Ok(false);
                }
                let channel = self.broker.channel().await?;
                // Never if-empty or if-unused: quorum queues answer those by closing the connection.
                let deleted =
                    bounded(channel.queue_delete(queue_name(tenant).into(), QueueDeleteOptions::default()))
                        .await;
                self.broker.done_with(channel).await;
                deleted?;
                Ok::<_, BrokerError>(true)
            })
            .await
    }

    /// Deletes a queue that does not work; the next declaration makes it anew. Its messages are lost, which the sweeper
    /// makes good. Under the tenant's lock.
    async fn discard(&self, tenant: TenantId) -> Result<(), BrokerError> {
        let channel = self.broker.channel().await?;
        let deleted =
            bounded(channel.queue_delete(queue_name(tenant).into(), QueueDeleteOptions::default())).await;
        self.broker.done_with(channel).await;
        deleted.map(drop)
    }

    /// Publishes a job that is due, declaring its queue where it is missing. A job of a run that has ended meanwhile is
    /// dropped: there is nothing left to do.
    pub(crate) async fn publish(&self, job: &Job) -> Result<Published, PublishError> {
        // The first of a run may meet the deletion of the queue of the run before it, which can take a message with it
        // that it has confirmed.
        if job.seq > FIRST {
            match self.publisher.publish(job).await {
                Err(PublishError::Unroutable(_) | PublishError::Refused(_)) => {}
                published => return published.map(|()| Published::ToQueue),
            }
        }
        let _turn = self.changing.acquire().await.ok();
        let mut published = Ok(Published::ToQueue);
        self.store
            .with_queue_lock(job.tenant_id, async |live| {
                if live {
                    published = self.publish_and_declare(job).await;
                }
                Ok::<_, BrokerError>(false)
            })
            .await?;
        published
    }

    async fn publish_and_declare(&self, job: &Job) -> Result<Published, PublishError> {
        match self.publish_accepted(job).await {
            Err(PublishError::Unroutable(_)) => {
                let missing = Instant::now();
                let channel = self.broker.channel().await?;
                let declared =
                    bounded(topology::declare_tenant_queue(&channel, &queue_name(job.tenant_id))).await;
                self.broker.done_with(channel).await;
                declared?;
                self.publish_accepted(job).await?;
                Ok(Published::ToNewQueue(missing))
            }
            published => published.map(|()| Published::ToQueue),
        }
    }

    /// Publishes again what is refused: a quorum queue takes messages only some milliseconds after it can be routed to,
    /// when it has elected its leader, and the first message of a new tenant is often there before.
    async fn publish_accepted(&self, job: &Job) -> Result<(), PublishError> {
        let patience = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(10))
            .with_max_delay(Duration::from_millis(500))
            .with_max_times(8)
            .with_jitter();
        let publish = || self.publisher.publish(job);
        publish.retry(patience).when(|error| matches!(error, PublishError::Refused(_))).await
    }

    pub(crate) async fn close(&self) {
        self.broker.close().await;
    }
}

async fn consume(channel: &Channel, tenant: TenantId, prefetch: u16) -> lapin::Result<Consumer> {
    let queue = queue_name(tenant);
    topology::declare_tenant_queue(channel, &queue).await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    channel.basic_consume(queue.into(), "".into(), options, arguments).await
}
