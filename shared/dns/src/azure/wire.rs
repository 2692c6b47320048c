//! The API's JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Mark, Name, RecordSet};

/// Tags and metadata allow no `/` in a name.
const JOIN: &str = "-";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<T> {
    #[serde(default = "Vec::new")]
    pub(super) value: Vec<T>,
    pub(super) next_link: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Zone {
    #[serde(default)]
    pub(super) name: String,
    pub(super) etag: Option<String>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) properties: ZoneProperties,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ZoneProperties {
    #[serde(default)]
    pub(super) name_servers: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Set {
    pub(super) name: String,
    /// `Microsoft.Network/dnszones/A`.
    #[serde(rename = "type", default)]
    kind: String,
    etag: Option<String>,
    #[serde(default)]
    properties: SetProperties,
}

#[derive(Debug, Default, Deserialize)]
struct SetProperties {
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(rename = "TTL", default)]
    ttl: u32,
    #[serde(rename = "ARecords", default)]
    a: Vec<Address>,
    #[serde(rename = "NSRecords", default)]
    ns: Vec<Server>,
}

#[derive(Debug, Deserialize)]
struct Address {
    #[serde(rename = "ipv4Address")]
    address: String,
}

#[derive(Debug, Deserialize)]
struct Server {
    nsdname: String,
}

/// A zone's own NS records, which can be written only as Azure has them.
#[derive(Debug, Deserialize)]
pub(super) struct NameServers {
    pub(super) etag: Option<String>,
    #[serde(default)]
    pub(super) properties: NameServersProperties,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct NameServersProperties {
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Value>,
    #[serde(rename = "TTL", default)]
    pub(super) ttl: u32,
    #[serde(rename = "NSRecords", default)]
    records: Value,
}

/// How a long-running operation goes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Operation {
    pub(super) status: String,
}

pub(super) fn mark(pairs: &BTreeMap<String, String>, prefix: &str) -> Option<Mark> {
    Mark::read(prefix, JOIN, |key| pairs.get(key).map(String::as_str))
}

impl Set {
    pub(super) fn mark(&self, prefix: &str) -> Option<Mark> {
        mark(self.properties.metadata.as_ref()?, prefix)
    }

    pub(super) fn read(self, zone: &Name, mark: Option<Mark>) -> RecordSet {
        let addresses = self.properties.a.into_iter().map(|record| record.address);
        let servers = self.properties.ns.into_iter().map(|record| Name::new(&record.nsdname).to_string());
        RecordSet {
            name: zone.below(&self.name),
            kind: self.kind.rsplit('/').next().unwrap_or_default().to_owned(),
            ttl: self.properties.ttl,
            values: addresses.chain(servers).collect(),
            mark,
            version: self.etag,
        }
    }
}

pub(super) fn new_zone(mark: &Mark, prefix: &str) -> Value {
    json!({ "location": "global", "tags": mark.pairs(prefix, JOIN), "properties": { "zoneType": "Public" } })
}

/// The same records with another TTL.
pub(super) fn remembered_for(set: NameServers, ttl: u32) -> Value {
    json!({ "properties": NameServersProperties { ttl, ..set.properties } })
}

pub(super) fn new_set(set: &RecordSet, prefix: &str) -> Value {
    let mut properties = json!({ "TTL": set.ttl });
    if let Some(mark) = &set.mark {
        properties["metadata"] = json!(mark.pairs(prefix, JOIN));
    }
    let records = |key: &str| set.values.iter().map(|value| json!({ key: value })).collect::<Value>();
    if set.kind == "NS" {
        properties["NSRecords"] = records("nsdname");
    } else {
        properties["ARecords"] = records("ipv4Address");
    }
    json!({ "properties": properties })
}
