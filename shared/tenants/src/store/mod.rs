//! The control plane's state of the tenants, beside the engine's state of their runs.

mod change;
mod create;
mod deletion;
mod deployments;
pub(crate) mod domains;
mod invitation;
mod license;
pub(crate) mod read;
pub(crate) mod regions;
mod upkeep;

use std::ops::Deref;
use std::sync::Arc;

use engine::store::{Store as RunStore, StoreResult};

pub use change::{ChangeError, ChangeOutcome, RefreshSummary};
pub use create::{CreateError, NewTenant};
pub use deletion::VerbOutcome;
pub use deployments::{DeploymentRow, NewDeployment};
pub use domains::{ClaimError, DomainRow};
pub use invitation::{InvitationStored, InviteError, SealedRow, StoredInvitation};
pub use license::{LicenseStored, StoredLicense};
pub use read::{StatusRow, TenantFilter, TenantRow};
pub use regions::{NotChanged, RegionRow};
pub use upkeep::{Duty, ScheduledRun};

use crate::tenancy::PlatformTenants;

/// The store of the tenants and, through [`Deref`], of their runs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    runs: RunStore,
}

impl Store {
    /// As the engine's [`connect`](RunStore::connect), for the platform's tenants.
    pub fn connect(connections: u32) -> StoreResult<Self> {
        Ok(Self { runs: RunStore::connect(connections, Arc::new(PlatformTenants))? })
    }

    /// As [`Store::connect`], to `url`.
    pub fn connect_to(url: &str, connections: u32) -> StoreResult<Self> {
        Ok(Self { runs: RunStore::connect_to(url, connections, Arc::new(PlatformTenants))? })
    }

    /// The tenants beside the runs of `runs`, through the same connections.
    pub fn beside(runs: &RunStore) -> Self {
        Self { runs: runs.clone() }
    }

    /// Their runs.
    pub fn runs(&self) -> &RunStore {
        &self.runs
    }
}

impl Deref for Store {
    type Target = RunStore;

    fn deref(&self) -> &RunStore {
        &self.runs
    }
}

impl From<Store> for RunStore {
    fn from(store: Store) -> Self {
        store.runs
    }
}
