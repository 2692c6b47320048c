//! The tenants, whom the engine's runs provision, change and take out: which phases they have, and what is kept of them beside
//! their runs (domains, licences, invitations, deployments, regions).

pub mod changes;
pub mod deployment;
mod notices;
pub mod phases;
pub mod reads;
mod regions;
mod serve;
mod store;
mod tenancy;

pub use regions::Regions;
pub use serve::{runner, serve};
pub use store::{
    ChangeError, ChangeOutcome, ClaimError, CreateError, DeploymentRow, DomainRow, Duty, InvitationStored,
    InviteError, LicenseStored, NewDeployment, NewTenant, NotChanged, RefreshSummary, RegionRow,
    ScheduledRun, SealedRow, StatusRow, Store, StoredInvitation, StoredLicense, TenantFilter, TenantRow,
    VerbOutcome,
};
