//! The message in a tenant's queue, the event it arrives in, and what a function answers. All carry ids only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{PhaseName, RunId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One step to run. `seq` is the run's sequence number at the time of publishing: any other makes it stale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Job {
    /// Format of the message.
    pub v: u8,
    /// Whose queue it is in.
    pub tenant_id: TenantId,
    /// Which run.
    pub run_id: RunId,
    /// Which phase, and so which function.
    pub phase: PhaseName,
    /// Which transition of the run.
    pub seq: i64,
}

/// Who invoked the function, which decides who publishes the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A dispatcher, which reads the answer and publishes.
    Dispatcher,
    /// Amazon MQ's event source mapping, which drops the answer: the run is made due for the dispatcher's sweeper.
    EventSourceMapping,
}

/// Why a message or event is none of ours.
#[derive(Debug, thiserror::Error)]
pub enum InvalidMessage {
    /// Not the JSON of a job.
    #[error("message is not a job: {0}")]
    Job(#[from] serde_json::Error),
    /// Not the event of a RabbitMQ source.
    #[error("event is not from aws:rmq: {0}")]
    Event(String),
    /// An event must hold exactly one message; a batch would hide which of them failed.
    #[error("event holds {0} messages; configure a batch size of 1")]
    Batch(usize),
}

/// Marks an event made by the dispatcher, in the field where Amazon MQ puts the broker's ARN.
const DISPATCHER: &str = "arn:tenantry:dispatcher";

impl Job {
    /// The current message format.
    pub const VERSION: u8 = 1;

    /// A job of the current format.
    pub fn new(tenant_id: TenantId, run_id: RunId, phase: PhaseName, seq: i64) -> Self {
        Self { v: Self::VERSION, tenant_id, run_id, phase, seq }
    }

    /// The queue this job belongs in.
    pub fn queue(&self) -> String {
        queue_name(self.tenant_id)
    }

    /// The message body.
    pub fn encode(&self) -> Vec<u8> {
        // A struct of strings and numbers always serialises.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a message body; another format version is refused.
    pub fn decode(body: &[u8]) -> Result<Self, InvalidMessage> {
        let job: Self = serde_json::from_slice(body)?;
        if job.v == Self::VERSION {
            Ok(job)
        } else {
            Err(InvalidMessage::Event(format!("message format {} is unknown", job.v)))
        }
    }

    /// The event that invokes the job's function: exactly what Amazon MQ's event source sends for this message.
    pub fn event(&self, headers: &Value, redelivered: bool) -> Value {
        let queue = format!("{}::tenantry", self.queue());
        json!({
            "eventSource": "aws:rmq",
            "eventSourceArn": DISPATCHER,
            "rmqMessagesByQueue": { queue: [{
                "basicProperties": {
                    "contentType": "application/json", "contentEncoding": null, "headers": headers,
                    "deliveryMode": 2, "priority": null, "correlationId": null, "replyTo": null, "expiration": null,
                    "messageId": format!("{}/{}", self.run_id, self.seq), "timestamp": null,
                    "type": null, "userId": null, "appId": "tenantry", "clusterId": null,
                    "bodySize": self.encode().len(),
                },
                "redelivered": redelivered,
                "data": STANDARD.encode(self.encode()),
            }] },
        })
    }

    /// Reads the one job of an `aws:rmq` event. Lenient in everything but the job itself, since properties differ
    /// between brokers and publishers.
    pub fn from_event(event: &Value) -> Result<(Self, Trigger), InvalidMessage> {
        let bad = |why: &str| InvalidMessage::Event(why.to_owned());
        if event["eventSource"] != "aws:rmq" {
            return Err(bad("eventSource is missing or another"));
        }
        let queues =
            event["rmqMessagesByQueue"].as_object().ok_or_else(|| bad("rmqMessagesByQueue is missing"))?;
        let messages: Vec<&Value> = queues.values().filter_map(Value::as_array).flatten().collect();
        let [message] = messages.as_slice() else { return Err(InvalidMessage::Batch(messages.len())) };
        let data = message["data"].as_str().ok_or_else(|| bad("data is missing"))?;
        let body = STANDARD.decode(data).map_err(|_| bad("data is not base64"))?;
        let trigger = match event["eventSourceArn"].as_str() {
            Some(DISPATCHER) => Trigger::Dispatcher,
            _ => Trigger::EventSourceMapping,
        };
        Ok((Self::decode(&body)?, trigger))
    }
}

/// The tenant's own queue. No tenant's job can be taken by another's worker.
pub fn queue_name(tenant: TenantId) -> String {
    format!("tenant.{tenant}")
}

/// What a function answers: what its message found, or what comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Answer {
    /// The step's transition is recorded; publish this, not before the delay has passed.
    Next {
        /// What to publish.
        job: Job,
        /// Milliseconds until it is due.
        delay_ms: u64,
    },
    /// The run is finished: the tenant's queue can go.
    Finished,
    /// Recorded, and nothing is to be published: paused, stuck, or handed to the sweeper.
    Idle,
    /// Not due yet.
    NotDue {
        /// Milliseconds that remain.
        remaining_ms: u64,
    },
    /// A living worker holds the step.
    Busy,
    /// The run has moved past this message, is finished, or paused.
    Stale,
    /// The message is newer than the row, which a database failover can cause.
    Newer,
    /// No such run.
    Unknown,
    /// The worker lost the step while it ran; whoever has it now goes on.
    Fenced,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job::new(TenantId::generate(), RunId::generate(), PhaseName::new("CREATE_NAMESPACE"), 7)
    }

    #[test]
    fn a_job_survives_the_event_it_travels_in() {
        let job = job();
        let (read, trigger) = Job::from_event(&job.event(&json!({}), false)).unwrap();
        assert_eq!((read, trigger), (job, Trigger::Dispatcher));
    }

    #[test]
    fn an_event_of_amazon_mq_is_read_as_it_is_sent() {
        let job = job();
        let event = json!({
            "eventSource": "aws:rmq",
            "eventSourceArn": "arn:aws:mq:eu-west-1:112233445566:broker:b:b-1",
            "rmqMessagesByQueue": { (format!("{}::tenantry", job.queue())): [{
                "basicProperties": { "priority": null, "headers": { "h": { "bytes": [1, 2] } }, "timestamp": "x" },
                "redelivered": true,
                "data": STANDARD.encode(job.encode()),
            }] },
        });
        assert_eq!(Job::from_event(&event).unwrap(), (job, Trigger::EventSourceMapping));
    }

    #[test]
    fn what_is_no_single_job_is_refused() {
        let two =
            json!({"eventSource": "aws:rmq", "rmqMessagesByQueue": {"q": [{"data": ""}, {"data": ""}]}});
        assert!(matches!(Job::from_event(&two), Err(InvalidMessage::Batch(2))));
        let none = json!({"eventSource": "aws:rmq", "rmqMessagesByQueue": {}});
        assert!(matches!(Job::from_event(&none), Err(InvalidMessage::Batch(0))));
        for bad in [json!({}), json!([]), json!({"eventSource": "aws:sqs"})] {
            assert!(matches!(Job::from_event(&bad), Err(InvalidMessage::Event(_))), "{bad}");
        }
        assert!(Job::decode(b"{}").is_err());
        assert!(Job::decode(b"\xff").is_err());
    }
}
