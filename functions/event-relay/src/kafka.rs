//! The sink `kafka`: an idempotent producer, and each record's acknowledgement by all replicas in sync awaited.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use engine::store::Outgoing;
use model::platform::Events;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use tenants::Regions;

use crate::event;
use crate::lane::{Deliver, Failure};

type Producer = FutureProducer<Reasons>;

/// The topic.
pub(crate) struct Kafka {
    topic: String,
    source: String,
    regions: Regions,
    config: ClientConfig,
    reasons: Reasons,
    producer: Mutex<Producer>,
}

/// What librdkafka last said of its connections: a delivery that times out only says that it has.
#[derive(Clone, Default)]
struct Reasons(Arc<Mutex<String>>);

impl Reasons {
    fn set(&self, reason: &str) {
        reason.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn last(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Reasons {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes with the delivery that fails by it.
        tracing::debug!(facility, line = message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        self.set(reason);
    }
}

impl Kafka {
    /// Connects when it has something to send.
    pub(crate) fn new(brokers: &str, settings: &Events, regions: &Regions) -> anyhow::Result<Self> {
        let timeout = settings.delivery.timeout.duration().as_millis().max(1).to_string();
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers)
            .set("client.id", "tenantry-event-relay")
            // With it acks=all, and retries of librdkafka's own neither double nor reorder.
            .set("enable.idempotence", "true")
            // After this it is given up here, and tried anew from the outbox.
            .set("message.timeout.ms", timeout)
            // So that a broker that comes back is soon found.
            .set("reconnect.backoff.max.ms", "1000");
        let reasons = Reasons::default();
        let producer = config.create_with_context::<_, Producer>(reasons.clone())?;
        Ok(Self {
            topic: settings.topic.clone(),
            source: settings.source.clone(),
            regions: regions.clone(),
            config,
            reasons,
            producer: Mutex::new(producer),
        })
    }

    fn producer(&self) -> Producer {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An idempotent producer that has lost track of what it has sent refuses everything from then on: another takes its
    /// place. Of many deliveries that find it so, the first replaces it.
    fn replace_if_ended(&self) {
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((code, reason)) = producer.client().fatal_error() else { return };
        tracing::warn!(?code, reason, "the producer has ended; another takes its place");
        match self.config.create_with_context::<_, Producer>(self.reasons.clone()) {
            Ok(fresh) => *producer = fresh,
            Err(error) => tracing::error!(%error, "no other producer"),
        }
    }
}

#[async_trait]
impl Deliver for Kafka {
    async fn deliver(&self, row: &Outgoing) -> Result<Option<String>, Failure> {
        let slug = row.payload["slug"].as_str().unwrap_or_default();
        let region = row.payload["region"].as_str().unwrap_or_default();
        let platform =
            self.regions.knowing(region).await.map_err(|error| Failure::Later(error.to_string()))?;
        let url = format!("https://{slug}.{}", platform.domain_in(region));
        let body = event::cloud_event(row, &self.source, &url).to_string();
        let key = row.tenant_id.to_string();
        let producer = self.producer();
        let queued = {
            let kind = Header { key: "content-type", value: Some(event::MEDIA_TYPE) };
            let record = FutureRecord::to(&self.topic)
                .key(&key)
                .payload(&body)
                .headers(OwnedHeaders::new().insert(kind));
            producer.send_result(record).map_err(|(error, _)| error)
        };
        let error = match queued {
            Ok(delivery) => match delivery.await {
                Ok(Ok(_)) => {
                    self.reasons.set("");
                    return Ok(None);
                }
                Ok(Err((error, _))) => error.to_string(),
                Err(_) => "the producer has ended".to_owned(),
            },
            Err(error) => error.to_string(),
        };
        self.replace_if_ended();
        let reason = self.reasons.last();
        Err(Failure::Later(if reason.is_empty() { error } else { format!("{error}; last heard: {reason}") }))
    }
}
