//! Tenants: made, listed, shown.

mod create;
mod request;
mod syntax;
pub mod view;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use shared::model::{Slug, TenantId, TenantStatus};
use shared::store::TenantFilter;

pub use create::create;
use view::TenantView;

use crate::app::App;
use crate::params::{Params, RawQuery};
use crate::problem::Problem;

/// `GET /api/v1/tenants`: newest first, a page at a time; `nextCursor` is null on the last one.
pub async fn list(State(app): State<App>, query: RawQuery) -> Result<Json<Value>, Problem> {
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
    let cursor = rows.last().filter(|_| more).map(|row| row.id);
    let tenants: Vec<TenantView<'_>> = rows.iter().map(TenantView::from).collect();
    Ok(Json(json!({ "tenants": tenants, "nextCursor": cursor })))
}

/// `GET /api/v1/tenants/{id}`.
pub async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let tenant = find(&app, &id).await?;
    let row = app.store.tenant(tenant).await?.ok_or_else(|| Problem::no_tenant(&id))?;
    Ok(Json(json!(TenantView::from(&row))))
}

/// The tenant that `{id}` means: a UUID, or a slug's newest tenant.
pub async fn find(app: &App, id: &str) -> Result<TenantId, Problem> {
    // What is neither cannot be there, and need not be asked for.
    if id.parse::<TenantId>().is_err() && id.parse::<Slug>().is_err() {
        return Err(Problem::no_tenant(id));
    }
    app.store.find_tenant(id).await?.ok_or_else(|| Problem::no_tenant(id))
}
