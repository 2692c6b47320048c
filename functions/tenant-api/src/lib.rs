//! The reference data plane: makes, migrates, seeds and drops the databases of tenants when the control plane asks.
//!
//! - `POST /internal/database/initialize`: role, database or schema, migrations and seed data of one tenant.
//! - `POST /internal/database/drop`: takes away what `initialize` made.
//! - `POST /internal/database/inventory`: what a Postgres server holds of one tenant.
//! - `GET /healthz`, `GET /readyz`: the process answers.
//!
//! Every internal call carries the header `x-internal-secret` and the credentials of a database administrator, who is
//! known for that one call only. Calls may be repeated, run at once, and follow a call that died half-way: what is
//! there and ours is kept, what is missing is made, and what belongs to somebody else is refused with 409.
//! Errors are problem+json with a stable `code`: `invalid_request`, `unauthorized`, `foreign_role`,
//! `foreign_database`, `foreign_schema`, `database_unavailable` (try again), `database_error` (look at it).

mod auth;
mod drop;
mod initialize;
mod inventory;
mod ownership;
mod problem;
mod request;
mod schema;
mod server;
mod sql;

pub use auth::InternalSecrets;
pub use problem::Problem;
pub use server::{Config, main, router, serve};
