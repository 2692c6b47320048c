//! Domains of the tenants' own.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Seconds;

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
}

impl Default for Domains {
    fn default() -> Self {
        Self {
            resolver: None,
            challenge_label: "_matih-challenge".into(),
            // A week, in which somebody finds the person who may change the DNS.
            claim_within: Seconds(7.0 * 24.0 * 3600.0),
            per_tenant: 20,
        }
    }
}
