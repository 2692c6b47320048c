//! The tenant and the names that belong to it, parsed once at the edge.

mod change;
mod ids;
mod names;
mod tenant;

pub use change::{Change, Container, OwnDomain};
pub use ids::{ClaimId, RunId, TenantId};
pub use names::{InvalidSlug, Namespace, PhaseName, Slug};
pub(crate) use tenant::names;
pub use tenant::{Alerting, DeploymentType, OnFailure, Tenant, TenantStatus, Tier, UnknownName};
