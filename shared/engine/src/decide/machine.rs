//! The state machine of a run: what an event makes of it. Every change of a run goes through [`next`].

use std::time::Duration;

use model::platform::Engine;
use model::{OnFailure, TenantStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::run::{Direction, INVENTORY, PhaseState, RunKind, RunStatus};
use super::verbs::{Request, Verb};
use crate::phase::{ErrorRecord, Wait};

/// What the machine looks at.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it is for.
    pub kind: RunKind,
    /// Which way it goes.
    pub direction: Direction,
    /// Where it is.
    pub status: RunStatus,
    /// Which phase is next or under way; [`INVENTORY`] at the end of the way back.
    pub cursor: i32,
    /// How many phases it has.
    pub phases: i32,
    /// What to do when a budget is spent.
    pub on_failure: OnFailure,
    /// Deprovision when the rollback is through.
    pub delete_after: bool,
    /// End after the inventory, whatever it says.
    pub abandoning: bool,
    /// The tenant's status after a change that gives it another one.
    pub becomes: Option<TenantStatus>,
    /// What an operator asked for and has not taken effect.
    pub request: Option<Request>,
    /// Failures of the phase at the cursor, in this direction.
    pub failures: i32,
    /// How long the phase's dependency has been down.
    pub unavailable_for: Duration,
    /// How long until no effect of a lost worker can be under way any more.
    pub settles_in: Duration,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The step is done.
    Done,
    /// The step waits.
    Wait(Wait),
    /// The step failed and may be tried again.
    Retryable(ErrorRecord),
    /// The step failed for good.
    Fatal(ErrorRecord),
    /// A dependency of the step is down.
    Unavailable(ErrorRecord),
    /// Deliveries of the step were lost until the budget was spent.
    LostTooOften(ErrorRecord),
    /// No worker is at it, and an operator's request takes effect. Also: the worker handed the run back for it.
    Requested,
}

/// What becomes of the phase at the old cursor.
#[derive(Clone, Debug, PartialEq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each a column of its own")]
pub struct PhaseChange {
    /// Its new state; none leaves it.
    pub state: Option<PhaseState>,
    /// Its ledger of failures, set to this.
    pub failures: i32,
    /// One more failure in the sum that no reset clears.
    pub failed: bool,
    /// Its ledger of lost deliveries begins again.
    pub forgets_lost: bool,
    /// What it waits for, as shown.
    pub waiting_on: Option<String>,
    /// A wait in a row.
    pub waits: bool,
    /// See [`Wait::fixed`]: the time until the next look is no part of how long the phase has waited.
    pub waits_out: bool,
    /// The dependency is down, since now or since before.
    pub unavailable: bool,
    /// Its error; none clears it only when the phase is done or reverted.
    pub error: Option<ErrorRecord>,
}

/// One row of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// What happened.
    pub action: &'static str,
    /// To which phase; none for the run itself.
    pub of_phase: bool,
    /// More about it.
    pub detail: Value,
}

/// What an event makes of a run.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each a column of its own")]
pub struct Transition {
    /// Where the run is then.
    pub status: RunStatus,
    /// Which way it goes then.
    pub direction: Direction,
    /// Which phase is next then.
    pub cursor: i32,
    /// How long until it may run.
    pub delay: Duration,
    /// See [`Run::delete_after`].
    pub delete_after: bool,
    /// See [`Run::abandoning`].
    pub abandoning: bool,
    /// Why it is paused or stuck.
    pub pause_reason: Option<ErrorRecord>,
    /// What becomes of the phase that was at the cursor.
    pub phase: PhaseChange,
    /// The tenant's new status, if it changes.
    pub tenant: Option<TenantStatus>,
    /// The tenant's error, if it changes: set when a run gives up. A change's error is the run's own: the tenant is whole.
    pub tenant_error: Option<ErrorRecord>,
    /// A deprovisioning run follows at once.
    pub deprovision_next: bool,
    /// What the audit log says, in order.
    pub audit: Vec<Audit>,
    /// An operator's request was taken into account.
    pub request_taken: bool,
}

impl Transition {
    /// Whether the run is over with it.
    pub fn finished(&self) -> bool {
        self.status.finished()
    }

    /// Why the run waits for an operator from now on, unless one has asked for that: without being told, nobody would come.
    /// A run leaves that state by its next transition, so that each time it comes there is one of these.
    pub fn halted_by(&self) -> Option<&ErrorRecord> {
        let halted = matches!(self.status, RunStatus::Paused | RunStatus::Stuck);
        self.pause_reason.as_ref().filter(|reason| halted && reason.code != requests::PAUSED)
    }
}

