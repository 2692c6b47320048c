//! How a tenant's provisioning goes, and what has happened.

mod progress;
mod view;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use view::{AuditView, StatusView};

use crate::extract::TenantPath;
use crate::params::{Params, RawQuery};
use crate::problem::{self, Failure};
use crate::state::App;

/// `GET /api/v1/tenants/{id}/provisioning/status`: the newest run of the tenant.
pub async fn status(State(app): State<App>, TenantPath(id): TenantPath) -> Result<Response, Failure> {
    let row = app.store.status(id).await?.ok_or_else(|| problem::no_tenant(&id.to_string()))?;
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
pub async fn audit(
    State(app): State<App>,
    TenantPath(id): TenantPath,
    query: RawQuery,
) -> Result<Response, Failure> {
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
