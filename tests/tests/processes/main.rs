//! The promises about processes, held by the real programs.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::large_futures, reason = "a test's whole course is one future")]

mod features;
mod killing;
mod outages;
mod secrets;
mod settings;
mod stopping;
mod whole;
