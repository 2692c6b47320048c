//! What a change makes of a living tenant.

use serde::{Deserialize, Serialize};

use super::{Tenant, TenantStatus, Tier};

/// What is chosen for the tenant's own tenant-api; what is left out is as the platform says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// The image, with its tag or digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The size, by its name in the platform's table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
}

/// A verified domain of the tenant's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnDomain {
    /// Its own among the tenant's, for ever.
    pub number: i32,
    /// In ASCII and lower case.
    pub domain: String,
}

/// What is to be so after a change; what is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Change {
    /// Another tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// Why the tenant's deployment type is still the right one, with the other tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_reason: Option<String>,
    /// Suspended, or active again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<TenantStatus>,
    /// Another image or size of the tenant's own tenant-api; both as they are to be then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Its licence is issued anew if it ends soon.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub renews_license: bool,
    /// Its own tenant-api is made again as the platform and its region are now: image, public keys, internal secret, job
    /// broker.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub refreshes_deployment: bool,
    /// The verified domains that are to be served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domains: Option<Vec<OwnDomain>>,
}

impl Change {
    /// The tenant as it is to be.
    pub fn apply_to(&self, tenant: &mut Tenant) {
        if let Some(tier) = self.tier {
            tenant.tier = tier;
        }
        if let Some(status) = self.status {
            tenant.suspended = status == TenantStatus::Suspended;
        }
        if let Some(container) = &self.container {
            tenant.container = container.clone();
        }
        if let Some(domains) = &self.domains {
            tenant.domains.clone_from(domains);
        }
    }
}
