//! The phase against two real PowerDNS servers, looked at by DNS queries and through a client of the test's own.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy knows only functions marked as tests for tests"
)]

mod dig;
mod foreign;
mod probe;
mod undoing;
mod working;
mod world;
