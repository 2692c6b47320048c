//! A claimed step, as the engine would give it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use engine::phase::{Fence, Interrupt, Operation, Owner, Scope, Step, StepParts};
use model::{PhaseName, RunId, Tenant};
use tokio_util::sync::CancellationToken;

/// A lease that is never lost, and keeps nothing.
#[derive(Debug)]
pub struct NeverLost;

#[async_trait]
impl Fence for NeverLost {
    async fn record(&self, _: &[Operation]) -> Result<(), Interrupt> {
        Ok(())
    }
}

/// A lease that is never lost, and keeps the operations as they were recorded last.
#[derive(Debug, Default)]
pub struct LastRecord(Mutex<Vec<Operation>>);

impl LastRecord {
    /// Those operations; none before the first record.
    pub fn operations(&self) -> Vec<Operation> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Fence for LastRecord {
    async fn record(&self, operations: &[Operation]) -> Result<(), Interrupt> {
        *self.0.lock().unwrap() = operations.to_vec();
        Ok(())
    }
}

/// One claimed step: the first attempt, forward, in a run whose lease is never lost, unless said otherwise.
#[expect(missing_debug_implementations, reason = "a fence is a handle with nothing to show")]
pub struct ClaimedStep(StepParts);

impl ClaimedStep {
    /// Of this phase in this run of the tenant; an undo reaches as far as the run's own rollback.
    pub fn new(phase: PhaseName, tenant: &Tenant, run_id: RunId) -> Self {
        let (tenant_id, slug) = (tenant.id, tenant.slug.clone());
        Self::of(phase, Owner { tenant_id, slug, run_id, epoch: 1, scope: Scope::Run })
    }

    /// Of this phase, for whoever works on it.
    pub fn of(phase: PhaseName, owner: Owner) -> Self {
        Self(StepParts {
            owner,
            phase,
            backward: false,
            failures: 0,
            waits: 0,
            waited: Duration::ZERO,
            fence: Arc::new(NeverLost),
            cancel: CancellationToken::new(),
        })
    }

    /// How far an undo may reach.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.0.owner.scope = scope;
        self
    }

    /// Undoing rather than doing.
    #[must_use]
    pub fn backward(mut self, backward: bool) -> Self {
        self.0.backward = backward;
        self
    }

    /// After so many failures.
    #[must_use]
    pub fn failures(mut self, failures: i32) -> Self {
        self.0.failures = failures;
        self
    }

    /// Parked so often in a row before, for so long.
    #[must_use]
    pub fn waited(mut self, waits: i32, waited: Duration) -> Self {
        (self.0.waits, self.0.waited) = (waits, waited);
        self
    }

    /// Held by another lease.
    #[must_use]
    pub fn fence(mut self, fence: Arc<dyn Fence>) -> Self {
        self.0.fence = fence;
        self
    }

    /// Ended by this.
    #[must_use]
    pub fn cancel(mut self, cancel: CancellationToken) -> Self {
        self.0.cancel = cancel;
        self
    }

    /// The step.
    pub fn step(self) -> Step {
        Step::new(self.0)
    }
}
