//! What the engine asks of those who keep the tenants, and tells them.

use async_trait::async_trait;
use model::platform::Region;
use model::{PhaseName, TenantId};
use sqlx::PgConnection;

use super::types::RunTransition;
use super::{StoreError, StoreResult};
use crate::phase::ErrorRecord;

/// What a phase allows, as far as the engine must know it without linking the phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseTraits {
    /// May be skipped: nothing later reads its checkpoint or needs its effect.
    pub skippable: bool,
    /// Its undo guards another: skipping it in a rollback needs `force`.
    pub undo_guards: bool,
    /// The outside systems it needs, which a dispatcher can limit (`engine.in_flight_per_dependency`).
    pub depends: &'static [&'static str],
}

/// The tenants, to whom runs belong. What is written on these calls is part of the transition's own transaction: it is
/// committed with the run, or not at all. Every method has a default for tenants of whom there is nothing to know, and
/// nobody to tell.
#[async_trait]
pub trait Tenancy: Send + Sync + std::fmt::Debug {
    /// What the phase of this name allows; none: this version does not know it.
    fn phase(&self, name: &PhaseName) -> Option<PhaseTraits> {
        let _ = name;
        None
    }

    /// The phases of a new provisioning run for a tenant that has none to repeat. The tenant's row is locked.
    /// Without a list there is nothing to provision by: a run without phases would never end.
    async fn phases(&self, connection: &mut PgConnection, tenant: TenantId) -> StoreResult<Vec<PhaseName>> {
        let _ = connection;
        Err(StoreError::Setting(format!("no list of phases is known to provision tenant {tenant} by")))
    }

    /// The region of this key as it is now, with its version; none: only the platform file may know it.
    async fn region(&self, connection: &mut PgConnection, key: &str) -> StoreResult<Option<(i64, Region)>> {
        let _ = (connection, key);
        Ok(None)
    }

    /// The run has come to its end.
    async fn ended(&self, connection: &mut PgConnection, run: &RunTransition<'_>) -> StoreResult<()> {
        let _ = (connection, run);
        Ok(())
    }

    /// An error has stopped the run, which waits for an operator from now on.
    async fn halted(
        &self,
        connection: &mut PgConnection,
        run: &RunTransition<'_>,
        error: &ErrorRecord,
    ) -> StoreResult<()> {
        let _ = (connection, run, error);
        Ok(())
    }
}

/// Tenants of whom there is nothing to know, and nobody to tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Tenancy for Plain {}
