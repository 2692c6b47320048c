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
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

pub use create::*;
use view::TenantView;

use crate::extract::TenantPath;
use crate::openapi::{self, Authenticated, Missing, Parameterised};
use crate::params::{Params, RawQuery};
use crate::problem::{self, Failure};
use crate::state::App;

/// A page of tenants.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Tenants)]
struct Page<'a> {
    tenants: Vec<TenantView<'a>>,
    /// Null on the last page.
    #[schema(required)]
    next_cursor: Option<Uuid>,
}

/// Which tenants are asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct TenantsQuery {
    /// Only these.
    #[param(value_type = openapi::TenantStatus, required = false)]
    status: Option<TenantStatus>,
    /// At most so many.
    #[param(required = false, minimum = 1, maximum = 200, default = 50)]
    limit: i64,
    /// The nextCursor of the page before.
    #[param(value_type = Uuid, required = false)]
    cursor: Option<TenantId>,
}

impl TenantsQuery {
    fn read(query: RawQuery) -> Result<Self, Failure> {
        let mut params = Params::new(query)?;
        let statuses = format!("one of {}", TenantStatus::NAMES.join(", "));
        let status = params.parsed("status", &statuses);
        let limit = params.number("limit", 1, 200, 50);
        let cursor = params.parsed("cursor", "the nextCursor of an earlier answer");
        params.finish()?;
        Ok(Self { status, limit, cursor })
    }
}

/// Tenants, newest first
#[utoipa::path(
    get, path = "/api/v1/tenants", operation_id = "listTenants", tag = "tenants", params(TenantsQuery),
    responses((status = 200, description = "A page.", body = Page), Authenticated, Parameterised),
)]
pub async fn list(State(app): State<App>, query: RawQuery) -> Result<Response, Failure> {
    let TenantsQuery { status, limit, cursor: before } = TenantsQuery::read(query)?;
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

/// One tenant
#[utoipa::path(
    get, path = "/api/v1/tenants/{id}", operation_id = "getTenant", tag = "tenants", params(TenantPath),
    responses((status = 200, description = "The tenant.", body = TenantView), Authenticated, Missing),
)]
pub async fn show(State(app): State<App>, TenantPath(id): TenantPath) -> Result<Response, Failure> {
    let row = app.store.tenant(id).await?.ok_or_else(|| problem::no_tenant(&id.to_string()))?;
    Ok(Json(TenantView::from(&row)).into_response())
}
