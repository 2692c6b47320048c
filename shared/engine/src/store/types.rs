//! What the parts of the store tell each other of a run: who holds it, who moves it, what it came to.

use std::time::Duration;

use model::{Alerting, ClaimId, RunId, Tenant};
use serde_json::Value;

use super::{StoreError, StoreResult};
use crate::decide::machine::Transition;
use crate::decide::run::{Direction, RunKind};
use crate::phase::Operation;

/// What identifies one worker's hold on one step: every write of the worker names all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The run.
    pub run_id: RunId,
    /// Its transition.
    pub seq: i64,
    /// Grows whenever control is taken from a worker.
    pub epoch: i64,
    /// Fresh with every claim; none when nobody holds the step.
    pub claim: Option<ClaimId>,
}

/// What became of a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Written; the run's new sequence number.
    Written(i64),
    /// An operator's request came in between: decide again with it.
    Requested,
    /// The hold is no longer ours: nothing was written.
    Fenced,
}

/// What a step leaves with its transition.
#[derive(Debug, Default)]
pub struct StepOutput<'a> {
    /// The operations of this attempt; none leaves what is stored.
    pub operations: Option<&'a [Operation]>,
    /// The plan, if no operation has stored it yet.
    pub plan: Option<Value>,
    /// The checkpoint of a phase that is done.
    pub checkpoint: Option<&'a Value>,
    /// What an inventory found.
    pub leftovers: Option<&'a Value>,
}

/// Who causes a transition and for which tenant.
#[derive(Debug)]
pub struct TransitionContext<'a> {
    /// The tenant.
    pub tenant: &'a Tenant,
    /// What kind of run.
    pub kind: RunKind,
    /// Which way the run went until now.
    pub direction: Direction,
    /// The phase at the cursor until now.
    pub position: i32,
    /// For the audit log.
    pub actor: &'a str,
}

/// A transition that is written, for what follows from it in the same transaction.
#[derive(Debug)]
pub struct RunTransition<'a> {
    /// The run.
    pub run_id: RunId,
    /// Its new sequence number.
    pub seq: i64,
    /// Who caused it.
    pub cause: &'a TransitionContext<'a>,
    /// The transition.
    pub to: &'a Transition,
}

/// Where a tenant's alerts go, as the request was stored.
pub(super) fn alerting(stored: Option<Value>) -> StoreResult<Alerting> {
    let Some(stored) = stored else { return Ok(Alerting::default()) };
    serde_json::from_value(stored).map_err(StoreError::unreadable)
}

pub(super) fn seconds(value: Option<f64>) -> Duration {
    Duration::try_from_secs_f64(value.unwrap_or_default().max(0.0)).unwrap_or_default()
}
