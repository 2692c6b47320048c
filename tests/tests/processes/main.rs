//! The promises about processes, held by the real programs.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod features;
mod inviting;
mod killing;
mod outages;
mod regions;
mod secrets;
mod settings;
mod stopping;
mod whole;
