//! How every HTTP server of Tenantry serves: tenant-service, tenant-api, and what the dispatcher and the event relay say of
//! themselves. Bounds on connections, headers and the stop are the same for all of them; routes are each server's own.

mod serve;
mod stop;

pub use serve::{Bounds, serve};
pub use stop::stop_signal;

/// `GET /healthz`: the process answers.
#[expect(clippy::unused_async, reason = "a handler is an async function")]
pub async fn alive() -> &'static str {
    "ok"
}
