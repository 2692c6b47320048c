//! The process: under the Lambda runtime, or as a server of its own.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use http_server::{Bounds, stop_signal};
use model::platform::Platform;
use tenants::Store;
use tenants::phases;
use tokio::net::TcpListener;

use crate::router::router;
use crate::state::App;

/// The longest that a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// After a signal, for the requests under way: longer than [`REQUEST_TIMEOUT`].
const STOP_WITHIN: Duration = Duration::from_secs(35);
/// Connections to the database of a server; a Lambda sandbox has one request at a time and holds one.
const CONNECTIONS: u32 = 16;

/// Runs until SIGTERM or SIGINT, after which requests under way are finished; under Lambda until the sandbox ends.
///
/// Settings: `DATABASE_URL`, `TENANTRY_CONFIG` (both required), `LISTEN` (`127.0.0.1:8080`), `RUST_LOG` (`info`). A bad one
/// is named in one line, with exit code 1.
pub fn main() -> ExitCode {
    engine::runtime::init_logging();
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tracing::error!("tenant-service: {why}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), String> {
    let lambda = std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some();
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        let platform = Platform::from_env(&phases::step_names()).map_err(|error| error.to_string())?;
        let store =
            Store::connect(if lambda { 1 } else { CONNECTIONS }).map_err(|error| error.to_string())?;
        let router = router(App::new(store, platform)?, REQUEST_TIMEOUT);
        if lambda {
            return lambda_http::run(router).await.map_err(|error| format!("Lambda runtime: {error}"));
        }
        let listen = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".into());
        let listener = TcpListener::bind(&listen)
            .await
            .map_err(|error| format!("cannot listen on LISTEN={listen}: {error}"))?;
        let stop = stop_signal("tenant-service").map_err(|error| format!("cannot start: {error}"))?;
        tracing::info!(listen, "tenant-service is ready");
        serve(listener, router, stop).await;
        Ok(())
    })
}

/// Serves on `listener` until `stop` resolves; requests under way are finished first.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    http_server::serve(listener, router, Bounds { stop_within: STOP_WITHIN, ..Bounds::default() }, stop)
        .await;
}
