//! What Tenantry's functions share: the tenant model, the pure decisions, the phase contract and its runtime, the
//! store, and one module per outside system, each behind a cargo feature so that a function links only what it uses.

pub mod decide;
pub mod phase;
pub mod regions;
pub mod runtime;
pub mod store;

#[cfg(any(feature = "helm", feature = "terraform"))]
pub mod child;
#[cfg(feature = "cluster")]
pub mod cluster;
#[cfg(feature = "dns")]
pub mod dns;
#[cfg(feature = "helm")]
pub mod helm;
#[cfg(feature = "invitation")]
pub mod invitation;
#[cfg(feature = "job_broker")]
pub mod job_broker;
#[cfg(feature = "license")]
pub mod license;
#[cfg(feature = "seal")]
pub mod seal;
#[cfg(feature = "tenant_api")]
pub mod tenant_api;
#[cfg(feature = "terraform")]
pub mod terraform;
