//! The promises of event-relay, held by the real program on real Postgres, Kafka and mail servers.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod delivering;
mod killing;
mod license;
mod outages;
mod post;
mod refusing;
mod station;
mod topic;
