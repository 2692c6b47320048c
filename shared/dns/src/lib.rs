//! The tenants' DNS: zones, record sets and delegations. "Already there", "already gone", "not ours" and "not reachable"
//! are decided here, once, whoever serves the names.
//!
//! Ownership is the tenant's id at the zone and at each record set, and nothing else; the run is written beside it, so that
//! a rollback can tell what its own run made. PowerDNS: a zone's `account` and a record set's comment, both written in one
//! transaction with what they mark. Azure: a zone's tags and a record set's metadata.

mod azure;
mod error;
mod inventory;
mod mark;
mod name;
mod owned;
mod powerdns;
mod provider;
mod server;

pub use azure::{AzureDns, TokenSource};
pub use inventory::DnsEntry;
pub use mark::Mark;
pub use name::Name;
pub use owned::{Made, Owned, RecordZone, Records};
pub use powerdns::PowerDns;
pub use provider::{Deletion, DnsProvider, RecordSet, Written, Zone};
pub use server::{Dns, Server};
