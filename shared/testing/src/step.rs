//! A claimed step, as the engine would give it, and what the engine would do with its outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use engine::phase::{
    Error, Fence, Interrupt, Kind, Operation, Owner, Progress, Result, Scope, Step, StepParts,
};
use model::{PhaseName, RunId, Tenant};
use tokio_util::sync::CancellationToken;

/// Longest wait for anything: long enough for a machine that does much else.
pub const WITHIN: Duration = Duration::from_mins(3);

/// A lease that is never lost, and keeps nothing.
#[derive(Debug)]
pub struct NeverLost;

#[async_trait]
impl Fence for NeverLost {
    async fn record(&self, _: &[Operation]) -> std::result::Result<(), Interrupt> {
        Ok(())
    }
}

/// One claimed step: the first attempt, forward, in a run whose lease is never lost, unless said otherwise.
#[expect(missing_debug_implementations, reason = "a fence is a handle with nothing to show")]
pub struct ClaimedStep(StepParts);

impl ClaimedStep {
    /// Of this phase in this run of the tenant.
    pub fn new(phase: PhaseName, tenant: &Tenant, run_id: RunId) -> Self {
        let owner = Owner {
            tenant_id: tenant.id,
            slug: tenant.slug.clone(),
            run_id,
            epoch: 1,
            scope: Scope::Run,
        };
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

    /// The step.
    pub fn step(self) -> Step {
        Step::new(self.0)
    }
}

/// Attempts until done, as the engine would; the first error that is no wait ends it. Panics after [`WITHIN`].
pub async fn until_done<T>(call: impl AsyncFn() -> Result<Progress<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        match call().await {
            Ok(Progress::Done(value)) => return Ok(value),
            Ok(Progress::Wait(wait)) | Err(Error { kind: Kind::Parked(wait), .. }) => {
                assert!(began.elapsed() < WITHIN, "still waits: {}", wait.on);
                tokio::time::sleep(wait.after).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// What a parked attempt waits for. Panics where it does not wait.
pub fn waits_for<T: std::fmt::Debug>(attempt: Result<Progress<T>>) -> String {
    match attempt {
        Ok(Progress::Wait(wait)) | Err(Error { kind: Kind::Parked(wait), .. }) => wait.on,
        other => panic!("does not wait: {other:?}"),
    }
}
