//! Domains of a tenant's own: claimed, shown to be the tenant's by a record in the DNS, given up.

mod challenge;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use shared::model::TenantId;
use shared::store::{ClaimError, DomainRow};

pub use challenge::Names;

use crate::app::App;
use crate::auth::Actor;
use crate::body;
use crate::fields::Fields;
use crate::problem::Problem;
use crate::tenants::{Known, syntax};
use challenge::Seen;

/// A domain, and what its owner has to do.
fn view(app: &App, row: &DomainRow) -> Value {
    json!({
        "domain": row.domain,
        "primary": row.is_primary,
        "verified": row.verified_at.is_some(),
        "verifiedAt": row.verified_at,
        "createdAt": row.created_at,
        "challenge": challenge::record(&app.platform.domains, row),
    })
}

#[derive(Serialize)]
struct All {
    domains: Vec<Value>,
}

/// `GET /api/v1/tenants/{id}/domains`: the primary one first.
pub async fn list(State(app): State<App>, Known(tenant): Known) -> Result<Response, Problem> {
    let rows = app.store.domains(tenant).await?;
    Ok(Json(All { domains: rows.iter().map(|row| view(&app, row)).collect() }).into_response())
}

/// `POST /api/v1/tenants/{id}/domains`: claims a domain. Claimed again, it is answered as it is.
pub async fn add(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Known(tenant): Known,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let object = body::object(&body::json_bytes(&headers, body)?)?;
    let mut fields = Fields::new(object, "");
    let domain = syntax::own_domain(&mut fields, &*app.regions.all().await?);
    let domain = fields.required("domain", domain);
    let errors = fields.finish();
    let Some(domain) = domain.filter(|_| errors.is_empty()) else {
        return Err(Problem::invalid_fields(errors));
    };
    let claimed = app.store.claim_domain(tenant, &domain, &app.platform.domains, &actor.0).await;
    let row = claimed.map_err(refusal)?;
    Ok((StatusCode::CREATED, Json(view(&app, &row))).into_response())
}

/// `POST /api/v1/tenants/{id}/domains/{domain}/verify`: looks for the challenge in the DNS. Once seen, it is not looked for
/// again.
pub async fn verify(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Claimed { tenant, row }: Claimed,
) -> Result<Response, Problem> {
    if row.verified_at.is_none() {
        match app.names.look(&app.platform.domains, &row).await {
            Seen::Shown => {}
            Seen::Missing(found) => return Err(not_shown(&app, &row, &found)),
            Seen::NoAnswer(why) => return Err(no_answer(&row, &why)),
        }
    }
    let verified = app.store.domain_verified(tenant, &row.domain, &actor.0).await?;
    // It may have been given up while it was looked for.
    let row = verified.ok_or_else(|| no_domain(&row.domain))?;
    Ok(Json(view(&app, &row)).into_response())
}

/// `DELETE /api/v1/tenants/{id}/domains/{domain}`: gives it up.
pub async fn remove(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Claimed { tenant, row }: Claimed,
) -> Result<Response, Problem> {
    if app.store.give_up_domain(tenant, &row.domain, &actor.0).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Err(no_domain(&row.domain))
}

/// The domain that a path means, and the tenant who has claimed it. 404 where there is none.
#[derive(Debug)]
pub struct Claimed {
    tenant: TenantId,
    row: DomainRow,
}

impl FromRequestParts<App> for Claimed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Ok(Path((id, domain))) = Path::<(String, String)>::from_request_parts(parts, app).await else {
            return Err(Problem::no_tenant(""));
        };
        let Known(tenant) = Known::find(app, &id).await?;
        let wanted = syntax::domain(&domain).map_err(|_| no_domain(&domain))?;
        let row = app.store.domains(tenant).await?.into_iter().find(|row| row.domain == wanted);
        Ok(Self { tenant, row: row.ok_or_else(|| no_domain(&wanted))? })
    }
}

/// A domain that another tenant has.
pub fn taken(domain: &str) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "domain_taken",
        "The domain is taken",
        format!("'{domain}' belongs to another tenant"),
    )
    .next("Choose another domain, or have the tenant that has it give it up.")
}

fn refusal(error: ClaimError) -> Problem {
    match error {
        ClaimError::Taken(domain) => taken(&domain),
        ClaimError::TooMany(most) => Problem::new(
            StatusCode::CONFLICT,
            "too_many_domains",
            "The tenant has too many domains",
            format!("a tenant may have {most} domains of its own"),
        )
        .next("Give one up, or raise domains.per_tenant of the platform."),
        ClaimError::Leaving(status) => Problem::new(
            StatusCode::CONFLICT,
            "tenant_leaving",
            "The tenant is being taken out",
            format!("the tenant is {status}"),
        ),
        ClaimError::Store(error) => error.into(),
    }
}

fn no_domain(domain: &str) -> Problem {
    // What was asked for may be anything; what is shown of it is bounded.
    let shown: String = domain.chars().filter(|c| !c.is_control()).take(64).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        "domain_not_found",
        "The tenant has no such domain",
        format!("the tenant has not claimed '{shown}'"),
    )
    .next("POST it to the tenant's domains first.")
}

fn not_shown(app: &App, row: &DomainRow, found: &[String]) -> Problem {
    let record = challenge::record(&app.platform.domains, row);
    let detail = format!("no TXT record at {} holds {}", record.name, record.value);
    Problem::new(StatusCode::CONFLICT, "domain_not_verified", "The domain is not shown to be yours", detail)
        .next(
            "Add the TXT record at the domain's DNS provider, wait until it is served, and send this again.",
        )
        .with("challenge", json!(record))
        .with("found", json!(found))
}

fn no_answer(row: &DomainRow, why: &str) -> Problem {
    let detail = format!("the DNS does not answer for {}: {why}", row.domain);
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "dns_unavailable", "The DNS cannot be asked now", detail)
        .next("Check that the domain's name servers answer, and send this again.")
        .retry_after(30)
}
