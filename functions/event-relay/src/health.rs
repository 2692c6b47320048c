//! What the relay says of itself over HTTP. A sink that is down does not make it unready: it goes on with the others, and
//! its backlog shows what waits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use engine::store::Backlog;
use http_server::{Bounds, Metrics};
use metrics::{counter, gauge};
use tenants::Store;
use tokio::net::TcpListener;

use crate::lane::Lane;

/// Longer than any healthy database needs, shorter than any prober waits.
const READY_WITHIN: Duration = Duration::from_secs(3);

/// What is asked.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) store: Store,
    pub(crate) lanes: Vec<Arc<Lane>>,
}

/// Listens at the address. A wrong or taken one must end the process before it delivers anything.
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
    match tokio::time::timeout(READY_WITHIN, health.store.ready()).await {
        Ok(Ok(_)) => (StatusCode::OK, "ready".into()),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer".into()),
    }
}

/// What this process has done, and what waits at each sink, whoever will deliver it. Without a database only the first: the
/// registry is a fresh one each time, so that no old figure stands for what is not known now.
async fn metrics(State(health): State<Health>) -> Metrics {
    let metrics = Metrics::default();
    metrics.record(|| {
        for lane in &health.lanes {
            let count = |name: &'static str, of: &AtomicU64| {
                counter!(name, "sink" => lane.sink.to_string()).absolute(of.load(Ordering::Relaxed));
            };
            count("tenantry_relay_delivered_total", &lane.counts.delivered);
            count("tenantry_relay_failures_total", &lane.counts.failures);
            count("tenantry_relay_set_aside_total", &lane.counts.set_aside);
        }
    });
    match tokio::time::timeout(READY_WITHIN, health.store.outbox_backlog()).await {
        Ok(Ok(backlog)) => metrics.record(|| backlog.iter().for_each(waiting)),
        Ok(Err(error)) => tracing::warn!(%error, "the backlog cannot be counted"),
        Err(_) => {}
    }
    metrics
}

/// What waits at a sink.
#[expect(clippy::cast_precision_loss, reason = "a count of rows stays far under 2^52")]
fn waiting(at: &Backlog) {
    let figure = |name: &'static str, value: f64| gauge!(name, "sink" => at.sink.clone()).set(value);
    figure("tenantry_outbox_waiting", at.waiting as f64);
    figure("tenantry_outbox_failing", at.failing as f64);
    figure("tenantry_outbox_set_aside", at.set_aside as f64);
    figure("tenantry_outbox_oldest_seconds", at.oldest_seconds);
}
