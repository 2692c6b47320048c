//! A tenant's own instance: what is recorded of it, and how the cluster sees it now.

mod compute;
mod image;
mod view;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use shared::model::{Change, Container, DeploymentType};
use shared::platform::Platform;
use shared::store::TenantRow;

pub use compute::Compute;

use crate::app::App;
use crate::auth::Actor;
use crate::body;
use crate::fields::Fields;
use crate::lifecycle;
use crate::problem::Problem;
use crate::tenants::Known;

/// `GET /api/v1/tenants/{id}/deployment`. While the cluster does not answer, what is recorded is answered all the same.
pub async fn show(State(app): State<App>, Known(tenant): Known) -> Result<Response, Problem> {
    let owner = app.store.tenant(tenant).await?.ok_or_else(|| Problem::no_tenant(&tenant.to_string()))?;
    let row = app.store.deployment(tenant).await?.ok_or_else(|| none(&owner))?;
    let place = app.place_of(&owner.region).await?;
    let seen = app.compute.look(&place, &row.namespace, &row.name).await;
    Ok(Json(view::view(&owner, &row, seen)).into_response())
}

/// `PATCH /api/v1/tenants/{id}/deployment`: another image or size. Answers with the run that makes it, a second call with the
/// same run, and with the tenant once it is so. What is left out stays.
pub async fn change(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Known(tenant): Known,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let object = body::object(&body::json_bytes(&headers, body)?)?;
    let mut fields = Fields::new(object, "");
    let image = fields.parsed("image", "invalid_image", image::parse);
    let size = fields.parsed("size", "unknown_value", |text| size(text, &app.platform));
    if image.is_none() && size.is_none() && !fields.wrong("image") && !fields.wrong("size") {
        fields.error("image", "required", "image or size is required");
    }
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid_fields(errors));
    }
    let owner = app.store.tenant(tenant).await?.ok_or_else(|| Problem::no_tenant(&tenant.to_string()))?;
    if is_shared(&owner) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "deployment_shared",
            "The tenant has no deployment of its own",
            format!("'{}' is served by the pooled tenant-api of region {}", owner.slug, owner.region),
        ));
    }
    let chosen = app.store.deployment(tenant).await?.ok_or_else(|| none(&owner))?.chosen.0;
    let container = Container { image: image.or(chosen.image), size: size.or(chosen.size) };
    lifecycle::begin(&app, tenant, Change { container: Some(container), ..Change::default() }, &actor).await
}

fn size(text: &str, platform: &Platform) -> Result<String, String> {
    let known = &platform.tenant_api.sizes;
    if known.contains_key(text) {
        return Ok(text.to_owned());
    }
    let known: Vec<&str> = known.keys().map(String::as_str).collect();
    Err(format!("must be one of {}", known.join(", ")))
}

fn is_shared(owner: &TenantRow) -> bool {
    owner.deployment_strategy == DeploymentType::Shared.as_str()
}

fn none(owner: &TenantRow) -> Problem {
    if is_shared(owner) {
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
