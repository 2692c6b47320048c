//! What the dispatcher says of itself over HTTP.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use http_server::{Bounds, Metrics};
use metrics::{counter, gauge};
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
    let router = http_server::health(get(ready), get(metrics)).with_state(health);
    http_server::serve(listener, router, Bounds::default(), std::future::pending()).await;
}

async fn ready(State(health): State<Health>) -> (StatusCode, String) {
    match health.ready().await {
        Ok(()) => (StatusCode::OK, "ready".into()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

async fn metrics(State(health): State<Health>) -> Metrics {
    let metrics = Metrics::default();
    metrics.record(|| {
        #[expect(clippy::cast_precision_loss, reason = "a count of tenants stays far under 2^52")]
        gauge!("tenantry_dispatcher_consumers").set(health.consumers() as f64);
        counter!("tenantry_dispatcher_published_total").absolute(health.published());
    });
    metrics
}
