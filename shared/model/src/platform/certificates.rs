//! Who issues the tenants' certificates. The defaults are the provisioning reference's (phase 8).

use serde::{Deserialize, Serialize};

use super::Seconds;

/// cert-manager's issuer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Certificates {
    /// The issuer's name.
    pub issuer: String,
    /// `ClusterIssuer`, or `Issuer` for one in the tenant's namespace.
    pub issuer_kind: IssuerKind,
    /// Seconds that a certificate may take.
    pub ready_within: Seconds,
    /// Seconds that cert-manager may take, in an undo, to remove its challenges' DNS records. After that they go with the
    /// tenant's zone: without a delegation they could not be removed at all.
    pub cleanup_within: Seconds,
    /// How long cert-manager waits after a first failure, in seconds; it doubles each time. It is cert-manager's own
    /// setting (`--certificate-request-minimum-backoff-duration`), said here so that the next attempt can be shown.
    pub backoff: Seconds,
    /// The longest of those waits (`--certificate-request-maximum-backoff-duration`).
    pub backoff_cap: Seconds,
}

/// Kinds of issuers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IssuerKind {
    /// For the whole cluster.
    ClusterIssuer,
    /// For one namespace.
    Issuer,
}

impl IssuerKind {
    /// As Kubernetes calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIssuer => "ClusterIssuer",
            Self::Issuer => "Issuer",
        }
    }

    /// The annotation by which an Ingress names an issuer of this kind.
    pub fn annotation(self) -> &'static str {
        match self {
            Self::ClusterIssuer => "cert-manager.io/cluster-issuer",
            Self::Issuer => "cert-manager.io/issuer",
        }
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self {
            issuer: "letsencrypt-prod-dns01".into(),
            issuer_kind: IssuerKind::ClusterIssuer,
            // A challenge is answered within a minute or two; the rest is for somebody to mend what refuses it. Under
            // engine.wait_within, so that the reason is this phase's own.
            ready_within: Seconds(600.0),
            cleanup_within: Seconds(60.0),
            backoff: Seconds(3600.0),
            backoff_cap: Seconds(32.0 * 3600.0),
        }
    }
}

impl Certificates {
    /// Checks what types cannot: the key that is wrong, and why.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        if self.issuer.is_empty() {
            return Err(("issuer".into(), "is empty".into()));
        }
        for (key, value) in [
            ("ready_within", self.ready_within),
            ("cleanup_within", self.cleanup_within),
            ("backoff", self.backoff),
            ("backoff_cap", self.backoff_cap),
        ] {
            if !(value.0.is_finite() && value.0 > 0.0) {
                return Err((key.into(), format!("is {} and must be a positive number of seconds", value.0)));
            }
        }
        Ok(())
    }
}
