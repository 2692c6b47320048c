//! The harness: a world of its own for each test (control-plane database, RabbitMQ vhost, platform), on the real parts of
//! the local stack that `make test` starts.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a harness fails by panicking")]

mod broker;
mod cluster;
mod elsewhere;
mod environment;
mod failpoint;
mod failpoints;
pub mod instances;
mod inventory;
mod line;
mod listing;
mod look;
mod mailbox;
pub mod names;
mod objects;
mod observe;
pub mod outside;
mod phases;
mod private;
pub mod process;
mod proxy;
mod region;
mod site;
mod template;
mod worker;
mod world;

pub use broker::Management;
pub use cluster::{api_server, calls_of, kubectl, kubectl_with, signal, state, stop_helm_midway};
pub use elsewhere::{Elsewhere, RegionContents, RegionSite};
pub use environment::{Environment, required};
pub use failpoint::FailpointFile;
pub use failpoints::Failpoints;
pub use inventory::Inventory;
pub use line::Line;
pub use listing::Listing;
pub use look::Outside;
pub use mailbox::{letters, mailbox};
pub use phases::{Act, Attempt, Scripted};
pub use private::{Private, Server};
pub use proxy::Proxy;
pub use region::{RegionWorld, dns, license, serve_tenant_api, serve_tenant_api_with, slug};
pub use site::{Api, Site, calm, fresh_slug, hasty};
pub use worker::Worker;
pub use world::{Engine, World, eventually, seconds};
