//! A topic as its readers see it.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::metadata::MetadataTopic;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;
use tests::required;

const WITHIN: Duration = Duration::from_secs(10);

/// One record.
#[derive(Clone, Debug)]
pub struct Record {
    pub key: String,
    pub content_type: String,
    pub event: Value,
}

impl Record {
    pub fn id(&self) -> &str {
        self.event["id"].as_str().expect("an id")
    }

    pub fn kind(&self) -> &str {
        self.event["type"].as_str().expect("a type")
    }
}

/// Everything in the topic now, each partition in its order; nothing when there is no topic yet.
pub async fn records(topic: &str) -> Vec<Record> {
    let topic = topic.to_owned();
    tokio::task::spawn_blocking(move || read(&topic)).await.expect("a reader")
}

fn read(topic: &str) -> Vec<Record> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", required("KAFKA_BROKERS"))
        .set("group.id", "relay-test")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let Ok(metadata) = consumer.fetch_metadata(Some(topic), WITHIN) else { return Vec::new() };
    let mut list = TopicPartitionList::new();
    let mut wanted = 0;
    for partition in metadata.topics().iter().flat_map(MetadataTopic::partitions) {
        let Ok((low, high)) = consumer.fetch_watermarks(topic, partition.id(), WITHIN) else {
            return Vec::new();
        };
        wanted += usize::try_from(high - low).expect("a count");
        list.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("a partition");
    }
    if wanted == 0 {
        return Vec::new();
    }
    consumer.assign(&list).expect("an assignment");
    let mut records = Vec::new();
    let began = Instant::now();
    while records.len() < wanted {
        assert!(began.elapsed() < Duration::from_mins(3), "{} of {wanted} records", records.len());
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) else { continue };
        let text =
            |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).expect("text");
        let headers = message.headers().expect("headers");
        let header = headers.iter().find(|header| header.key == "content-type").expect("a content type");
        records.push(Record {
            key: text(message.key()),
            content_type: text(header.value),
            event: serde_json::from_slice(message.payload().expect("a payload")).expect("JSON"),
        });
    }
    records
}
