//! What machines ask: does it live, is it ready, what has it measured.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use engine::store::{Durability, StoreError};
use http_server::Metrics;
use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi::{self, Unready};
use crate::problem::{self, Failure};
use crate::state::App;

/// Longer than any healthy database needs, shorter than any prober waits.
const READY_WITHIN: Duration = Duration::from_secs(3);

/// That it can serve.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// How safe a commit is.
    #[schema(value_type = openapi::Durability)]
    durability: Durability,
    status: &'static str,
}

/// The process answers
#[utoipa::path(
    get, path = "/healthz", tag = "process", security(()),
    responses((status = 200, description = "ok", content_type = "text/plain", body = String)),
)]
pub async fn alive() -> &'static str {
    http_server::alive().await
}

/// The database answers and is migrated
#[utoipa::path(
    get, path = "/readyz", tag = "process", security(()),
    responses((status = 200, description = "Ready.", body = Ready), Unready),
)]
pub async fn ready(State(app): State<App>) -> Result<Json<Ready>, Failure> {
    let why = match tokio::time::timeout(READY_WITHIN, app.store.ready()).await {
        Ok(Ok(durability)) => return Ok(Json(Ready { durability, status: "ready" })),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            "the database refuses, or is not migrated; the log says why".to_owned()
        }
        Err(_) => format!("the database does not answer within {} s", READY_WITHIN.as_secs()),
    };
    Err(problem::no_database()
        .because(why)
        .next("See that the control plane's Postgres runs and is migrated.")
        .into())
}

/// Measures in Prometheus's text format
///
/// Without a database what is known by itself is still told.
#[utoipa::path(
    get, path = "/metrics", tag = "process", security(()),
    responses((status = 200, description = "The measures.", content_type = "text/plain", body = String)),
)]
pub async fn metrics(State(app): State<App>) -> Metrics {
    let counted = async {
        app.measures.tenants(&app.store.tenant_counts().await?);
        app.measures.outbox(&app.store.outbox_backlog().await?);
        Ok::<_, StoreError>(())
    };
    match tokio::time::timeout(READY_WITHIN, counted).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "tenants and events cannot be counted"),
        Err(_) => tracing::warn!("tenants and events cannot be counted: the database does not answer"),
    }
    app.measures.0
}
