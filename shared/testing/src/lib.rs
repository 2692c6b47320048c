//! What the tests of phases and of outside systems stand on: a tenant, a claimed step of its run, the cluster as its operator
//! sees it. Nothing here stands in for an outside system: those are the local stack's.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what tests stand on fails by panicking")]

mod kubectl;
mod step;
mod tenant;

pub use kubectl::{Namespace, kubectl, object};
pub use step::{ClaimedStep, NeverLost, WITHIN, until_done, waits_for};
pub use tenant::tenant;

/// A setting of the local stack. Panics where it is not set, and says what to run.
pub fn required(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: this test needs the local stack; run `make test`"))
}
