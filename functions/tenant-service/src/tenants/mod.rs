//! Tenants: made, listed, shown.

mod create;
mod request;
pub mod syntax;
pub mod view;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::model::{Slug, TenantId, TenantStatus};
use shared::store::TenantFilter;
use uuid::Uuid;

pub use create::create;
use view::TenantView;

use crate::app::App;
use crate::params::{Params, RawQuery};
use crate::problem::Problem;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    tenants: Vec<TenantView<'a>>,
    next_cursor: Option<Uuid>,
}

/// `GET /api/v1/tenants`: newest first, a page at a time; `nextCursor` is null on the last one.
pub async fn list(State(app): State<App>, query: RawQuery) -> Result<Response, Problem> {
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
pub async fn show(State(app): State<App>, Known(id): Known) -> Result<Response, Problem> {
    let row = app.store.tenant(id).await?.ok_or_else(|| Problem::no_tenant(&id.to_string()))?;
    Ok(Json(TenantView::from(&row)).into_response())
}

/// The tenant that a path's `{id}` means: a UUID, or a slug's newest tenant. 404 where there is none.
#[derive(Clone, Copy, Debug)]
pub struct Known(pub TenantId);

impl FromRequestParts<App> for Known {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        // What is no text cannot be there.
        let Ok(Path(id)) = Path::<String>::from_request_parts(parts, app).await else {
            return Err(Problem::no_tenant(""));
        };
        Self::find(app, &id).await
    }
}

impl Known {
    /// The tenant with this id or slug.
    pub async fn find(app: &App, id: &str) -> Result<Self, Problem> {
        // What is neither a UUID nor a slug need not be asked for.
        if id.parse::<TenantId>().is_err() && id.parse::<Slug>().is_err() {
            return Err(Problem::no_tenant(id));
        }
        app.store.find_tenant(id).await?.map(Self).ok_or_else(|| Problem::no_tenant(id))
    }
}
