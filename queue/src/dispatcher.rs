//! The dispatcher: consumers, sweeper and listener of one process. Any number of them work side by side.

use std::sync::Arc;
use std::time::Duration;

use engine::store::{Store, StoreError};
use model::platform::Engine;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, BrokerError};
use crate::consumers::Consumers;
use crate::handle::Handler;
use crate::invoker::Invoker;
use crate::publisher::Publisher;
use crate::sweeper::{Sweeper, listen};
use crate::tenant_queue::TenantQueues;

/// A running dispatcher.
#[derive(Debug)]
pub struct Dispatcher {
    health: Health,
    stop: CancellationToken,
    work: JoinHandle<()>,
}

/// What a dispatcher says of itself. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    store: Store,
    publisher: Publisher,
    consumers: Consumers,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

impl Health {
    /// Whether database and broker answer.
    pub async fn ready(&self) -> Result<(), BrokerError> {
        self.store.ready().await?;
        self.publisher.ready().await
    }

    /// Tenants that have a consumer.
    pub fn consumers(&self) -> usize {
        self.consumers.count()
    }

    /// Messages published and confirmed.
    pub fn published(&self) -> u64 {
        self.publisher.published()
    }
}

impl Dispatcher {
    /// Starts dispatching. `listen_url` is a direct connection to the database: notifications do not pass a transaction
    /// pooler. Database and broker may come later and go meanwhile.
    pub fn start(
        store: Store,
        listen_url: String,
        broker: &Broker,
        invoker: Arc<dyn Invoker>,
        engine: Arc<Engine>,
    ) -> Self {
        let stop = CancellationToken::new();
        let publisher = Publisher::new(broker);
        let queues = TenantQueues::new(store.clone(), broker, publisher.clone());
        let (paused, is_paused) = watch::channel(false);
        let handler = Handler::new(
            store.clone(),
            engine.clone(),
            invoker,
            publisher.clone(),
            queues.clone(),
            is_paused,
        );
        let consumers = Consumers::new(broker, queues.clone(), handler, stop.clone());
        let hint = Arc::new(Notify::new());
        let sweeper = Sweeper {
            store: store.clone(),
            engine,
            queues: queues.clone(),
            consumers: consumers.clone(),
            paused,
            hint: hint.clone(),
        };
        let health = Health { store, publisher: publisher.clone(), consumers: consumers.clone() };
        let stopping = stop.clone();
        let work = tokio::spawn(async move {
            let listening = tokio::spawn(listen(listen_url, hint, stopping.clone()));
            sweeper.run(stopping).await;
            consumers.close(Duration::from_secs(20)).await;
            queues.close().await;
            publisher.close().await;
            drop(listening.await);
        });
        Self { health, stop, work }
    }

    /// What it says of itself.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Returns when the dispatching has ended without having been told to, which only a panic does. It is over then: whoever
    /// started it ends too, and is started anew.
    pub async fn died(&mut self) {
        drop((&mut self.work).await);
    }

    /// Takes no more messages, gives the steps under way 20 s, and returns when all is closed. A step that is cut off is
    /// taken up again after its lease.
    pub async fn stop(self) -> Result<(), StoreError> {
        self.stop.cancel();
        drop(self.work.await);
        Ok(())
    }
}
