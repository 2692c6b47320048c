//! What the dispatcher says of itself over HTTP.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use http_server::Bounds;
use queue::Health;
use tokio::net::TcpListener;

/// Listens at the address. A wrong or taken one must end the process before it dispatches anything.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("HEALTH_LISTEN: {address} cannot be listened at"))
}

/// Serves `/healthz`, `/readyz` and `/metrics` until the process ends.
pub(crate) async fn serve(listener: TcpListener, health: Health) {
    let router = Router::new()
        .route("/healthz", get(http_server::alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health);
    http_server::serve(listener, router, Bounds::default(), std::future::pending()).await;
}

async fn ready(State(health): State<Health>) -> (StatusCode, String) {
    match health.ready().await {
        Ok(()) => (StatusCode::OK, "ready".into()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

async fn metrics(State(health): State<Health>) -> String {
    format!(
        "# TYPE tenantry_dispatcher_consumers gauge\ntenantry_dispatcher_consumers {}\n\
         # TYPE tenantry_dispatcher_published_total counter\ntenantry_dispatcher_published_total {}\n",
        health.consumers(),
        health.published()
    )
}
