//! What a phase is given while it runs: who owns what it makes, and `operation`, the only way to touch the world.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use model::platform::Region;
use model::{PhaseName, RunId, Slug, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::hook::{OperationHook, Side};
use super::{Error, Progress, Result};

/// How far an undo may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// A rollback: only what this run created.
    Run,
    /// A deprovisioning: all that is the tenant's.
    Tenant,
}

/// Who owns what a phase makes. Ownership is the tenant's id and nothing else; the run is written beside it once, at
/// creation, so that a rollback can tell what its own run created.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The owner.
    pub tenant_id: TenantId,
    /// For labels that people read.
    pub slug: Slug,
    /// The run that is at work.
    pub run_id: RunId,
    /// The run's epoch at the claim.
    pub epoch: i64,
    /// How far an undo may reach.
    pub scope: Scope,
}

impl Owner {
    /// Whether something of this tenant, created by `created_by`, may be deleted by the step at hand.
    pub fn may_delete(&self, created_by: Option<RunId>) -> bool {
        match self.scope {
            Scope::Tenant => true,
            Scope::Run => created_by == Some(self.run_id),
        }
    }
}

/// Why a worker must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// The lease is lost or about to end: nothing more may be touched or written.
    Fenced,
    /// An operator's request is recorded: stop before the next operation and hand the run back.
    Requested,
}

/// One of a phase's numbered operations, for progress and for the operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// The operation's name, the same in every attempt.
    pub name: String,
    /// Where it is.
    pub state: OperationState,
    /// When it began, in this attempt.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
    /// What it found or made, or what stands in for the real thing.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub result: Value,
    /// Later attempts in this direction know it; see [`Step::keep`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Memory>,
}

/// In which direction something is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Memory {
    /// While the phase is done.
    Apply,
    /// While it is undone.
    Revert,
}

/// Where an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OperationState {
    /// Begun.
    Running,
    /// Ended well.
    Done,
    /// Looked at, and to be looked at again.
    Waiting,
    /// Ended in an error.
    Failed,
}

/// The worker's hold on its step, kept by the store.
#[async_trait]
pub trait Fence: Send + Sync {
    /// Renews the lease and stores the operations so far (and, the first time, the plan), all or nothing. An
    /// interrupt means that nothing may be touched any more.
    async fn record(&self, operations: &[Operation]) -> std::result::Result<(), Interrupt>;

    /// Whether the hold lasts, by the worker's own clock. Asked before every piece of an effect: a process that was stopped
    /// for longer than its lease finds answers waiting when it is let go, before anything has told it so.
    fn is_held(&self) -> bool {
        true
    }
}

/// What the runtime puts into a step.
#[expect(missing_debug_implementations, reason = "a fence is a handle with nothing to show")]
pub struct StepParts {
    /// See [`Step::owner`].
    pub owner: Owner,
    /// Which phase.
    pub phase: PhaseName,
    /// Undoing rather than doing.
    pub backward: bool,
    /// Failures so far in this phase.
    pub failures: i32,
    /// How often the phase has been parked in a row.
    pub waits: i32,
    /// How long it has been parked for the same thing.
    pub waited: Duration,
    /// The hold on the step.
    pub fence: Arc<dyn Fence>,
    /// Cancelled when the lease is lost.
    pub cancel: CancellationToken,
}

/// One claimed step.
pub struct Step {
    pub(super) parts: StepParts,
    pub(super) operations: Mutex<Vec<Operation>>,
    /// The database's clock and ours at one moment.
    pub(super) clock: (DateTime<Utc>, Instant),
    /// The tenant's region as it is now.
    pub(super) region: Option<Region>,
    /// Reached at both edges of every operation.
    pub(super) hook: Option<Arc<dyn OperationHook>>,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Step")
            .field("owner", &self.parts.owner)
            .field("phase", &self.parts.phase)
            .finish_non_exhaustive()
    }
}

impl Step {
    /// Made by the runtime.
    pub fn new(parts: StepParts) -> Self {
        let clock = (Utc::now(), Instant::now());
        Self { parts, operations: Mutex::new(Vec::new()), clock, region: None, hook: None }
    }

    /// In a region that is so now.
    #[must_use]
    pub fn in_region(self, region: Option<Region>) -> Self {
        Self { region, ..self }
    }

    /// With a hook at both edges of every operation.
    #[must_use]
    pub fn with_hook(self, hook: Option<Arc<dyn OperationHook>>) -> Self {
        Self { hook, ..self }
    }

