//! The fixed part of the vhost: delay queues and the dead-letter queue. Every flag says why.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

/// The delays there are queues for, in seconds.
pub const DELAYS: [u32; 7] = [1, 2, 5, 10, 30, 60, 300];

/// Messages that are no jobs, with the reason in a header.
pub const DEAD: &str = "tenantry.dead";

/// The exchange of one delay.
pub fn delay_exchange(seconds: u32) -> String {
    format!("delay.{seconds}s")
}

/// The largest delay that is not above what remains; none under a second, which is waited for in place.
pub fn delay_for(remaining: Duration) -> Option<u32> {
    DELAYS.into_iter().rev().find(|seconds| Duration::from_secs(u64::from(*seconds)) <= remaining)
}

/// Quorum queues survive the loss of a node; everything here must.
fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments
}

/// Durable: exists after a restart of the broker.
fn durable_queue() -> QueueDeclareOptions {
    QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() }
}

/// Declares delay exchanges, delay queues and the dead-letter queue. A second call changes nothing.
pub async fn declare(channel: &Channel) -> lapin::Result<()> {
    channel.queue_declare(DEAD.into(), durable_queue(), quorum()).await?;
    for seconds in DELAYS {
        let name = delay_exchange(seconds);
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        // Fanout, so that the message keeps the routing key it was published with: its tenant's queue.
        channel
            .exchange_declare(name.as_str().into(), ExchangeKind::Fanout, options, FieldTable::default())
            .await?;
        let mut arguments = quorum();
        arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(i64::from(seconds) * 1000));
        // To the default exchange, without a routing key of its own: the message goes to the tenant's queue.
        arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
        // At most once: at-least-once dead-lettering to deleted queues stops delivery for everybody, and what is lost
        // here the sweeper publishes again.
        arguments.insert("x-dead-letter-strategy".into(), AMQPValue::LongString("at-most-once".into()));
        channel.queue_declare(name.as_str().into(), durable_queue(), arguments).await?;
        channel
            .queue_bind(
                name.as_str().into(),
                name.as_str().into(),
                "".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
    }
    Ok(())
}

/// Declares one tenant's queue. A second call changes nothing.
pub async fn declare_tenant_queue(channel: &Channel, name: &str) -> lapin::Result<()> {
    channel.queue_declare(name.into(), durable_queue(), quorum()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_takes_the_largest_delay_not_above_what_remains() {
        for (millis, expected) in [
            (0, None),
            (999, None),
            (1_000, Some(1)),
            (4_999, Some(2)),
            (5_000, Some(5)),
            (59_999, Some(30)),
            (60_000, Some(60)),
            (86_400_000, Some(300)),
        ] {
            assert_eq!(delay_for(Duration::from_millis(millis)), expected, "{millis} ms");
        }
    }
}
