//! How a tenant's provisioning goes, and what has happened.

mod progress;
mod view;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use view::{AuditView, StatusView};

use crate::extract::TenantPath;
use crate::openapi::{Authenticated, Missing, Parameterised};
use crate::params::{Params, RawQuery};
use crate::problem::{self, Failure};
use crate::state::App;

/// How the newest run goes
#[utoipa::path(
    get, path = "/api/v1/tenants/{id}/provisioning/status", operation_id = "getProvisioningStatus", tag = "provisioning",
    params(TenantPath),
    responses((status = 200, description = "The status.", body = StatusView), Authenticated, Missing),
)]
pub async fn status(State(app): State<App>, TenantPath(id): TenantPath) -> Result<Response, Failure> {
    let row = app.store.status(id).await?.ok_or_else(|| problem::no_tenant(&id.to_string()))?;
    let typical = app.history.typical(&app.store).await?;
    Ok(Json(StatusView::of(&row, &typical)?).into_response())
}

/// A page of the audit log.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Audit)]
struct Page<'a> {
    entries: Vec<AuditView<'a>>,
    /// Null on the last page.
    #[schema(required)]
    next_after: Option<i64>,
}

/// Which part of the audit log is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Only entries after this number.
    #[param(required = false, minimum = 0, default = 0)]
    after: i64,
    /// At most so many.
    #[param(required = false, minimum = 1, maximum = 500, default = 100)]
    limit: i64,
}

impl AuditQuery {
    fn read(query: RawQuery) -> Result<Self, Failure> {
        let mut params = Params::new(query)?;
        let after = params.number("after", 0, i64::MAX, 0);
        let limit = params.number("limit", 1, 500, 100);
        params.finish()?;
        Ok(Self { after, limit })
    }
}

/// Every transition, oldest first
#[utoipa::path(
    get, path = "/api/v1/tenants/{id}/provisioning/audit", operation_id = "getProvisioningAudit", tag = "provisioning",
    params(TenantPath, AuditQuery),
    responses((status = 200, description = "A page.", body = Page), Authenticated, Missing, Parameterised),
)]
pub async fn audit(
    State(app): State<App>,
    TenantPath(id): TenantPath,
    query: RawQuery,
) -> Result<Response, Failure> {
    let AuditQuery { after, limit } = AuditQuery::read(query)?;
    let mut rows = app.store.audit(id, after, limit + 1).await?;
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > page;
    rows.truncate(page);
    let next_after = rows.last().filter(|_| more).map(|row| row.number);
    let entries = rows.iter().map(AuditView::from).collect();
    Ok(Json(Page { entries, next_after }).into_response())
}
