//! The broker's floor: publish, confirm, consume and ack through one quorum queue per run.

use futures::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, PublisherConfirm};
use uuid::Uuid;

/// One connection to publish on and one to consume from, as the runner has.
pub struct Connections {
    publishing: Connection,
    consuming: Connection,
}

impl Connections {
    pub async fn open(url: &str) -> Self {
        let connect = || Connection::connect(url, ConnectionProperties::default());
        Self { publishing: connect().await.expect("RabbitMQ"), consuming: connect().await.expect("RabbitMQ") }
    }

    pub async fn close(self) {
        drop(self.publishing.close(200, "done".into()).await);
        drop(self.consuming.close(200, "done".into()).await);
    }
}

/// A run's queue with its publishing channel and its consumer.
pub struct Queue {
    name: String,
    publishing: Channel,
    consuming: Channel,
    consumer: Consumer,
}

impl Queue {
    /// Declares the queue and opens its consumer.
    pub async fn open(connections: &Connections) -> Self {
        let name = format!("floor.{}", Uuid::new_v4());
        let publishing = connections.publishing.create_channel().await.expect("channel");
        publishing.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        let consuming = connections.consuming.create_channel().await.expect("channel");
        consuming.basic_qos(2, BasicQosOptions::default()).await.expect("prefetch");
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        consuming.queue_declare(name.as_str().into(), durable, arguments).await.expect("queue");
        let consumer = consuming
            .basic_consume(
                name.as_str().into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("consumer");
        Self { name, publishing, consuming, consumer }
    }

    /// Sends a message like ours; the confirm is the caller's to wait for.
    pub async fn send(&self) -> PublisherConfirm {
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_message_id("01990000-0000-7000-8000-000000000000/1".into())
            .with_delivery_mode(2);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let body = [b'x'; 160];
        self.publishing
            .basic_publish("".into(), self.name.as_str().into(), options, &body, properties)
            .await
            .expect("publish")
    }

    /// Takes the next message.
    pub async fn receive(&mut self) -> Delivery {
        self.consumer.next().await.expect("the consumer lives").expect("a message")
    }

    /// Deletes the queue.
    pub async fn delete(self) {
        drop(self.consuming.queue_delete(self.name.as_str().into(), QueueDeleteOptions::default()).await);
        drop(self.consuming.close(200, "done".into()).await);
        drop(self.publishing.close(200, "done".into()).await);
    }
}

/// Acks a message.
pub async fn ack(delivery: &Delivery) {
    assert!(delivery.acker.ack(BasicAckOptions::default()).await.expect("ack"), "the ack reached the broker");
}

/// The broker's version and, if it runs on this machine, its process.
pub async fn about(management_url: &str) -> (String, Option<u32>) {
    let Ok(url) = reqwest::Url::parse(management_url) else { return ("unknown".into(), None) };
    let get = async |path: &str| -> Option<serde_json::Value> {
        let asked = reqwest::Client::new()
            .get(url.join(path).ok()?) // with the URL's user and password
            .send()
            .await
            .ok()?;
        asked.json().await.ok()
    };
    let overview = get("/api/overview").await.unwrap_or_default();
    let version = overview["rabbitmq_version"].as_str().unwrap_or("unknown").to_owned();
    // A node that has just started says so only after some seconds.
    for _ in 0..30 {
        let nodes = get("/api/nodes").await.unwrap_or_default();
        if let Some(process) = nodes[0]["os_pid"].as_str().and_then(|text| text.parse().ok()) {
            return (version, Some(process));
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    (version, None)
}
