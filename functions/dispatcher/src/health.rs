//! What the dispatcher says of itself over HTTP.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use queue::Health;

/// Serves `/healthz`, `/readyz` and `/metrics` until the process ends.
pub(crate) async fn serve(address: SocketAddr, health: Health) {
    if let Err(error) = listen(address, health).await {
        tracing::error!("{error:#}");
    }
}

async fn listen(address: SocketAddr, health: Health) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health);
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("HEALTH_LISTEN: {address} cannot be listened at"))?;
    Ok(axum::serve(listener, router).await?)
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
