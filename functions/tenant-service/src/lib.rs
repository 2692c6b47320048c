//! The HTTP trigger of the control plane: validates requests for tenants, records tenant, run and phases in one
//! transaction, and shows how the provisioning goes. What makes a run go is the dispatcher; the two meet in Postgres only.

mod auth;
mod challenge;
mod compute;
mod deployment;
mod domains;
mod extract;
mod fields;
mod health;
mod history;
mod idempotency;
mod invitations;
mod lifecycle;
mod measure;
mod names;
mod openapi;
mod params;
mod problem;
mod regions;
mod router;
mod server;
mod state;
mod status;
mod tenants;
mod verbs;

pub use router::router;
pub use server::{main, serve};
pub use state::App;
