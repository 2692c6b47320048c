//! The broker of this instance's background jobs, reached by a login that may use what its prefix names and nothing else.
//!
//! `{prefix}.in` is an exchange: the default one cannot be limited, so that no tenant's user may publish by it. Behind it are
//! `{prefix}.jobs`, and `{prefix}.dead` for what is no job of this instance.

use crate::problem::{self, Problem};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, BasicRejectOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::AMQPUri;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ExchangeKind,
};
use model::secret::{SecretError, SecretRef};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// No call to the broker takes longer.
const CALL_WITHIN: Duration = Duration::from_secs(10);

/// Routing key, and end of the queue's name, of jobs.
const JOBS: &str = "jobs";
/// The same of what is none.
const DEAD: &str = "dead";

/// How often the broker delivers a job to instances that die of it before they can count. RabbitMQ 4's own number, which
/// earlier ones do not have. What an instance does count ends long before.
const DELIVERIES: i64 = 20;

/// Dead letters kept, the newest: they are there to be looked at.
const DEAD_KEPT: i64 = 1_000;

/// Why the broker cannot be used.
#[derive(Debug)]
pub enum BrokerError {
    /// There is no login, or none that can be understood. Names the setting, never the login.
    Login(String),
    /// The broker refused, or is not there.
    Amqp(lapin::Error),
    /// It did not answer.
    Silent,
    /// It did not take the message.
    Refused,
}

impl std::fmt::Display for BrokerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Login(why) => f.write_str(why),
            Self::Amqp(error) => write!(f, "RabbitMQ: {error}"),
            Self::Silent => write!(f, "RabbitMQ did not answer within {} s", CALL_WITHIN.as_secs()),
            Self::Refused => f.write_str("RabbitMQ did not take the job"),
        }
    }
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        Self::Amqp(error)
    }
}

impl From<BrokerError> for Problem {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Login(why) => problem::jobs_not_configured(why),
            other => problem::jobs_unavailable(other.to_string()),
        }
    }
}

/// The queue of this instance's jobs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Jobs(Arc<Inner>);

struct Inner {
    prefix: String,
    login: SecretRef,
    /// For publishing, opened when it is first needed. One message is under way at a time: lapin tells confirms apart by their
    /// order alone.
    publishing: Mutex<Option<(Connection, Channel)>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs")
            .field("prefix", &self.prefix)
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

/// What is being consumed. Dropped, it is closed, and what was not acknowledged is delivered again.
pub struct Consuming {
    /// The jobs as they come.
    pub jobs: Consumer,
    _connection: Connection,
}

impl Jobs {
    /// Named by `prefix`, with the AMQP URL at `login`, which is read anew for every connection: it may appear later, and
    /// change.
    pub fn new(prefix: String, login: SecretRef) -> Self {
        Self(Arc::new(Inner { prefix, login, publishing: Mutex::default() }))
    }

    fn name(&self, end: &str) -> String {
        format!("{}.{end}", self.0.prefix)
    }

    /// Whether there is a login at all.
    pub fn configured(&self) -> Result<(), BrokerError> {
        self.address().map(drop)
    }

    fn address(&self) -> Result<AMQPUri, BrokerError> {
        let login = &self.0.login;
        let url = login.read_local().map_err(|error| {
            BrokerError::Login(match error {
                SecretError::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                    format!("no job broker login at {login}: the region may have no job broker")
                }
                other => other.to_string(),
            })
        })?;
        // The parser's own error would quote the password.
        url.expose().parse().map_err(|_| BrokerError::Login(format!("{login} is not an AMQP URL")))
    }

    /// A new connection, and a channel on which everything that is needed has been declared.
    async fn open(&self, purpose: &str) -> Result<(Connection, Channel), BrokerError> {
        let address = self.address()?;
        let name = format!("tenant-api {purpose}");
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        bounded(async {
            let connection = Connection::connect_uri(address, properties).await?;
            let channel = connection.create_channel().await?;
            self.declare(&channel).await?;
            Ok((connection, channel))
        })
        .await
    }

    async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        let exchange = self.name("in");
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let none = FieldTable::default;
        channel.exchange_declare(exchange.as_str().into(), ExchangeKind::Direct, durable, none()).await?;
        let text = |text: &str| AMQPValue::LongString(text.into());
        let number = AMQPValue::LongLongInt;
        let jobs = [
            ("x-dead-letter-exchange", text(&exchange)),
            ("x-dead-letter-routing-key", text(DEAD)),
            ("x-delivery-limit", number(DELIVERIES)),
        ];
        for (end, arguments) in
            [(DEAD, vec![("x-max-length", number(DEAD_KEPT))]), (JOBS, jobs.into_iter().collect())]
        {
            let name = self.name(end);
            let mut all = FieldTable::default();
            // Survives the loss of a node.
            all.insert("x-queue-type".into(), text("quorum"));
            for (key, value) in arguments {
                all.insert(key.into(), value);
            }
            let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(name.as_str().into(), durable, all).await?;
            let bind = QueueBindOptions::default();
            channel
                .queue_bind(name.as_str().into(), exchange.as_str().into(), end.into(), bind, none())
                .await?;
        }
        Ok(())
    }

    /// Gives a job to the broker. When this succeeds, the broker has it on its disks; when it fails, it may have it too.
    pub async fn publish(&self, id: &str, body: &[u8]) -> Result<(), BrokerError> {
        let mut open = self.0.publishing.lock().await;
        if !open.as_ref().is_some_and(|(_, channel)| channel.status().connected()) {
            *open = None;
            let (connection, channel) = self.open("jobs").await?;
            bounded(channel.confirm_select(ConfirmSelectOptions::default())).await?;
            *open = Some((connection, channel));
        }
        let Some((_, channel)) = open.as_ref() else { return Err(BrokerError::Silent) };
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_message_id(id.into())
            // Persistent: survives a restart of the broker.
            .with_delivery_mode(2);
        // Mandatory: what no queue takes comes back instead of vanishing.
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let exchange = self.name("in");
        let sent = bounded(async {
            channel
                .basic_publish(exchange.as_str().into(), JOBS.into(), options, body, properties)
                .await?
                .await
        })
        .await;
        match sent {
            Ok(Confirmation::Ack(None)) => Ok(()),
            outcome => {
                // A confirm that is still to come would be taken for the next one's; and a queue that went is declared again.
                *open = None;
                Err(outcome.err().unwrap_or(BrokerError::Refused))
            }
        }
    }

    /// Begins to take jobs, one at a time.
    pub async fn consume(&self) -> Result<Consuming, BrokerError> {
        let (connection, channel) = self.open("worker").await?;
        bounded(channel.basic_qos(1, BasicQosOptions::default())).await?;
        let (queue, options) = (self.name(JOBS), BasicConsumeOptions::default());
        let jobs =
            bounded(channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()))
                .await?;
        Ok(Consuming { jobs, _connection: connection })
    }
}

/// Tells the broker that a job is over.
pub async fn done(delivery: &Delivery) -> Result<(), BrokerError> {
    bounded(delivery.acker.ack(BasicAckOptions::default())).await.map(drop)
}

/// Puts a message aside that is no job of this instance.
pub async fn bury(delivery: &Delivery) -> Result<(), BrokerError> {
    bounded(delivery.acker.reject(BasicRejectOptions { requeue: false })).await.map(drop)
}

async fn bounded<T>(call: impl Future<Output = lapin::Result<T>>) -> Result<T, BrokerError> {
    match tokio::time::timeout(CALL_WITHIN, call).await {
        Ok(outcome) => outcome.map_err(BrokerError::from),
        Err(_) => Err(BrokerError::Silent),
    }
}
