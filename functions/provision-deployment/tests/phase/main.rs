//! PROVISION_DEPLOYMENT on a real API server, RabbitMQ and the control plane's Postgres. Whether something is there is asked of those.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails where it stands"
)]

mod foreign;
mod jobs;
mod living;
mod refreshing;
mod waiting;
mod world;
