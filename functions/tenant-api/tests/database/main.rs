//! tenant-api on a real Postgres. Needs `REGION_DATABASE_HOST`, `_PORT`, `_ADMIN_USER` and `_ADMIN_PASSWORD`, and
//! `POOL_DATABASE_URL`, `AMQP_URL` and `RABBITMQ_MANAGEMENT_URL`, which `make test` gives.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails where it stands"
)]

mod access;
mod dropping;
mod exports;
mod forgetting;
mod http;
mod initializing;
mod invitations;
mod killing;
mod readiness;
mod signing;
mod world;
