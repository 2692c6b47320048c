//! Connections to the broker: opened when needed, opened again after a loss.

use std::sync::Arc;
use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::sync::Mutex;

/// RabbitMQ's default channel_max is 2,047; half of it leaves room for whatever else a connection is used for.
const CHANNELS_PER_CONNECTION: usize = 1_000;

/// No call to the broker takes longer.
pub(crate) const CALL_WITHIN: Duration = Duration::from_secs(10);

/// Why the broker cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A setting is missing or wrong.
    #[error("{0}")]
    Setting(String),
    /// The broker refused or is not there.
    #[error("RabbitMQ: {0}")]
    Amqp(#[from] lapin::Error),
    /// The broker did not answer.
    #[error("RabbitMQ did not answer within {} s", CALL_WITHIN.as_secs())]
    Silent,
    /// The control-plane store failed.
    #[error(transparent)]
    Store(#[from] engine::store::StoreError),
}

/// Runs a call to the broker with a bound.
pub(crate) async fn bounded<T, E: Into<BrokerError>>(
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(CALL_WITHIN, call).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(BrokerError::Silent),
    }
}

/// A broker, and the connections of one purpose to it. Publishing and consuming have connections of their own: a
/// consumer's back-pressure must not hold up a publish.
#[derive(Clone)]
pub struct Broker {
    uri: AMQPUri,
    purpose: &'static str,
    connections: Arc<Mutex<Vec<PooledConnection>>>,
}

struct PooledConnection {
    connection: Connection,
    channels: usize,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URI holds a password.
        f.debug_struct("Broker").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

impl Broker {
    /// The broker that `AMQP_URL` names.
    pub fn from_env(purpose: &'static str) -> Result<Self, BrokerError> {
        let url = std::env::var("AMQP_URL").map_err(|_| {
            BrokerError::Setting("AMQP_URL is not set; set it to the broker's URL with its vhost".into())
        })?;
        Self::new(&url, purpose)
    }

    /// The broker at `url`. Connects when first used.
    pub fn new(url: &str, purpose: &'static str) -> Result<Self, BrokerError> {
        // The parser's own error would quote the password.
        let uri = url.parse().map_err(|_| {
            BrokerError::Setting(
                "AMQP_URL is not an AMQP URL; use amqp://user:password@host:port/vhost".into(),
            )
        })?;
        Ok(Self { uri, purpose, connections: Arc::default() })
    }

    /// The same broker, with connections of their own for another purpose.
    #[must_use]
    pub fn for_purpose(&self, purpose: &'static str) -> Self {
        Self { uri: self.uri.clone(), purpose, connections: Arc::default() }
    }

    /// A new channel on a living connection with room for it. The first channel of a new connection declares the fixed
    /// topology, so that a broker that has lost its data has it again.
    pub async fn channel(&self) -> Result<Channel, BrokerError> {
        let mut connections = self.connections.lock().await;
        connections.retain(|held| held.connection.status().connected());
        if let Some(held) = connections.iter_mut().find(|held| held.channels < CHANNELS_PER_CONNECTION) {
            let channel = bounded(held.connection.create_channel()).await?;
            held.channels += 1;
            return Ok(channel);
        }
        let properties =
            ConnectionProperties::default().with_connection_name(format!("tenantry {}", self.purpose).into());
        let connection = bounded(Connection::connect_uri(self.uri.clone(), properties)).await?;
        let channel = bounded(connection.create_channel()).await?;
        bounded(super::topology::declare(&channel)).await?;
        connections.push(PooledConnection { connection, channels: 1 });
        Ok(channel)
    }

    /// Closes a channel and gives its place back.
    pub async fn done_with(&self, channel: Channel) {
        if channel.status().connected() {
            drop(bounded(channel.close(200, "done".into())).await);
        }
        self.gave_up_one().await;
    }

    async fn gave_up_one(&self) {
        // Which connection it was on does not matter: the count only bounds how many there are.
        if let Some(held) = self.connections.lock().await.iter_mut().max_by_key(|held| held.channels) {
            held.channels = held.channels.saturating_sub(1);
        }
    }

    /// Closes every connection of this purpose.
    pub async fn close(&self) {
        for held in self.connections.lock().await.drain(..) {
            drop(bounded(held.connection.close(200, "shutting down".into())).await);
        }
    }

    /// Whether a living connection is there.
    pub async fn connected(&self) -> bool {
        self.connections.lock().await.iter().any(|held| held.connection.status().connected())
    }
}
