//! A domain as it is answered.

use chrono::{DateTime, Utc};
use cluster::certificate::Issuance;
use model::platform::Platform;
use model::{DeploymentType, Slug};
use serde::Serialize;
use tenants::{DomainRow, TenantRow};
use utoipa::ToSchema;

use crate::challenge::{self, Record};
use crate::openapi;
use crate::state::App;

/// A domain of a tenant's own, and what its owner has to do.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Domain)]
pub struct DomainView {
    /// In the list only: how far the certificate of a verified domain is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Certificate>)]
    #[expect(clippy::option_option, reason = "left out, null, or there")]
    certificate: Option<Option<Certificate>>,
    /// What has to stand in the DNS so that the domain's certificate can be issued; null where nothing has to, and for tenants
    /// of the pooled instance.
    #[schema(required)]
    certificate_challenge: Option<Delegation>,
    challenge: Record,
    created_at: DateTime<Utc>,
    /// In ASCII and lower case.
    domain: String,
    primary: bool,
    /// Where the domain itself has to point; null for tenants of the pooled instance.
    #[schema(required)]
    target: Option<String>,
    verified: bool,
    #[schema(required)]
    verified_at: Option<DateTime<Utc>>,
}

/// The alias by which a domain's certificate can be issued.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Delegation {
    name: String,
    #[serde(rename = "type")]
    #[schema(value_type = openapi::Cname, inline)]
    kind: &'static str,
    value: String,
}

/// How far a verified domain's certificate is.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    name: String,
    #[schema(required)]
    not_after: Option<DateTime<Utc>>,
    #[schema(required)]
    reason: Option<String>,
    #[schema(inline)]
    state: CertificateState,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum CertificateState {
    Ready,
    Pending,
    Failed,
    Missing,
    Unknown,
}

/// A domain, without its certificate.
pub fn view(place: &Platform, owner: &TenantRow, row: &DomainRow) -> DomainView {
    let served = is_served(owner);
    let delegated = place.delegated_challenge(&owner.slug, row.number).filter(|_| served);
    DomainView {
        certificate: None,
        certificate_challenge: delegated.map(|value| Delegation {
            name: format!("_acme-challenge.{}", row.domain),
            kind: "CNAME",
            value,
        }),
        challenge: challenge::record(&place.domains, row),
        created_at: row.created_at,
        domain: row.domain.clone(),
        primary: row.is_primary,
        target: served.then(|| format!("{}.{}", owner.slug, place.domain)),
        verified: row.verified_at.is_some(),
        verified_at: row.verified_at,
    }
}

/// A domain, with how far its certificate is.
pub async fn with_certificate(app: &App, place: &Platform, owner: &TenantRow, row: &DomainRow) -> DomainView {
    let certificate = certificate(app, place, owner, row).await;
    DomainView { certificate: Some(certificate), ..view(place, owner, row) }
}

/// How far a verified domain's certificate is. A shared tenant's domains have none.
async fn certificate(app: &App, place: &Platform, owner: &TenantRow, row: &DomainRow) -> Option<Certificate> {
    use CertificateState::{Failed, Missing, Pending, Ready, Unknown};
    let slug = owner.slug.parse::<Slug>().ok()?;
    if !is_served(owner) || row.verified_at.is_none() || owner.deleted_at.is_some() {
        return None;
    }
    let name = format!("{slug}-domain-{}", row.number);
    let namespace = place.namespace(&slug);
    let (state, reason, not_after) = match app.compute.certificate(place, namespace.as_str(), &name).await {
        Ok(Some((Issuance::Ready { not_after }, _))) => (Ready, None, not_after),
        Ok(Some((Issuance::Pending, why))) => (Pending, why, None),
        Ok(Some((Issuance::Failed, why))) => (Failed, why, None),
        Ok(None) => (Missing, Some("it is not asked for yet; see the tenant's runs".to_owned()), None),
        Err(why) => (Unknown, Some(why), None),
    };
    Some(Certificate { name, not_after, reason, state })
}

fn is_served(owner: &TenantRow) -> bool {
    owner.deployment_strategy == DeploymentType::ContainerPerTenant.as_str()
}
