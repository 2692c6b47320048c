//! Regions, the units of residency: those of the platform file, which are read only, and those that are made here.

mod domain;
mod references;
mod request;
mod view;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use tenants::NotChanged;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};

use crate::extract::{Actor, JsonObject};
use crate::openapi::{self, Authenticated, Conflicting, Missing, NewRegion, RegionChange, WithBody};
use crate::problem::{self, Failure};
use crate::state::App;
use references::Guard;
use view::RegionView;

/// How often a change is put onto what others have made of the region meanwhile.
const ROUNDS: usize = 5;

/// All regions.
#[derive(Serialize, ToSchema)]
#[schema(as = Regions)]
struct All {
    regions: Vec<RegionView>,
}

/// The regions
#[utoipa::path(
    get, path = "/api/v1/regions", operation_id = "listRegions", tag = "regions",
    responses((status = 200, description = "All of them, by key.", body = All), Authenticated),
)]
pub async fn list(State(app): State<App>) -> Result<Response, Failure> {
    Ok(Json(All { regions: view::all(&app).await? }).into_response())
}

/// A region
#[utoipa::path(
    get, path = "/api/v1/regions/{key}", operation_id = "getRegion", tag = "regions", params(Key),
    responses((status = 200, description = "As it is now.", body = RegionView), Authenticated, Missing),
)]
pub async fn show(State(app): State<App>, Key(key): Key) -> Result<Response, Failure> {
    Ok(Json(known(&app, &key).await?).into_response())
}

/// Make a region
///
/// The same body again is answered as the first was. Secrets are given by reference: env:NAME, file:/PATH (absolute, without //, .
/// and ..) or k8s:namespace/name#key; one that is the platform's own, a tenant's or another region's of the platform file is
/// secret_reference_forbidden in errors. A domain that is within a living tenant's name or own domain is domain_taken in errors. A
/// region of the platform file's key is 409 region_in_platform_file, one that is there and differs 409 region_exists.
#[utoipa::path(
    post, path = "/api/v1/regions", operation_id = "createRegion", tag = "regions", request_body = NewRegion,
    responses(
        (
            status = 201, description = "Made, or there already as asked for.", body = RegionView,
            headers(("Location" = String, description = "The region's path."))
        ),
        Authenticated, Conflicting, WithBody
    ),
)]
pub async fn create(
    State(app): State<App>,
    actor: Actor,
    JsonObject(object): JsonObject,
) -> Result<Response, Failure> {
    let there = match object.get("key").and_then(Value::as_str) {
        Some(key) if request::key(key).is_ok() => app.store.region(key).await?,
        _ => None,
    };
    let now = there.as_ref().map(|there| &there.region.0);
    let (key, region) = request::new(object, &app.platform, now).map_err(problem::wrong_fields)?;
    match there {
        Some(there) if there.region.0 == region => {}
        Some(_) => return Err(exists(&key)),
        None if app.platform.regions.contains_key(&key) => return Err(in_file(&key)),
        None => {
            if let Some(domain) = &region.domain {
                domain::expect_free(&app, domain).await?;
            }
            if app.store.make_region(&key, &region, &actor.0).await? {
                tracing::info!(region.key = key, actor = &*actor.0, "region made");
            } else if app.store.region(&key).await?.is_none_or(|there| there.region.0 != region) {
                // Somebody was faster.
                return Err(exists(&key));
            }
        }
    }
    let headers = [(LOCATION, view::location(&key))];
    Ok((StatusCode::CREATED, headers, Json(known(&app, &key).await?)).into_response())
}

/// Change a region
///
/// A JSON merge patch (RFC 7396) of what POST takes: what is left out stays, null takes away; what comes of it must be what POST
/// would take. While tenants live in the region, another cluster, domain, database.host, .port or .sharedDatabase, jobs.host, .port
/// or .vhost, and jobs taken away, are 409 region_has_tenants; jobs may be added. One of the platform file is 409
/// region_in_platform_file. A second call changes nothing.
#[utoipa::path(
    patch, path = "/api/v1/regions/{key}", operation_id = "changeRegion", tag = "regions", params(Key),
    request_body = RegionChange,
    responses(
        (status = 200, description = "As it is now.", body = RegionView),
        Authenticated, Missing, Conflicting, WithBody
    ),
)]
pub async fn change(
    State(app): State<App>,
    actor: Actor,
    Key(key): Key,
    JsonObject(patch): JsonObject,
) -> Result<Response, Failure> {
    for _ in 0..ROUNDS {
        let Some(there) = app.store.region(&key).await? else {
            let in_the_file = app.platform.regions.contains_key(&key);
            return Err(if in_the_file { in_file(&key) } else { none(&key) });
        };
        let patched = request::patched(&there.region, patch.clone());
        let guard = Guard::of(&app.platform, &key, Some(&there.region));
        let region = request::parse(patched, &guard).map_err(problem::wrong_fields)?;
        if let Some(domain) = region.domain.as_deref().filter(|_| region.domain != there.region.domain) {
            domain::expect_free(&app, domain).await?;
        }
        match app.store.change_region(&key, there.version, &region).await {
            Ok(()) => {
                // Names only: a value that was refused once may be a secret in the wrong place.
                let fields: Vec<&str> = patch.keys().map(String::as_str).collect();
                tracing::info!(region.key = key, ?fields, actor = &*actor.0, "region changed");
                return Ok(Json(known(&app, &key).await?).into_response());
            }
            Err(NotChanged::Overtaken) => {}
            Err(NotChanged::Unknown) => return Err(none(&key)),
            Err(NotChanged::HasTenants(tenants)) => return Err(has_tenants(&key, tenants)),
            Err(NotChanged::Store(error)) => return Err(error.into()),
        }
    }
    let why = format!("'{key}' was changed concurrently at each attempt");
    Err(problem::region_changing(why).retry_after(1).into())
}

/// The region that a path means, as a text that can be one.
#[derive(Clone, Debug)]
pub struct Key(String);

impl IntoParams for Key {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![openapi::in_path("key", "The region's key.")]
    }
}

impl FromRequestParts<App> for Key {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        match Path::<String>::from_request_parts(parts, app).await {
            // What the database would refuse (a NUL) is no region's.
            Ok(Path(key)) if request::key(&key).is_ok() => Ok(Self(key)),
            Ok(Path(key)) => Err(none(&key)),
            Err(_) => Err(none("")),
        }
    }
}

async fn known(app: &App, key: &str) -> Result<RegionView, Failure> {
    view::one(app, key).await?.ok_or_else(|| none(key))
}

fn none(key: &str) -> Failure {
    problem::region_not_found(format!("no region has the key '{}'", problem::shown(key))).into()
}

fn exists(key: &str) -> Failure {
    problem::region_exists(format!("'{key}' is there and is not what was asked for"))
        .naming("region", &view::location(key))
        .into()
}

fn in_file(key: &str) -> Failure {
    let why = format!("'{key}' is made and changed in the platform's configuration file");
    problem::region_in_platform_file(why).into()
}

fn has_tenants(key: &str, tenants: i64) -> Failure {
    let why = format!(
        "cluster, domain, database.host, .port and .sharedDatabase, and jobs.host, .port and .vhost of '{key}' stay as they \
         are while tenants live there ({tenants} do)"
    );
    problem::region_has_tenants(why).with("tenants", tenants).into()
}