/// What `event` makes of `run`. `chance` in `[0, 1)` spreads backoffs (full jitter).
pub fn next(run: &Run, event: &Event, engine: &Engine, chance: f64) -> Transition {
    let mut to = stay(run);
    match event {
        Event::Done => done(run, &mut to),
        Event::Wait(wait) => {
            to.delay = wait.after;
            to.phase = PhaseChange {
                state: Some(PhaseState::Waiting),
                failures: run.failures,
                waiting_on: Some(wait.on.clone()),
                waits: true,
                waits_out: wait.fixed,
                ..PhaseChange::default()
            };
            to.audit.push(of_phase("PHASE_WAITING", json!({ "on": wait.on })));
        }
        Event::Retryable(error) if run.abandoning => finish_abandoned(run, &mut to, Some(error)),
        Event::Fatal(error) | Event::Unavailable(error) if run.abandoning => {
            finish_abandoned(run, &mut to, Some(error));
        }
        Event::Retryable(error) if run.failures + 1 < engine.failures => {
            let failures = run.failures + 1;
            to.delay = backoff(engine, failures, chance);
            to.phase = PhaseChange {
                state: Some(PhaseState::Waiting),
                failures,
                failed: true,
                waiting_on: Some(format!("attempt {} of {}", failures + 1, engine.failures)),
                error: Some(error.clone()),
                ..PhaseChange::default()
            };
            to.audit.push(of_phase(
                "PHASE_RETRYING",
                json!({ "error": error, "failures": failures, "of": engine.failures, "delayMs": millis(to.delay) }),
            ));
        }
        Event::Retryable(error) | Event::Fatal(error) => give_up(run, &mut to, error),
        Event::Unavailable(error) if run.unavailable_for < engine.unavailable_within.duration() => {
            // A quarter of the outage so far: quick after a hiccup, a look a minute in a long one.
            let shortest = engine.unavailable.duration();
            let longest = Duration::from_mins(1).max(shortest);
            to.delay = (run.unavailable_for / 4).clamp(shortest, longest).mul_f64(0.75 + chance / 2.0);
            to.phase = PhaseChange {
                state: Some(PhaseState::Waiting),
                failures: run.failures,
                waiting_on: Some(error.message.clone()),
                unavailable: true,
                error: Some(error.clone()),
                ..PhaseChange::default()
            };
            to.audit
                .push(of_phase("PHASE_UNAVAILABLE", json!({ "error": error, "delayMs": millis(to.delay) })));
        }
        Event::Unavailable(error) | Event::LostTooOften(error) => {
            to.status = RunStatus::Paused;
            to.pause_reason = Some(error.clone());
            to.phase = PhaseChange {
                state: Some(PhaseState::Failed),
                failures: run.failures,
                error: Some(error.clone()),
                ..PhaseChange::default()
            };
            to.audit.push(of_phase("RUN_PAUSED", json!({ "error": error })));
        }
        Event::Requested => {}
    }
    if let Some(request) = &run.request {
        // What has just been done can no longer be skipped.
        if request.verb == Verb::Skip && matches!(event, Event::Done) {
            to.audit.push(of_run("REQUEST_MOOT", json!({ "verb": request.verb, "by": request.actor })));
        } else {
            requests::take_effect(run, request, &mut to);
        }
    }
    if to.cursor == INVENTORY && !to.finished() {
        // An inventory taken while an effect of a lost worker may still land would prove nothing, whoever is in a hurry.
        to.delay = to.delay.max(run.settles_in);
    }
    if run.kind == RunKind::Change && to.direction != run.direction {
        // No inventory would notice a new plan's effect that lands on the plan of before.
        to.delay = to.delay.max(run.settles_in);
    }
    to
}

/// The transition that changes nothing yet.
fn stay(run: &Run) -> Transition {
    Transition {
        status: run.status,
        direction: run.direction,
        cursor: run.cursor,
        delay: Duration::ZERO,
        delete_after: run.delete_after,
        abandoning: run.abandoning,
        pause_reason: None,
        phase: PhaseChange { failures: run.failures, ..PhaseChange::default() },
        tenant: None,
        tenant_error: None,
        deprovision_next: false,
        audit: Vec::new(),
        request_taken: run.request.is_some(),
    }
}

fn done(run: &Run, to: &mut Transition) {
    match run.direction {
        Direction::Forward => {
            to.phase.state = Some(PhaseState::Done);
            to.phase.failures = 0;
            to.audit.push(of_phase("PHASE_DONE", json!({})));
        }
        Direction::Backward if run.cursor == INVENTORY => {
            to.phase.state = Some(PhaseState::Done);
            to.audit.push(of_phase("INVENTORY_EMPTY", json!({})));
        }
        Direction::Backward => {
            to.phase.state = Some(PhaseState::Reverted);
            to.phase.failures = 0;
            to.audit.push(of_phase("PHASE_REVERTED", json!({})));
        }
    }
    advance(run, to);
}

