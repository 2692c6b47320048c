//! What any DNS server must be able to do. Decides nothing about owners.

use std::fmt::Debug;

use async_trait::async_trait;
use engine::phase::Result;
use model::TenantId;
use serde::{Deserialize, Serialize};

use super::{DnsEntry, Mark, Name};

/// A zone as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub name: Name,
    /// The servers that a delegation to it must name.
    pub name_servers: Vec<Name>,
    /// Whose it is; none for somebody else's.
    pub mark: Option<Mark>,
    /// For deleting exactly what was looked at (ETag), where the server knows that.
    pub version: Option<String>,
}

/// All records of one name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSet {
    /// The whole name.
    pub name: Name,
    /// `A`, `NS`, ….
    pub kind: String,
    /// In seconds.
    pub ttl: u32,
    /// Addresses, or names without their last dot.
    pub values: Vec<String>,
    /// Whose it is; none for somebody else's.
    pub mark: Option<Mark>,
    /// For changing exactly what was looked at (ETag), where the server knows that.
    pub version: Option<String>,
}

/// What became of a write that expected something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Done.
    Done,
    /// It is not as expected: look again.
    Otherwise,
}

/// What became of a zone's deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Deletion {
    /// It is not there.
    Gone,
    /// It is not as it was looked at: look again.
    Otherwise,
    /// Begun, and to be asked about here.
    Begun {
        /// What [`DnsProvider::deleting`] takes.
        ticket: String,
        /// When to ask, in seconds.
        after: u64,
    },
}

/// One DNS server, or the part of one that holds the tenants' zones or their parent.
#[async_trait]
pub trait DnsProvider: Debug + Send + Sync {
    /// The zone; none when there is none.
    async fn zone(&self, zone: &Name) -> Result<Option<Zone>>;

    /// Creates the zone; [`Written::Otherwise`] when there is one of that name.
    async fn create_zone(&self, zone: &Name, ttl: u32, mark: &Mark) -> Result<Written>;

    /// Sets what a zone needs besides and cannot be given at its creation, such as the TTL of its own NS records. Called
    /// again, it changes nothing. [`Written::Otherwise`] when somebody else works on it, or it is gone.
    async fn complete_zone(&self, zone: &Name, ttl: u32) -> Result<Written>;

    /// Deletes the zone with all its records, if it is still the one that was looked at.
    async fn delete_zone(&self, zone: &Zone) -> Result<Deletion>;

    /// What has become of a deletion that was begun: [`Deletion::Begun`] while it is under way. Otherwise it has ended, and
    /// a look at the zone says how.
    async fn deleting(&self, ticket: &str) -> Result<Deletion>;

    /// The zone's record sets at a name and below it; none when there is no such zone.
    async fn record_sets(&self, zone: &Name, within: &Name) -> Result<Vec<RecordSet>>;

    /// Creates the record set, or replaces the one that was looked at.
    async fn write(&self, zone: &Name, set: &RecordSet, found: Option<&RecordSet>) -> Result<Written>;

    /// Deletes the record set that was looked at. One that is gone is done.
    async fn delete(&self, zone: &Name, found: &RecordSet) -> Result<Written>;

    /// Zones of the tenant, and its record sets in the zone `within`.
    async fn held_by(&self, tenant: TenantId, within: Option<&Name>) -> Result<Vec<DnsEntry>>;
}
