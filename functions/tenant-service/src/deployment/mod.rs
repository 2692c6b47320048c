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
use crate::openapi::{Authenticated, Conflicting, DeploymentChange, Missing, WithBody};
use crate::problem::{self, Failure};
use crate::state::App;
use crate::tenants::view::{Accepted, TenantView};
use view::DeploymentView;

/// The tenant's own instance
///
/// What is recorded of it, and how the cluster sees it now. While the cluster does not answer, `cluster` is `unreachable` and the
/// rest is what is recorded. A tenant of the pooled instance has none (404 `deployment_shared`).
#[utoipa::path(
    get, path = "/api/v1/tenants/{id}/deployment", operation_id = "showDeployment", tag = "deployment", params(TenantPath),
    responses((status = 200, description = "The instance.", body = DeploymentView), Authenticated, Missing),
)]
pub async fn show(State(app): State<App>, TenantPath(tenant): TenantPath) -> Result<Response, Failure> {
    let owner = app.store.tenant(tenant).await?.ok_or_else(|| problem::no_tenant(&tenant.to_string()))?;
    let row = app.store.deployment(tenant).await?.ok_or_else(|| none(&owner))?;
    let place = app.place_of(&owner.region).await?;
    let seen = app.compute.look(&place, &row.namespace, &row.name).await;
    Ok(Json(view::view(&owner, &row, seen)).into_response())
}

/// Give the tenant's own instance another image or size
///
/// Rolling, one pod more at a time. If it does not become ready, what was before is made again and the tenant stays as it was. A
/// JSON merge patch (RFC 7396): what is left out stays, null takes the choice away, so that it is as the platform says.
#[utoipa::path(
    patch, path = "/api/v1/tenants/{id}/deployment", operation_id = "changeDeployment", tag = "deployment",
    params(TenantPath), request_body = DeploymentChange,
    responses(
        (status = 200, description = "It is so already.", body = TenantView),
        (status = 202, description = "The run that makes it; the same one when asked again meanwhile.", body = Accepted),
        Authenticated, Missing, Conflicting, WithBody
    ),
)]
pub async fn change(
    State(app): State<App>,
    actor: Actor,
    TenantPath(tenant): TenantPath,
    JsonObject(object): JsonObject,
) -> Result<Response, Failure> {
    let taken_away = ["image", "size"].map(|field| object.get(field).is_some_and(Value::is_null));
    let (image, size) = Fields::read(object, |fields| {
        let image = fields.parsed("image", "invalid_image", image::parse);
        let size = fields.parsed("size", "unknown_value", |text| size(text, &app.platform));
        let asked = image.is_some() || size.is_some() || taken_away.contains(&true);
        if !asked && !fields.wrong("image") && !fields.wrong("size") {
            fields.error("image", "required", "image or size is required");
        }
        Some((image, size))
    })
    .map_err(problem::wrong_fields)?;
    let chosen = own(&app, tenant).await?.chosen.0;
    let [no_image, no_size] = taken_away;
    let container = Container {
        image: image.or(chosen.image).filter(|_| !no_image),
        size: size.or(chosen.size).filter(|_| !no_size),
    };
    lifecycle::begin(&app, tenant, Change { container: Some(container), ..Change::default() }, &actor).await
}

/// Bring to the tenant's own instance what the platform and its region are now
///
/// The image and size (where none is chosen), the public keys of licences, what it accepts as internal secrets, its login at the
/// job broker. Rolling, and only if its pods are to be others. If it does not become ready, what was before is made again, but for
/// secrets that the region no longer has. A tenant of the pooled instance has none (409 `deployment_shared`).
#[utoipa::path(
    post, path = "/api/v1/tenants/{id}/deployment/refresh", operation_id = "refreshDeployment", tag = "deployment",
    params(TenantPath),
    responses(
        (status = 202, description = "The run that does it; the same one when asked again meanwhile.", body = Accepted),
        Authenticated, Missing, Conflicting
    ),
)]
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
