//! What the relay says of itself over HTTP. A sink that is down does not make it unready: it goes on with the others, and
//! its backlog shows what waits.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use engine::store::Backlog;
use http_server::Bounds;
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
    let router = Router::new()
        .route("/healthz", get(http_server::alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health);
    http_server::serve(listener, router, Bounds::default(), std::future::pending()).await;
}

async fn ready(State(health): State<Health>) -> (StatusCode, String) {
    match tokio::time::timeout(READY_WITHIN, health.store.ready()).await {
        Ok(Ok(_)) => (StatusCode::OK, "ready".into()),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer".into()),
    }
}

/// What this process has done, and what waits at each sink, whoever will deliver it. Without a database only the first.
async fn metrics(State(health): State<Health>) -> String {
    let mut text = String::new();
    let counted = |of: fn(&Lane) -> u64| {
        health.lanes.iter().map(|lane| (lane.sink.to_string(), of(lane).to_string())).collect::<Vec<_>>()
    };
    let delivered = counted(|lane| lane.counts.delivered.load(Ordering::Relaxed));
    series(&mut text, "tenantry_relay_delivered_total", "counter", &delivered);
    let failures = counted(|lane| lane.counts.failures.load(Ordering::Relaxed));
    series(&mut text, "tenantry_relay_failures_total", "counter", &failures);
    let set_aside = counted(|lane| lane.counts.set_aside.load(Ordering::Relaxed));
    series(&mut text, "tenantry_relay_set_aside_total", "counter", &set_aside);
    let backlog = match tokio::time::timeout(READY_WITHIN, health.store.outbox_backlog()).await {
        Ok(Ok(backlog)) => backlog,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the backlog cannot be counted");
            return text;
        }
        Err(_) => return text,
    };
    let gauges: [(&str, Figure); 4] = [
        ("tenantry_outbox_waiting", |at| at.waiting.to_string()),
        ("tenantry_outbox_failing", |at| at.failing.to_string()),
        ("tenantry_outbox_set_aside", |at| at.set_aside.to_string()),
        ("tenantry_outbox_oldest_seconds", |at| at.oldest_seconds.to_string()),
    ];
    for (name, value) in gauges {
        let values: Vec<_> = backlog.iter().map(|at| (at.sink.clone(), value(at))).collect();
        series(&mut text, name, "gauge", &values);
    }
    text
}

/// One figure of a sink's backlog, as it is printed.
type Figure = fn(&Backlog) -> String;

fn series(text: &mut String, name: &str, kind: &str, values: &[(String, String)]) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "# TYPE {name} {kind}");
    for (sink, value) in values {
        let _ = writeln!(text, "{name}{{sink=\"{sink}\"}} {value}");
    }
}
