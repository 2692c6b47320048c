//! Tenants: made, listed, shown.

mod create;
mod request;
pub mod view;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use model::{TenantId, TenantStatus};
use serde::Serialize;
use tenants::TenantFilter;
use uuid::Uuid;

pub use create::create;
use view::TenantView;

use crate::extract::TenantPath;
use crate::params::{Params, RawQuery};
use crate::problem::{self, Failure};
use crate::state::App;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    tenants: Vec<TenantView<'a>>,
    next_cursor: Option<Uuid>,
}

/// `GET /api/v1/tenants`: newest first, a page at a time; `nextCursor` is null on the last one.
pub async fn list(State(app): State<App>, query: RawQuery) -> Result<Response, Failure> {
    let mut params = Params::new(query)?;
    let statuses = format!("one of {}", TenantStatus::NAMES.join(", "));
    let status: Option<TenantStatus> = params.parsed("status", &statuses);
    let limit = params.number("limit", 1, 200, 50);
    let before: Option<TenantId> = params.parsed("cursor", "the nextCursor of an earlier answer");
    params.finish()?;
    // One more than asked for tells whether there is another page.
    let filter = TenantFilter { status: status.map(|status| status.to_string()), before, limit: limit + 1 };
    let mut rows = app.store.tenants(&filter).await?;
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > page;
    rows.truncate(page);
    let next_cursor = rows.last().filter(|_| more).map(|row| row.id);
    let tenants = rows.iter().map(TenantView::from).collect();
    Ok(Json(Page { tenants, next_cursor }).into_response())
}

/// `GET /api/v1/tenants/{id}`.
pub async fn show(State(app): State<App>, TenantPath(id): TenantPath) -> Result<Response, Failure> {
    let row = app.store.tenant(id).await?.ok_or_else(|| problem::no_tenant(&id.to_string()))?;
    Ok(Json(TenantView::from(&row)).into_response())
}
