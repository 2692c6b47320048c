//! The harness: a world of its own for each test (control-plane database, RabbitMQ vhost, platform), on the real parts of
//! the local stack that `make test` starts.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a harness fails by panicking")]

mod broker;
mod environment;
mod inventory;
mod line;
mod observe;
pub mod outside;
mod phases;
pub mod process;
mod site;
mod world;

pub use broker::Management;
pub use environment::{Environment, required};
pub use inventory::Inventory;
pub use line::Line;
pub use phases::{Act, Attempt, Scripted};
pub use site::{Api, Site, fresh_slug};
pub use world::{Engine, World, eventually, seconds};
