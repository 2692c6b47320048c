//! Domains of a tenant's own: claimed, shown to be the tenant's by a record in the DNS, given up.

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use cluster::certificate::Issuance;
use futures::future::join_all;
use http_server::Problem;
use model::platform::Platform;
use model::{DeploymentType, Slug, TenantId};
use serde::Serialize;
use serde_json::{Value, json};
use tenants::{ClaimError, DomainRow, TenantRow};

use crate::challenge::{self, Seen};
use crate::extract::{Actor, JsonObject, TenantPath};
use crate::fields::Fields;
use crate::names;
use crate::problem::{self, Failure};
use crate::state::App;

/// A domain, and what its owner has to do.
fn view(place: &Platform, owner: &TenantRow, row: &DomainRow) -> Value {
    let served = owner.deployment_strategy == DeploymentType::ContainerPerTenant.as_str();
    let delegated = place.delegated_challenge(&owner.slug, row.number).filter(|_| served).map(
        |value| json!({ "type": "CNAME", "name": format!("_acme-challenge.{}", row.domain), "value": value }),
    );
    json!({
        "domain": row.domain,
        "primary": row.is_primary,
        "verified": row.verified_at.is_some(),
        "verifiedAt": row.verified_at,
        "createdAt": row.created_at,
        "challenge": challenge::record(&place.domains, row),
        "certificateChallenge": delegated,
        "target": served.then(|| format!("{}.{}", owner.slug, place.domain)),
    })
}

/// How far a verified domain's certificate is. A shared tenant's domains have none.
async fn certificate(app: &App, place: &Platform, owner: &TenantRow, row: &DomainRow) -> Value {
    let served = owner.deployment_strategy == DeploymentType::ContainerPerTenant.as_str();
    let Ok(slug) = owner.slug.parse::<Slug>() else { return Value::Null };
    if !served || row.verified_at.is_none() || owner.deleted_at.is_some() {
        return Value::Null;
    }
    let name = format!("{slug}-domain-{}", row.number);
    let namespace = place.namespace(&slug);
    let (state, reason, not_after) = match app.compute.certificate(place, namespace.as_str(), &name).await {
        Ok(Some((Issuance::Ready { not_after }, _))) => ("ready", None, not_after),
        Ok(Some((Issuance::Pending, why))) => ("pending", why, None),
        Ok(Some((Issuance::Failed, why))) => ("failed", why, None),
        Ok(None) => ("missing", Some("it is not asked for yet; see the tenant's runs".to_owned()), None),
        Err(why) => ("unknown", Some(why), None),
    };
    json!({ "name": name, "state": state, "reason": reason, "notAfter": not_after })
}

#[derive(Serialize)]
struct All {
    domains: Vec<Value>,
}

/// `GET /api/v1/tenants/{id}/domains`: the primary one first, each with how far its certificate is.
pub async fn list(State(app): State<App>, TenantPath(tenant): TenantPath) -> Result<Response, Failure> {
    let (owner, place) = known(&app, tenant).await?;
    let rows = app.store.domains(tenant).await?;
    let domains = join_all(rows.iter().map(async |row| {
        let mut domain = view(&place, &owner, row);
        domain["certificate"] = certificate(&app, &place, &owner, row).await;
        domain
    }));
    Ok(Json(All { domains: domains.await }).into_response())
}

/// `POST /api/v1/tenants/{id}/domains`: claims a domain. Claimed again, it is answered as it is.
pub async fn add(
    State(app): State<App>,
    actor: Actor,
    TenantPath(tenant): TenantPath,
    JsonObject(object): JsonObject,
) -> Result<Response, Failure> {
    let mut fields = Fields::new(object, "");
    let domain = names::own_domain(&mut fields, &*app.regions.all().await?);
    let domain = fields.required("domain", domain);
    let errors = fields.finish();
    let Some(domain) = domain.filter(|_| errors.is_empty()) else {
        return Err(problem::wrong_fields(errors).into());
    };
    let claimed = app.store.claim_domain(tenant, &domain, &app.platform.domains, &actor.0).await;
    let row = claimed.map_err(refusal)?;
    let (owner, place) = known(&app, tenant).await?;
    Ok((StatusCode::CREATED, Json(view(&place, &owner, &row))).into_response())
}

/// The tenant, and the platform as it is seen in their region.
async fn known(app: &App, tenant: TenantId) -> Result<(TenantRow, Platform), Failure> {
    let owner = app.store.tenant(tenant).await?.ok_or_else(|| problem::no_tenant(&tenant.to_string()))?;
    let platform = app.regions.knowing(&owner.region).await?;
    let place = platform.seen_in(&owner.region).unwrap_or_else(|| Platform::clone(&platform));
    Ok((owner, place))
}

/// `POST /api/v1/tenants/{id}/domains/{domain}/verify`: looks for the challenge in the DNS. Once seen, it is not looked for
/// again; the domain is then served, or, asked again, its certificate tried again.
pub async fn verify(
    State(app): State<App>,
    actor: Actor,
    Claimed { tenant, row }: Claimed,
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
    Ok(Json(view(&place, &owner, &row)).into_response())
}

/// `DELETE /api/v1/tenants/{id}/domains/{domain}`: gives it up.
pub async fn remove(
    State(app): State<App>,
    actor: Actor,
    Claimed { tenant, row }: Claimed,
) -> Result<Response, Failure> {
    if app.store.give_up_domain(tenant, &row.domain, &actor.0).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Err(no_domain(&row.domain).into())
}

/// The domain that a path means, and the tenant who has claimed it. 404 where there is none.
#[derive(Debug)]
pub struct Claimed {
    tenant: TenantId,
    row: DomainRow,
}

impl FromRequestParts<App> for Claimed {
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
