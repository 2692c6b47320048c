//! The dispatcher: reads the tenants' queues, invokes the phases' functions, publishes what comes next.
//!
//! Environment: `DATABASE_URL` (and `DATABASE_DIRECT_URL` where that goes through a transaction pooler), `AMQP_URL`,
//! `TENANTRY_CONFIG`, `INVOKER` (`lambda`, the default, or `embedded`), `LAMBDA_ENDPOINT` and `FUNCTION_PREFIX` for
//! `lambda`, `HEALTH_LISTEN` for `/healthz`, `/readyz` and `/metrics`.

mod command;
mod deployments;
mod health;
mod license;
mod region;
pub mod registry;
mod settings;
mod upkeep;

pub use command::{main, main_with_hook};
