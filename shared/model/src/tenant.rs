//! The tenant, as the phases see it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Container, OwnDomain, Slug, TenantId};
use crate::secret::SecretRef;

/// A text that names no member of a closed list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{given}' is not one of {}", known.join(", "))]
pub struct UnknownName {
    /// What was given.
    pub given: String,
    /// What would have been understood.
    pub known: &'static [&'static str],
}

/// Makes an enum of a closed list with one text for each member, the same in API, database and labels. Where it is called,
/// serde's `Serialize` and `Deserialize` must be in scope.
#[macro_export]
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// Every member's text.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The member's text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownName;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($crate::UnknownName { given: text.to_owned(), known: Self::NAMES }),
                }
            }
        }
    };
}

names!(
    /// What the tenant pays for; decides quotas, sizes and isolation.
    Tier { Free = "free", Professional = "professional", Enterprise = "enterprise" }
);

names!(
    /// Where a tenant's compute runs.
    DeploymentType {
        /// Served by the region's pooled tenant-api; no cluster object of its own.
        Shared = "shared",
        /// A dedicated tenant-api in a namespace of its own.
        ContainerPerTenant = "container_per_tenant",
    }
);

names!(
    /// What a run does when a phase has spent its failure budget.
    OnFailure {
        /// Undo everything the run made.
        Rollback = "rollback",
        /// Stop and wait for an operator.
        Pause = "pause",
    }
);

names!(
    /// Where a tenant is in its life.
    TenantStatus {
        /// Recorded, nothing made yet.
        Pending = "PENDING",
        /// A provisioning run is under way, forward or back.
        Provisioning = "PROVISIONING",
        /// Whole.
        Active = "ACTIVE",
        /// Provisioning failed; nothing is left, unless the run was abandoned.
        Failed = "FAILED",
        /// Scaled to nothing, data kept.
        Suspended = "SUSPENDED",
        /// Being taken out.
        Deprovisioning = "DEPROVISIONING",
        /// Gone, with an empty inventory.
        Deleted = "DELETED",
    }
);

/// Where a tenant's alerts go. What is left out is the administrator's address, and the platform's own Slack channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Alerting {
    /// An e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Where the address of a Slack webhook is kept; the address itself is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slack_webhook_ref: Option<SecretRef>,
}

/// What the phases know of a tenant. Holds no secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tenant {
    /// For ever.
    pub id: TenantId,
    /// Unique among living tenants.
    pub slug: Slug,
    /// For people.
    pub name: String,
    /// Decides quotas and sizes.
    pub tier: Tier,
    /// Key of the platform's region that holds the tenant's data and compute.
    pub region: String,
    /// Where notices go.
    pub admin_email: String,
    /// Where its compute runs.
    pub deployment_type: DeploymentType,
    /// A database of its own, rather than a schema in the region's shared one.
    pub has_dedicated_database: bool,
    /// For the bill.
    pub cost_center: Option<String>,
    /// Where its alerts go.
    #[serde(default)]
    pub alerting: Alerting,
    /// Nothing of it is to run, and its licence is refused; its data stays.
    #[serde(default)]
    pub suspended: bool,
    /// What was chosen for its own tenant-api.
    #[serde(default)]
    pub container: Container,
    /// Its own domains that are to be served; known to the change that serves them only.
    #[serde(default)]
    pub domains: Vec<OwnDomain>,
    /// Who asked for it (the token's name).
    pub created_by: String,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
}
