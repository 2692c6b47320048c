//! What the tests of phases and of outside systems stand on: a tenant, a claimed step of its run, a control plane's database, the
//! cluster as its operator sees it. Nothing here stands in for an outside system: those are the local stack's.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what tests stand on fails by panicking")]

mod database;
mod kubectl;
mod phase;
mod region;
mod step;
mod tenant;

pub use database::{Database, with_database};
pub use kubectl::{Namespace, create, kubectl, object};
pub use phase::{planned, prepare, until_done, until_done_at_once, waits_for};
pub use region::{observability, region, region_admin};
pub use step::{ClaimedStep, LastRecord, NeverLost};
pub use tenant::{acme, recorded, tenant, tenant_ending};

use std::time::Duration;

/// Longest wait for anything: long enough for a machine that does much else.
pub const WITHIN: Duration = Duration::from_mins(3);

/// A setting of the local stack. Panics where it is not set, and says what to run.
pub fn required(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: this test needs the local stack; run it by `make test`")
    })
}
