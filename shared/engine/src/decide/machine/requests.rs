//! What an operator's request makes of a run.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Run, Transition, advance, of_phase, of_run};
use crate::decide::run::{Direction, INVENTORY, PhaseState, RunKind, RunStatus};
use crate::decide::verbs::{Request, Verb};
use crate::phase::ErrorRecord;

/// Why a run is paused that an operator has paused.
pub(super) const PAUSED: &str = "paused_by_operator";

/// Lets a request take effect on top of what the event has already made of the run.
pub(super) fn take_effect(run: &Run, request: &Request, to: &mut Transition) {
    if to.finished() {
        return;
    }
    let detail = json!({ "by": request.actor, "reason": request.reason });
    let fresh = |to: &mut Transition| {
        to.status = RunStatus::Running;
        to.delay = Duration::ZERO;
        to.pause_reason = None;
        // Else one more loss after a pause for too many of them would pause it again.
        to.phase.forgets_lost = true;
    };
    match request.verb {
        Verb::Pause => {
            to.status = RunStatus::Paused;
            to.pause_reason = Some(ErrorRecord {
                code: PAUSED.into(),
                message: format!("paused by {}", request.actor),
                next_action: "Resume it when you are ready.".into(),
                kind: "paused".into(),
            });
            to.audit.push(of_run("RUN_PAUSED", detail));
        }
        Verb::Resume => {
            fresh(to);
            to.audit.push(of_run("RUN_RESUMED", detail));
        }
        Verb::Retry => {
            fresh(to);
            // Things are left although every undo has run: the undos run again, from the last phase.
            if to.direction == Direction::Backward && to.cursor == INVENTORY && !to.abandoning {
                to.cursor = run.phases - 1;
            }
            to.phase.failures = 0;
            // What was waited for is waited for anew: a phase sees by it that somebody has mended something.
            to.phase.waits = false;
            to.audit.push(of_run("RUN_RETRIED", detail));
        }
        Verb::Rollback => roll_back(to, run.kind, detail, request, fresh),
        Verb::Delete => {
            to.delete_after = run.kind != RunKind::Deprovision;
            if to.direction == Direction::Forward {
                roll_back(to, run.kind, detail, request, fresh);
            } else {
                fresh(to);
                to.phase.failures = 0;
                to.audit.push(of_run("RUN_RETRIED", detail));
            }
        }
        Verb::Skip => {
            fresh(to);
            to.phase.state = Some(PhaseState::Skipped);
            to.phase.failures = 0;
            to.audit.push(of_phase("PHASE_SKIPPED", detail));
            let mut skipped = run.clone();
            skipped.request = None;
            advance(&skipped, to);
        }
        Verb::Abandon => {
            fresh(to);
            let (action, next_action) = if run.kind == RunKind::Change {
                // The tenant lives on as it is, with some phases changed and some not.
                to.status = RunStatus::Abandoned;
                to.cursor = run.cursor;
                (
                    "RUN_ABANDONED",
                    "Some phases are changed and some not: ask for the change again, or for what was.",
                )
            } else {
                to.direction = Direction::Backward;
                to.abandoning = true;
                to.cursor = INVENTORY;
                ("RUN_ABANDONING", "See what is left in the status; DELETE tries to remove it again.")
            };
            to.tenant_error = Some(ErrorRecord {
                code: "abandoned_by_operator".into(),
                message: format!(
                    "abandoned by {}: {}",
                    request.actor,
                    request.reason.as_deref().unwrap_or("")
                ),
                next_action: next_action.into(),
                kind: "fatal".into(),
            });
            to.audit.push(of_run(action, detail));
        }
    }
}

fn roll_back(
    to: &mut Transition,
    kind: RunKind,
    detail: Value,
    request: &Request,
    fresh: impl Fn(&mut Transition),
) {
    fresh(to);
    if to.direction == Direction::Forward {
        to.direction = Direction::Backward;
        to.phase.failures = 0;
    }
    let next_action = match kind {
        RunKind::Change => "Ask for the change again when it may be made.",
        RunKind::Provision | RunKind::Deprovision => "Start it again by retry, or remove it by DELETE.",
    };
    to.tenant_error = Some(ErrorRecord {
        code: "rolled_back_by_operator".into(),
        message: format!("rolled back by {}", request.actor),
        next_action: next_action.into(),
        kind: "fatal".into(),
    });
    to.audit.push(of_run("RUN_ROLLING_BACK", detail));
}
