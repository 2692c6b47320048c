//! The promises of event-relay, held by the real program on real Postgres, Kafka and mail servers.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::large_futures, reason = "a test's whole course is one future")]

mod delivering;
mod killing;
mod outages;
mod post;
mod refusing;
mod station;
mod topic;
