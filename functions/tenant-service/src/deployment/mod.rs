//! A tenant's own instance: what is recorded of it, and how the cluster sees it now.

mod compute;
mod view;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use shared::model::DeploymentType;
use shared::store::TenantRow;

pub use compute::Compute;

use crate::app::App;
use crate::problem::Problem;
use crate::tenants::Known;

/// `GET /api/v1/tenants/{id}/deployment`. While the cluster does not answer, what is recorded is answered all the same.
pub async fn show(State(app): State<App>, Known(tenant): Known) -> Result<Response, Problem> {
    let owner = app.store.tenant(tenant).await?.ok_or_else(|| Problem::no_tenant(&tenant.to_string()))?;
    let row = app.store.deployment(tenant).await?.ok_or_else(|| none(&owner))?;
    let seen = app.compute.look(&row.namespace, &row.name).await;
    Ok(Json(view::view(&owner, &row, seen)).into_response())
}

fn none(owner: &TenantRow) -> Problem {
    if owner.deployment_strategy == DeploymentType::Shared.as_str() {
        return Problem::new(
            StatusCode::NOT_FOUND,
            "deployment_shared",
            "The tenant has no deployment of its own",
            format!("'{}' is served by the pooled tenant-api of region {}", owner.slug, owner.region),
        );
    }
    Problem::new(
        StatusCode::NOT_FOUND,
        "deployment_not_found",
        "The tenant has no deployment",
        format!("'{}' is {}; its deployment is not made yet, or no longer there", owner.slug, owner.status),
    )
    .next("See the tenant's provisioning status.")
}
