//! The reference data plane: makes, migrates, seeds and drops the databases of tenants when the control plane asks.
//!
//! - `POST /internal/database/initialize`: role, database or schema, migrations and seed data of one tenant.
//! - `POST /internal/database/drop`: takes away what `initialize` made.
//! - `POST /internal/database/inventory`: what a Postgres server holds of one tenant.
//! - `POST /internal/license/refresh`: a tenant's licence, as the control plane has signed it.
//! - `GET /internal/license/{tenant}`: what the licence that holds says.
//! - `POST /internal/users/bootstrap`, `invite`, `remove`: a tenant's administrator and the hash of their invitation.
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
//! `invitation_used`, `invitation_void`, `invitation_expired`, `password_not_accepted`, `busy` (try again).

mod accept;
mod auth;
mod drop;
mod elsewhere;
mod initialize;
mod inventory;
mod license;
mod ownership;
mod problem;
mod ready;
mod request;
mod schema;
mod server;
mod sql;
mod tables;
mod users;

pub use auth::InternalSecrets;
pub use license::Licenses;
pub use problem::Problem;
pub use ready::Readiness;
pub use server::{Config, main, router, serve};
pub use tables::Tables;
