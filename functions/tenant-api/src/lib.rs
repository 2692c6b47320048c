//! The reference data plane: makes, migrates, seeds and drops the databases of tenants when the control plane asks.
//!
//! - `POST /internal/database/initialize`: role, database or schema, migrations and seed data of one tenant.
//! - `POST /internal/database/drop`: takes away what `initialize` made, then what is kept here of the tenant.
//! - `POST /internal/database/inventory`: what a Postgres server holds of one tenant, and what is kept here of it.
//! - `POST /internal/license/refresh`: a tenant's licence, as the control plane has signed it.
//! - `GET /internal/license/{tenant}`: what the licence that holds says.
//! - `POST /internal/users/bootstrap`, `invite`, `remove`: a tenant's administrator and the hash of their invitation.
//! - `POST /internal/exports`, `GET /internal/exports/{tenant}/{id}` and `…/content`: a tenant's rows, written to the
//!   instance's storage by a background job, whose broker is told of by `QUEUE_PREFIX` and `JOBS_…` (else 501
//!   `jobs_not_configured`).
//! - `GET /metrics`: what it has done, for Prometheus.
//! - `POST /api/v1/invitations/accept`: public; whoever has an invitation's token chooses a password.
//! - `GET /healthz`: the process answers. `GET /readyz`: it can serve; a tenant's own instance can once it logs in to the
//!   tenant's database, whose credentials appear in `DATABASE_CREDENTIALS_DIR` while it already runs (else 503 `not_ready`).
//!
//! Every internal call carries the header `x-internal-secret`, and one about a database the credentials of its administrator,
//! who is known for that one call only. Calls may be repeated, run at once, and follow a call that died half-way: what is
//! there and ours is kept, what is missing is made, and what belongs to somebody else is refused with 409.
//! Errors are problem+json with a stable `code`: `invalid_request`, `unauthorized`, `foreign_role`,
//! `foreign_database`, `foreign_schema`, `database_unavailable` (try again), `database_error` (look at it), and of licences `license_malformed`,
//! `license_key_unknown`, `license_altered`, `license_foreign`, `license_expired`, `license_not_yet_valid`,
//! `license_unkept` (try again), `license_missing`; of users `tenant_not_here`, `user_not_found`, `bootstrap_user_exists`,
//! `login_not_configured`, `login_not_usable`, `login_inherits`, `database_forbidden`; of invitations `invitation_unknown`,
//! `invitation_used`, `invitation_void`, `invitation_expired`, `password_not_accepted`, `busy` (try again); of exports
//! `jobs_not_configured`, `jobs_unavailable` (try again), `tables_outdated`, `export_unknown`, `export_not_done`,
//! `export_gone`. A pinned instance (`TENANT_ID`) answers whatever is asked for another tenant with 403 `tenant_not_served`.

mod accept;
mod app;
mod auth;
mod broker;
mod drop;
mod elsewhere;
mod exports;
mod initialize;
mod inventory;
mod license;
mod measure;
mod mounted;
mod operation;
mod ownership;
mod problem;
mod ready;
mod request;
mod schema;
mod server;
mod sql;
mod tables;
mod users;

pub use self::license::Licenses;
pub use auth::InternalSecrets;
pub use exports::{ExportSettings, Storage};
pub use measure::Measures;
pub use problem::Problem;
pub use ready::Readiness;
pub use schema::Migrations;
pub use server::{Config, main, router, serve};
pub use tables::Tables;
