//! The engine's promises, on real Postgres and RabbitMQ, with phases whose effects are rows of a table.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod broker_loss;
mod changes;
mod dead_letters;
mod deprovision_at_once;
mod duplicates;
mod failures;
mod invoke_api;
mod migrations;
mod names;
mod refreshing;
mod side_by_side;
mod stale_worker;
mod telling;
mod transitions;
mod upkeep;
mod verbs;
