//! How a tenant's provisioning goes, and what has happened.

mod progress;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use shared::store::{Store, StoreResult, Typical};
use tokio::sync::Mutex;

use crate::app::App;
use crate::params::{Params, RawQuery};
use crate::problem::Problem;
use crate::tenants::find;

/// How long medians over a hundred runs are good for; reading them for each of many pollers would cost far more.
const FRESH: Duration = Duration::from_mins(1);

/// What has been read of it, and when.
type Read = Option<(Instant, Arc<Vec<Typical>>)>;

/// How long phases typically take, read at most once a minute.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<Read>>);

impl History {
    async fn typical(&self, store: &Store) -> StoreResult<Arc<Vec<Typical>>> {
        let mut known = self.0.lock().await;
        if let Some((at, typical)) = known.as_ref()
            && at.elapsed() < FRESH
        {
            return Ok(typical.clone());
        }
        let typical = Arc::new(store.typical().await?);
        *known = Some((Instant::now(), typical.clone()));
        Ok(typical)
    }
}

/// `GET /api/v1/tenants/{id}/provisioning/status`: the newest run of the tenant.
pub async fn status(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let tenant = find(&app, &id).await?;
    let row = app.store.status(tenant).await?.ok_or_else(|| Problem::no_tenant(&id))?;
    let typical = app.history.typical(&app.store).await?;
    Ok(Json(json!(view::StatusView::of(&row, &typical)?)))
}

/// `GET /api/v1/tenants/{id}/provisioning/audit`: every transition, oldest first; `nextAfter` is null on the last page.
pub async fn audit(
    State(app): State<App>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Json<Value>, Problem> {
    let tenant = find(&app, &id).await?;
    let mut params = Params::new(query)?;
    let after = params.number("after", 0, i64::MAX, 0);
    let limit = params.number("limit", 1, 500, 100);
    params.finish()?;
    let mut rows = app.store.audit(tenant, after, limit + 1).await?;
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > page;
    rows.truncate(page);
    let next = rows.last().filter(|_| more).map(|row| row.number);
    let entries: Vec<view::AuditView<'_>> = rows.iter().map(view::AuditView::from).collect();
    Ok(Json(json!({ "entries": entries, "nextAfter": next })))
}
