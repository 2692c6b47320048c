//! PROVISIONING_INFRASTRUCTURE on the real parts: tofu, the state's Postgres, the stack's supervisord, the API server. Needs
//! what the stack's env file says, which `make test` gives.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails where it stands"
)]

mod broken;
mod foreign;
mod jobs;
mod secrets;
mod working;
mod world;
