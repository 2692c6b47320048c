//! A tenant's own instance: what is recorded of it, and how the cluster sees it now.

mod image;
mod view;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http_server::Problem;
use model::platform::Platform;
use model::{Change, Container, DeploymentType, TenantId};
use serde_json::Value;
use tenants::{DeploymentRow, TenantRow};

use crate::extract::{Actor, JsonObject, TenantPath};
use crate::fields::Fields;
use crate::lifecycle;
use crate::problem::{self, Failure};
use crate::state::App;

/// `GET /api/v1/tenants/{id}/deployment`. While the cluster does not answer, what is recorded is answered all the same.
pub async fn show(State(app): State<App>, TenantPath(tenant): TenantPath) -> Result<Response, Failure> {
    let owner = app.store.tenant(tenant).await?.ok_or_else(|| problem::no_tenant(&tenant.to_string()))?;
    let row = app.store.deployment(tenant).await?.ok_or_else(|| none(&owner))?;
    let place = app.place_of(&owner.region).await?;
    let seen = app.compute.look(&place, &row.namespace, &row.name).await;
    Ok(Json(view::view(&owner, &row, seen)).into_response())
}

/// `PATCH /api/v1/tenants/{id}/deployment`: another image or size, as a JSON merge patch (RFC 7396): what is left out stays,
/// `null` takes the choice away, so that it is as the platform says. Answers with the run that makes it, a second call with the
/// same run, and with the tenant once it is so.
pub async fn change(
    State(app): State<App>,
    actor: Actor,
    TenantPath(tenant): TenantPath,
    JsonObject(object): JsonObject,
) -> Result<Response, Failure> {
    let taken_away = ["image", "size"].map(|field| object.get(field).is_some_and(Value::is_null));
    let mut fields = Fields::new(object, "");
    let image = fields.parsed("image", "invalid_image", image::parse);
    let size = fields.parsed("size", "unknown_value", |text| size(text, &app.platform));
    let asked = image.is_some() || size.is_some() || taken_away.contains(&true);
    if !asked && !fields.wrong("image") && !fields.wrong("size") {
        fields.error("image", "required", "image or size is required");
    }
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(problem::wrong_fields(errors).into());
    }
    let chosen = own(&app, tenant).await?.chosen.0;
    let [no_image, no_size] = taken_away;
    let container = Container {
        image: image.or(chosen.image).filter(|_| !no_image),
        size: size.or(chosen.size).filter(|_| !no_size),
    };
    lifecycle::begin(&app, tenant, Change { container: Some(container), ..Change::default() }, &actor).await
}

/// `POST /api/v1/tenants/{id}/deployment/refresh`: the instance is made again as the platform and its region are now. Answers
/// with the run that does it, a second call meanwhile with the same run. What it already has stays as it is.
pub async fn refresh(
    State(app): State<App>,
    actor: Actor,
    TenantPath(tenant): TenantPath,
) -> Result<Response, Failure> {
    own(&app, tenant).await?;
    let change = Change { refreshes_deployment: true, ..Change::default() };
    lifecycle::begin(&app, tenant, change, &actor).await
}

/// The tenant's own instance, as something that is to be changed.
async fn own(app: &App, tenant: TenantId) -> Result<DeploymentRow, Failure> {
    let owner = app.store.tenant(tenant).await?.ok_or_else(|| problem::no_tenant(&tenant.to_string()))?;
    if is_shared(&owner) {
        return Err(problem::deployment_shared(pooled(&owner)).into());
    }
    Ok(app.store.deployment(tenant).await?.ok_or_else(|| none(&owner))?)
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

fn pooled(owner: &TenantRow) -> String {
    format!("'{}' is served by the pooled tenant-api of region {}", owner.slug, owner.region)
}

fn none(owner: &TenantRow) -> Problem {
    if is_shared(owner) {
        return problem::no_own_deployment(pooled(owner));
    }
    problem::deployment_not_found(format!(
        "'{}' is {}; its deployment is not made yet, or no longer there",
        owner.slug, owner.status
    ))
}
