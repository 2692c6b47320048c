//! Domains of a tenant's own: claimed, shown to be the tenant's by a record in the DNS, given up.

mod view;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use futures::future::join_all;
use http_server::Problem;
use model::TenantId;
use model::platform::Platform;
use serde::Serialize;
use serde_json::json;
use tenants::{ClaimError, DomainRow, TenantRow};
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};

use crate::challenge::{self, Seen};
use crate::extract::{Actor, JsonObject, TenantPath};
use crate::fields::Fields;
use crate::names;
use crate::openapi::{self, Authenticated, Conflicting, Missing, NewDomain, WithBody};
use crate::problem::{self, Failure};
use crate::state::App;
use view::DomainView;

/// All domains of a tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = Domains)]
struct All {
    domains: Vec<DomainView>,
}

/// The tenant's own domains
#[utoipa::path(
    get, path = "/api/v1/tenants/{id}/domains", operation_id = "listDomains", tag = "domains", params(TenantPath),
    responses((status = 200, description = "All of them, the primary one first.", body = All), Authenticated, Missing),
)]
pub async fn list(State(app): State<App>, TenantPath(tenant): TenantPath) -> Result<Response, Failure> {
    let (owner, place) = known(&app, tenant).await?;
    let rows = app.store.domains(tenant).await?;
    let domains = join_all(rows.iter().map(|row| view::with_certificate(&app, &place, &owner, row)));
    Ok(Json(All { domains: domains.await }).into_response())
}

/// Claim a domain
///
/// Answers with the record that shows that it is the tenant's. Claimed again, it is answered as it is.
#[utoipa::path(
    post, path = "/api/v1/tenants/{id}/domains", operation_id = "claimDomain", tag = "domains", params(TenantPath),
    request_body = NewDomain,
    responses(
        (status = 201, description = "Claimed.", body = DomainView), Authenticated, Missing, Conflicting, WithBody
    ),
)]
pub async fn add(
    State(app): State<App>,
    actor: Actor,
    TenantPath(tenant): TenantPath,
    JsonObject(object): JsonObject,
) -> Result<Response, Failure> {
    let platform = app.regions.all().await?;
    let domain = Fields::read(object, |fields| {
        let domain = names::own_domain(fields, &platform);
        fields.required("domain", domain)
    })
    .map_err(problem::wrong_fields)?;
    let claimed = app.store.claim_domain(tenant, &domain, &app.platform.domains, &actor.0).await;
    let row = claimed.map_err(refusal)?;
    let (owner, place) = known(&app, tenant).await?;
    Ok((StatusCode::CREATED, Json(view::view(&place, &owner, &row))).into_response())
}

/// The tenant, and the platform as it is seen in their region.
async fn known(app: &App, tenant: TenantId) -> Result<(TenantRow, Platform), Failure> {
    let owner = app.store.tenant(tenant).await?.ok_or_else(|| problem::no_tenant(&tenant.to_string()))?;
    let platform = app.regions.knowing(&owner.region).await?;
    let place = platform.seen_in(&owner.region).unwrap_or_else(|| Platform::clone(&platform));
    Ok((owner, place))
}

/// Look for the challenge in the DNS
///
/// Once seen, it is not looked for again; the domain is then served, or, asked again, its certificate tried again.
#[utoipa::path(
    post, path = "/api/v1/tenants/{id}/domains/{domain}/verify", operation_id = "verifyDomain", tag = "domains",
    params(DomainPath),
    responses(
        (status = 200, description = "It is the tenant's.", body = DomainView), Authenticated, Missing, Conflicting
    ),
)]
pub async fn verify(
    State(app): State<App>,
    actor: Actor,
    DomainPath { tenant, row }: DomainPath,
) -> Result<Response, Failure> {
    if row.verified_at.is_none() {
        match app.challenges.look(&app.platform.domains, &row).await {
            Seen::Shown => {}
            Seen::Missing(found) => return Err(not_shown(&app, &row, &found).into()),
            Seen::NoAnswer(why) => return Err(no_answer(&row, &why).into()),
        }
    }
    let verified = app.store.domain_verified(tenant, &row.domain, &actor.0).await?;
    // It may have been given up while it was looked for.
    let row = verified.ok_or_else(|| no_domain(&row.domain))?;
    app.announce().await;
    let (owner, place) = known(&app, tenant).await?;
    Ok(Json(view::view(&place, &owner, &row)).into_response())
}

/// Give a domain up
#[utoipa::path(
    delete, path = "/api/v1/tenants/{id}/domains/{domain}", operation_id = "giveUpDomain", tag = "domains", params(DomainPath),
    responses((status = 204, description = "Given up."), Authenticated, Missing),
)]
pub async fn remove(
    State(app): State<App>,
    actor: Actor,
    DomainPath { tenant, row }: DomainPath,
) -> Result<Response, Failure> {
    if app.store.give_up_domain(tenant, &row.domain, &actor.0).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Err(no_domain(&row.domain).into())
}

/// The domain that a path means, and the tenant who has claimed it. 404 where there is none.
#[derive(Debug)]
pub struct DomainPath {
    tenant: TenantId,
    row: DomainRow,
}

impl IntoParams for DomainPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut params = TenantPath::into_params(|| None);
        params.push(openapi::in_path("domain", "A domain that the tenant has claimed."));
        params
    }
}

impl FromRequestParts<App> for DomainPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let Ok(Path((id, domain))) = Path::<(String, String)>::from_request_parts(parts, app).await else {
            return Err(problem::no_tenant("").into());
        };
        let TenantPath(tenant) = TenantPath::find(&app.store, &id).await?;
        let wanted = names::domain(&domain).map_err(|_| no_domain(&domain))?;
        let row = app.store.domains(tenant).await?.into_iter().find(|row| row.domain == wanted);
        Ok(Self { tenant, row: row.ok_or_else(|| no_domain(&wanted))? })
    }
}

/// A domain that another tenant has.
pub fn taken(domain: &str) -> Problem {
    problem::domain_taken(format!("'{domain}' belongs to another tenant"))
}

fn refusal(error: ClaimError) -> Failure {
    let problem = match error {
        ClaimError::Taken(domain) => taken(&domain),
        ClaimError::TooMany(most) => {
            problem::too_many_domains(format!("a tenant may have at most {most} custom domains"))
        }
        ClaimError::Leaving(status) => problem::tenant_leaving(format!("the tenant is {status}")),
        ClaimError::Store(error) => return error.into(),
    };
    problem.into()
}

fn no_domain(domain: &str) -> Problem {
    problem::domain_not_found(format!("the tenant has not claimed '{}'", problem::shown(domain)))
}

fn not_shown(app: &App, row: &DomainRow, found: &[String]) -> Problem {
    let record = challenge::record(&app.platform.domains, row);
    let detail = format!("no TXT record at {} holds {}", record.name, record.value);
    problem::domain_not_verified(detail).with("challenge", json!(record)).with("found", json!(found))
}

fn no_answer(row: &DomainRow, why: &str) -> Problem {
    problem::dns_unavailable(format!("the DNS does not answer for {}: {why}", row.domain)).retry_after(30)
}
