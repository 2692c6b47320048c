//! What machines ask of a process: does it live, can it serve, what has it measured.

use axum::Router;
use axum::routing::{MethodRouter, get};

/// `/healthz`, and `/readyz` and `/metrics`, which the server's own handlers answer.
pub fn health<S: Clone + Send + Sync + 'static>(
    ready: MethodRouter<S>,
    metrics: MethodRouter<S>,
) -> Router<S> {
    Router::new().route("/healthz", get(alive)).route("/readyz", ready).route("/metrics", metrics)
}

/// `GET /healthz`: the process answers.
pub async fn alive() -> &'static str {
    "ok"
}
