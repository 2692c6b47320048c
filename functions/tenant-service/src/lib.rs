//! The HTTP trigger of the control plane: validates requests for tenants, records tenant, run and phases in one
//! transaction, and shows how the provisioning goes. What makes a run go is the dispatcher; the two meet in Postgres only.

mod app;
mod auth;
mod body;
mod deployment;
mod domains;
mod fields;
mod frame;
mod health;
mod idempotency;
mod invitations;
mod lifecycle;
mod measure;
mod params;
mod problem;
mod regions;
mod server;
mod status;
mod tenants;
mod verbs;

pub use app::{App, router};
pub use server::{main, serve};