    /// The tenant's region as it is now, for the ways to what a plan names: addresses and secrets change while a plan is
    /// kept. None where the region is not known any more.
    pub fn region(&self) -> Option<&Region> {
        self.region.as_ref()
    }

    /// Who owns what is made, and how far an undo may reach.
    pub fn owner(&self) -> &Owner {
        &self.parts.owner
    }

    /// Failures of this phase so far in this run.
    pub fn failures(&self) -> i32 {
        self.parts.failures
    }

    /// How long the phase has been parked without a break, in its present direction; waits of a fixed length not counted.
    pub fn waited(&self) -> Duration {
        self.parts.waited
    }

    /// How often in a row the phase has been parked; the display's "attempt n" is one more.
    pub fn waits(&self) -> i32 {
        self.parts.waits
    }

    /// Cancelled when the worker must not touch the world any more. Effects that outlive a dropped future (child
    /// processes) end themselves on it.
    pub fn cancelled(&self) -> CancellationToken {
        self.parts.cancel.clone()
    }

    /// Runs one effect: renews the lease first (a lost one stops here), and records the result before the caller uses
    /// it. Called again in a later attempt, the effect runs again: effects converge.
    pub fn operation<T, F>(&self, name: &str, effect: F) -> impl Future<Output = Result<T>>
    where
        T: Serialize,
        F: Future<Output = Result<T>>,
    {
        // Boxed before anything is awaited: an effect's future is large, and would be part of the phase's, once for each
        // operation.
        let effect = Box::pin(effect);
        async move {
            self.begin(name).await?;
            let result = self.run(effect).await;
            self.end(name, &result).await?;
            result
        }
    }

    /// As [`Step::operation`], for an effect that may have to be waited for: a wait leaves the phase by `?`, parks the
    /// run, and is charged to nobody.
    pub fn wait_for<T, F>(&self, name: &str, effect: F) -> impl Future<Output = Result<T>>
    where
        T: Serialize,
        F: Future<Output = Result<Progress<T>>>,
    {
        self.operation(name, async move { effect.await?.or_park() })
    }

    async fn begin(&self, name: &str) -> Result<()> {
        self.reach(name, Side::Before).await?;
        let mut operations = self.operations.lock().await;
        operations.retain(|operation| operation.name != name);
        operations.push(Operation {
            name: name.to_owned(),
            state: OperationState::Running,
            started_at: Utc::now(),
            finished_at: None,
            result: Value::Null,
            kept: None,
        });
        self.parts.fence.record(&operations).await.map_err(Error::interrupted)
    }

    async fn run<T>(&self, mut effect: Pin<Box<impl Future<Output = Result<T>>>>) -> Result<T> {
        let held = poll_fn(|context| {
            if self.parts.fence.is_held() {
                effect.as_mut().poll(context)
            } else {
                Poll::Ready(Err(Error::interrupted(Interrupt::Fenced)))
            }
        });
        tokio::select! {
            biased;
            () = self.parts.cancel.cancelled() => Err(Error::interrupted(Interrupt::Fenced)),
            result = held => result,
        }
    }

    async fn end<T: Serialize>(&self, name: &str, result: &Result<T>) -> Result<()> {
        let mut operations = self.operations.lock().await;
        if let Some(operation) = operations.iter_mut().find(|operation| operation.name == name) {
            operation.finished_at = Some(Utc::now());
            match result {
                Ok(value) => {
                    operation.state = OperationState::Done;
                    operation.result = serde_json::to_value(value).map_err(|error| {
                        Error::fatal(
                            "operation_unrecordable",
                            format!("result of operation '{name}': {error}"),
                        )
                        .next("This is a fault in the phase's code; report it.")
                    })?;
                }
                Err(error) => {
                    operation.state = match error.kind {
                        super::Kind::Parked(_) => OperationState::Waiting,
                        _ => OperationState::Failed,
                    };
                    operation.result = Value::String(error.message.clone());
                }
            }
        }
        // A failed operation is written by the transition that follows it; a result is written before it is used.
        if result.is_ok() {
            self.parts.fence.record(&operations).await.map_err(Error::interrupted)?;
            drop(operations);
            self.reach(name, Side::After).await?;
        }
        Ok(())
    }

    /// The operations so far, for the transition that ends the step.
    pub(crate) async fn operations(&self) -> Vec<Operation> {
        self.operations.lock().await.clone()
    }
}

#[cfg(test)]
#[path = "step_tests.rs"]
mod tests;
