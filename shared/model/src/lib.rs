//! What Tenantry is about: the tenant and the names that belong to it, parsed once at the edge; the platform's configuration
//! file; secrets and references to them. Nothing here knows of phases, the store, or an outside system.

mod change;
mod ids;
mod names;
pub mod platform;
pub mod secret;
mod tenant;

pub use change::{Change, Container, OwnDomain};
pub use ids::{ClaimId, RunId, TenantId};
pub use names::{InvalidSlug, Namespace, PhaseName, Slug};
pub use tenant::{Alerting, DeploymentType, OnFailure, Tenant, TenantStatus, Tier, UnknownName};
