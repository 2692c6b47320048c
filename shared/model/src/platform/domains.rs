//! Domains of the tenants' own.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{IssuerKind, Platform, Seconds};

/// How a tenant shows that a domain is its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Domains {
    /// Who is asked for the challenge, `address:port`; none means the machine's own resolver.
    pub resolver: Option<SocketAddr>,
    /// The label before the domain at which the challenge is looked for.
    pub challenge_label: String,
    /// A claim that was not shown to be true for this long may be taken by another tenant.
    pub claim_within: Seconds,
    /// Most domains of one tenant.
    pub per_tenant: i64,
    /// How the certificate of a verified domain is proven.
    pub challenge: DomainChallenge,
    /// Who issues it: cert-manager's issuer; that of the tenants' own names when empty.
    pub issuer: String,
    /// `ClusterIssuer`, or `Issuer` for one in the tenant's namespace.
    pub issuer_kind: IssuerKind,
}

/// How the certificate of a tenant's own domain is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DomainChallenge {
    /// By a record in the tenant's zone, to which the domain's owner points `_acme-challenge.<domain>` with a CNAME. The
    /// issuer's solver must follow it (`cnameStrategy: Follow`).
    #[serde(rename = "dns-01")]
    Dns01,
    /// By a file that the tenant's ingress controller serves, once the domain points to it.
    #[serde(rename = "http-01")]
    Http01,
}

impl Default for Domains {
    fn default() -> Self {
        Self {
            resolver: None,
            challenge_label: "_matih-challenge".into(),
            // A week, in which somebody finds the person who may change the DNS.
            claim_within: Seconds(7.0 * 24.0 * 3600.0),
            per_tenant: 20,
            // As the tenants' own names, by the same issuer: nothing more is needed in the cluster.
            challenge: DomainChallenge::Dns01,
            issuer: String::new(),
            issuer_kind: IssuerKind::ClusterIssuer,
        }
    }
}

impl Platform {
    /// Who issues the certificates of tenants' own domains.
    pub fn domain_issuer(&self) -> (&str, IssuerKind) {
        if self.domains.issuer.is_empty() {
            return (&self.certificates.issuer, self.certificates.issuer_kind);
        }
        (&self.domains.issuer, self.domains.issuer_kind)
    }

    /// Where `_acme-challenge.<domain>` of a tenant's domain has to point; none where nothing has to.
    pub fn delegated_challenge(&self, slug: &str, number: i32) -> Option<String> {
        let delegated = self.domains.challenge == DomainChallenge::Dns01;
        delegated.then(|| format!("_acme-challenge.domain-{number}.{slug}.{}", self.domain))
    }
}
