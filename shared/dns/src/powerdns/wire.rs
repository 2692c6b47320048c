//! The API's JSON.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Mark, Name, RecordSet};

#[derive(Debug, Deserialize)]
pub(super) struct Zone {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) account: String,
    #[serde(default)]
    pub(super) rrsets: Vec<Set>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Set {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    ttl: u32,
    #[serde(default)]
    records: Vec<Record>,
    #[serde(default)]
    pub(super) comments: Vec<Comment>,
}

#[derive(Debug, Deserialize)]
struct Record {
    content: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Comment {
    pub(super) content: String,
}

/// Something that a search has found.
#[derive(Debug, Deserialize)]
pub(super) struct Hit {
    pub(super) name: String,
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) zone: String,
    #[serde(default)]
    ttl: u32,
    #[serde(default)]
    content: String,
}

impl Zone {
    /// The record sets. A zone asked for one name answers with the comments of all others too, as sets without records
    /// (4.7).
    pub(super) fn sets(self) -> impl Iterator<Item = Set> {
        self.rrsets.into_iter().filter(|set| !set.records.is_empty())
    }
}

impl Set {
    pub(super) fn is(&self, name: &Name, kind: &str) -> bool {
        self.kind == kind && Name::new(&self.name) == *name
    }

    /// The values as names.
    pub(super) fn names(&self) -> Vec<Name> {
        self.records.iter().map(|record| Name::new(&record.content)).collect()
    }

    pub(super) fn read(self, mark: Option<Mark>) -> RecordSet {
        let values = if self.kind == "NS" {
            self.names().iter().map(ToString::to_string).collect()
        } else {
            self.records.into_iter().map(|record| record.content).collect()
        };
        RecordSet { name: Name::new(&self.name), kind: self.kind, ttl: self.ttl, values, mark, version: None }
    }
}

impl Hit {
    /// A search does not say whose a record is: what it finds is taken for somebody else's.
    pub(super) fn read(self) -> RecordSet {
        RecordSet {
            name: Name::new(&self.name),
            kind: self.kind,
            ttl: self.ttl,
            values: vec![self.content],
            mark: None,
            version: None,
        }
    }
}

/// A record set to be written, with at most one comment.
pub(super) fn set(name: &Name, kind: &str, ttl: u32, values: &[String], comment: Option<Value>) -> Value {
    let records: Vec<Value> =
        values.iter().map(|value| json!({ "content": value, "disabled": false })).collect();
    let mut set = json!({ "name": name.absolute(), "type": kind, "ttl": ttl, "records": records });
    if let Some(comment) = comment {
        set["comments"] = json!([comment]);
    }
    set
}

pub(super) fn comment(mark: &Mark, prefix: &str) -> Value {
    json!({ "content": mark.line(prefix), "account": mark.tenant_id })
}
