//! What machines ask: is it ready, what has it measured, what does it serve.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use engine::store::StoreError;
use http_server::Metrics;
use serde_json::{Value, json};

use crate::problem::{self, Failure};
use crate::state::App;

/// The description of the API, OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// Longer than any healthy database needs, shorter than any prober waits.
const READY_WITHIN: Duration = Duration::from_secs(3);

/// `GET /readyz`: the database answers and is migrated, and how safe a commit is.
pub async fn ready(State(app): State<App>) -> Result<Json<Value>, Failure> {
    let why = match tokio::time::timeout(READY_WITHIN, app.store.ready()).await {
        Ok(Ok(durability)) => return Ok(Json(json!({ "status": "ready", "durability": durability }))),
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

/// `GET /metrics`. Without a database what is known by itself is still told.
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

/// `GET /openapi.json`.
pub async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], OPENAPI)
}
