//! What is said of a run and its phases: what it is for, which way it goes, where it is.

use serde::{Deserialize, Serialize};

model::names!(
    /// What a run is for.
    RunKind {
        /// Makes a tenant.
        Provision = "provision",
        /// Takes a tenant out.
        Deprovision = "deprovision",
        /// Makes a living tenant's phases hold a new plan; undone, they hold the plan of before.
        Change = "change",
    }
);

model::names!(
    /// Which way a run goes.
    Direction { Forward = "forward", Backward = "backward" }
);

model::names!(
    /// Where a run is.
    RunStatus {
        /// Under way, a worker at it or not.
        Running = "running",
        /// Waits for an operator.
        Paused = "paused",
        /// An undo cannot succeed; waits for an operator.
        Stuck = "stuck",
        /// Finished: the tenant is whole, or gone.
        Succeeded = "succeeded",
        /// Finished: undone.
        Failed = "failed",
        /// Finished by an operator with things left.
        Abandoned = "abandoned",
    }
);

model::names!(
    /// Where a phase of a run is.
    PhaseState {
        Pending = "pending", Running = "running", Waiting = "waiting", Done = "done", Failed = "failed",
        Reverting = "reverting", Reverted = "reverted", Skipped = "skipped",
    }
);

impl RunStatus {
    /// Nothing comes after it.
    pub fn finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Abandoned)
    }
}

/// The position of the inventory that ends every backward run.
pub const INVENTORY: i32 = -1;
