//! Messages that were put aside: listing them, and publishing them again.

use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::broker::{Broker, BrokerError, bounded};
use crate::publisher::{PublishError, Publisher};
use crate::topology::DEAD;

/// A message that was put aside.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its id.
    pub id: String,
    /// Why.
    pub reason: String,
    /// The queue it came from.
    pub queue: String,
    /// Its body, as text where it is one.
    pub body: String,
}

/// Lists what is in the dead-letter queue, at most `limit`, and leaves it there.
pub async fn list(broker: &Broker, limit: usize) -> Result<Vec<DeadLetter>, BrokerError> {
    let channel = broker.channel().await?;
    let mut letters = Vec::new();
    let mut last = None;
    while letters.len() < limit {
        let Some(message) = bounded(channel.basic_get(DEAD.into(), BasicGetOptions::default())).await? else {
            break;
        };
        letters.push(letter(&message.delivery));
        last = Some(message.delivery.delivery_tag);
    }
    if let Some(tag) = last {
        bounded(channel.basic_nack(tag, BasicNackOptions { multiple: true, requeue: true })).await?;
    }
    broker.done_with(channel).await;
    Ok(letters)
}

/// Publishes messages again to the queue they came from and takes them out of the dead-letter queue; only the one named
/// `id`, if it is given. One whose queue is gone stays. Returns those that were published.
pub async fn replay(broker: &Broker, id: Option<&str>) -> Result<Vec<DeadLetter>, BrokerError> {
    let publisher = Publisher::new(broker);
    let channel = broker.channel().await?;
    let mut replayed = Vec::new();
    let mut kept = None;
    // Each message is got once: what is kept is given back only at the end.
    while let Some(message) = bounded(channel.basic_get(DEAD.into(), BasicGetOptions::default())).await? {
        let delivery = message.delivery;
        let letter = letter(&delivery);
        if id.is_some_and(|id| id != letter.id) {
            kept = Some(delivery.delivery_tag);
            continue;
        }
        match publisher.publish_raw(&letter.queue, &delivery.data).await {
            Ok(()) => {
                bounded(channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default())).await?;
                replayed.push(letter);
            }
            Err(PublishError::Unroutable(_) | PublishError::Refused(_)) => kept = Some(delivery.delivery_tag),
            Err(PublishError::Broker(error)) => return Err(error),
        }
    }
    if let Some(tag) = kept {
        bounded(channel.basic_nack(tag, BasicNackOptions { multiple: true, requeue: true })).await?;
    }
    broker.done_with(channel).await;
    publisher.close().await;
    Ok(replayed)
}

fn letter(delivery: &lapin::message::Delivery) -> DeadLetter {
    let headers = delivery.properties.headers().clone().unwrap_or_default();
    DeadLetter {
        id: delivery.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default(),
        reason: text(&headers, "x-tenantry-reason"),
        queue: text(&headers, "x-tenantry-queue"),
        body: String::from_utf8_lossy(&delivery.data).into_owned(),
    }
}

fn text(headers: &FieldTable, name: &str) -> String {
    match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        _ => String::new(),
    }
}