/// One phase further, or the end.
fn advance(run: &Run, to: &mut Transition) {
    match run.direction {
        Direction::Forward if run.cursor + 1 < run.phases => to.cursor = run.cursor + 1,
        Direction::Forward => {
            // ACTIVE is the point of no return: what an operator asked for before it still holds.
            if matches!(
                run.request.as_ref().map(|r| r.verb),
                Some(Verb::Rollback | Verb::Delete | Verb::Abandon)
            ) {
                return;
            }
            to.cursor = run.phases;
            to.status = RunStatus::Succeeded;
            if run.kind == RunKind::Change {
                to.tenant = run.becomes;
                to.audit.push(of_run("TENANT_CHANGED", json!({ "status": run.becomes })));
                return;
            }
            to.tenant = Some(TenantStatus::Active);
            to.audit.push(of_run("TENANT_ACTIVE", json!({})));
        }
        // The tenant lives on, so there is nothing for an inventory to find wanting.
        Direction::Backward if run.kind == RunKind::Change && run.cursor == 0 => {
            to.status = RunStatus::Failed;
            to.tenant = run.delete_after.then_some(TenantStatus::Deprovisioning);
            to.deprovision_next = run.delete_after;
            to.audit.push(of_run("CHANGE_UNDONE", json!({})));
        }
        Direction::Backward if run.cursor > INVENTORY => to.cursor = run.cursor - 1,
        Direction::Backward if run.abandoning => finish_abandoned(run, to, None),
        Direction::Backward => match run.kind {
            RunKind::Deprovision => {
                to.status = RunStatus::Succeeded;
                to.tenant = Some(TenantStatus::Deleted);
                to.audit.push(of_run("TENANT_DELETED", json!({})));
            }
            RunKind::Provision | RunKind::Change => {
                to.status = RunStatus::Failed;
                to.tenant =
                    Some(if run.delete_after { TenantStatus::Deprovisioning } else { TenantStatus::Failed });
                to.deprovision_next = run.delete_after;
                to.audit.push(of_run("TENANT_FAILED", json!({ "left": [] })));
            }
        },
    }
}

fn finish_abandoned(run: &Run, to: &mut Transition, error: Option<&ErrorRecord>) {
    to.status = RunStatus::Abandoned;
    to.cursor = run.cursor;
    to.tenant = Some(TenantStatus::Failed);
    to.phase.state = Some(if error.is_some() { PhaseState::Failed } else { PhaseState::Done });
    to.phase.error = error.cloned();
    to.audit.push(of_run("RUN_ABANDONED", json!({ "error": error })));
}

/// The budget of a phase is spent.
fn give_up(run: &Run, to: &mut Transition, error: &ErrorRecord) {
    to.phase = PhaseChange {
        state: Some(PhaseState::Failed),
        failed: true,
        failures: run.failures + 1,
        error: Some(error.clone()),
        ..PhaseChange::default()
    };
    to.audit.push(of_phase("PHASE_FAILED", json!({ "error": error, "failures": run.failures + 1 })));
    // A change that fails is taken back at once, whatever was said of the tenant's making: it serves people meanwhile.
    let on_failure = if run.kind == RunKind::Change { OnFailure::Rollback } else { run.on_failure };
    match (run.direction, on_failure) {
        (Direction::Forward, OnFailure::Rollback) => {
            to.direction = Direction::Backward;
            // The failing phase is reverted too, with a budget of its own.
            to.phase.failures = 0;
            to.tenant_error = Some(error.clone());
            to.audit.push(of_run("RUN_ROLLING_BACK", json!({ "error": error })));
        }
        (Direction::Forward, OnFailure::Pause) => {
            to.status = RunStatus::Paused;
            to.pause_reason = Some(error.clone());
            to.audit.push(of_run("RUN_PAUSED", json!({ "error": error })));
        }
        (Direction::Backward, _) => {
            to.status = RunStatus::Stuck;
            to.pause_reason = Some(error.clone());
            to.audit.push(of_run("RUN_STUCK", json!({ "error": error })));
        }
    }
}

/// Exponential with full jitter and a cap; never under a tenth of a second, so that a failing step cannot spin.
fn backoff(engine: &Engine, failures: i32, chance: f64) -> Duration {
    let exponent = (failures - 1).clamp(0, 30);
    let ceiling = (engine.backoff.0 * 2f64.powi(exponent)).min(engine.backoff_cap.0);
    Duration::from_secs_f64(ceiling * chance).max(Duration::from_millis(100))
}

fn millis(delay: Duration) -> u64 {
    u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
}

fn of_phase(action: &'static str, detail: Value) -> Audit {
    Audit { action, of_phase: true, detail }
}

fn of_run(action: &'static str, detail: Value) -> Audit {
    Audit { action, of_phase: false, detail }
}

mod requests;
#[cfg(test)]
mod tests;
