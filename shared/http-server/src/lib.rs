//! How every HTTP server of Tenantry serves: tenant-service, tenant-api, and what the dispatcher and the event relay say of
//! themselves. Bounds on connections, headers and the stop are the same for all of them, and so is the form of an error;
//! routes, and the table of its errors, are each server's own.

mod problem;
mod serve;
mod stop;

pub use problem::{FieldError, Problem, ProblemCode, ProblemType};
pub use serve::{Bounds, serve};
pub use stop::stop_signal;

/// `GET /healthz`: the process answers.
#[expect(clippy::unused_async, reason = "a handler is an async function")]
pub async fn alive() -> &'static str {
    "ok"
}
