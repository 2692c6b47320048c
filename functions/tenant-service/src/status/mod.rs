//! How a tenant's provisioning goes, and what has happened.

mod progress;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::store::{Store, StoreResult, Typical};
use tokio::sync::Mutex;
use view::{AuditView, StatusView};

use crate::app::App;
use crate::params::{Params, RawQuery};
use crate::problem::Problem;
use crate::tenants::Known;

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
pub async fn status(State(app): State<App>, Known(id): Known) -> Result<Response, Problem> {
    let row = app.store.status(id).await?.ok_or_else(|| Problem::no_tenant(&id.to_string()))?;
    let typical = app.history.typical(&app.store).await?;
    Ok(Json(StatusView::of(&row, &typical)?).into_response())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    entries: Vec<AuditView<'a>>,
    next_after: Option<i64>,
}

/// `GET /api/v1/tenants/{id}/provisioning/audit`: every transition, oldest first; `nextAfter` is null on the last page.
pub async fn audit(State(app): State<App>, Known(id): Known, query: RawQuery) -> Result<Response, Problem> {
    let mut params = Params::new(query)?;
    let after = params.number("after", 0, i64::MAX, 0);
    let limit = params.number("limit", 1, 500, 100);
    params.finish()?;
    let mut rows = app.store.audit(id, after, limit + 1).await?;
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > page;
    rows.truncate(page);
    let next_after = rows.last().filter(|_| more).map(|row| row.number);
    let entries = rows.iter().map(AuditView::from).collect();
    Ok(Json(Page { entries, next_after }).into_response())
}
