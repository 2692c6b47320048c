//! Tables of the state machine.

use model::platform::Engine;

use super::*;

fn run() -> Run {
    Run {
        kind: RunKind::Provision,
        direction: Direction::Forward,
        status: RunStatus::Running,
        cursor: 1,
        phases: 3,
        on_failure: OnFailure::Rollback,
        delete_after: false,
        abandoning: false,
        becomes: None,
        request: None,
        failures: 0,
        unavailable_for: Duration::ZERO,
        settles_in: Duration::from_secs(7),
    }
}

fn error() -> ErrorRecord {
    ErrorRecord { code: "x".into(), message: "m".into(), next_action: "n".into(), kind: "retryable".into() }
}

#[expect(clippy::unnecessary_wraps, reason = "goes into an optional field")]
fn ask(verb: Verb) -> Option<Request> {
    Some(Request { verb, actor: "op".into(), reason: Some("r".into()) })
}

fn go(run: &Run, event: &Event) -> Transition {
    next(run, event, &Engine::default(), 0.5)
}

#[test]
fn a_run_goes_forward_phase_by_phase_and_ends_active() {
    let to = go(&run(), &Event::Done);
    assert_eq!((to.cursor, to.status, to.phase.state), (2, RunStatus::Running, Some(PhaseState::Done)));
    let to = go(&Run { cursor: 2, ..run() }, &Event::Done);
    assert_eq!((to.status, to.tenant), (RunStatus::Succeeded, Some(TenantStatus::Active)));
    assert_eq!(to.audit.iter().map(|a| a.action).collect::<Vec<_>>(), ["PHASE_DONE", "TENANT_ACTIVE"]);
}

#[test]
fn failures_back_off_and_a_spent_budget_rolls_back_the_failing_phase_first() {
    let to = go(&Run { failures: 1, ..run() }, &Event::Retryable(error()));
    assert_eq!((to.cursor, to.direction, to.phase.failures), (1, Direction::Forward, 2));
    assert_eq!(to.delay, Duration::from_secs(2), "half of base 2 s doubled once");
    for spent in
        [go(&Run { failures: 4, ..run() }, &Event::Retryable(error())), go(&run(), &Event::Fatal(error()))]
    {
        assert_eq!(
            (spent.cursor, spent.direction, spent.status),
            (1, Direction::Backward, RunStatus::Running)
        );
        assert_eq!(spent.phase.failures, 0, "the undo has a budget of its own");
        assert!(spent.tenant_error.is_some());
    }
    let paused = go(&Run { on_failure: OnFailure::Pause, ..run() }, &Event::Fatal(error()));
    assert_eq!((paused.status, paused.direction), (RunStatus::Paused, Direction::Forward));
}

#[test]
fn a_rollback_ends_with_an_inventory_that_waits_for_lost_workers() {
    let back = Run { direction: Direction::Backward, cursor: 0, ..run() };
    let to = go(&back, &Event::Done);
    assert_eq!(
        (to.cursor, to.delay, to.phase.state),
        (INVENTORY, back.settles_in, Some(PhaseState::Reverted))
    );
    let to = go(&Run { cursor: INVENTORY, ..back.clone() }, &Event::Done);
    assert_eq!((to.status, to.tenant), (RunStatus::Failed, Some(TenantStatus::Failed)));
    let to = go(&Run { cursor: INVENTORY, delete_after: true, ..back.clone() }, &Event::Done);
    assert!(to.deprovision_next);
    let to = go(&Run { cursor: INVENTORY, kind: RunKind::Deprovision, ..back.clone() }, &Event::Done);
    assert_eq!((to.status, to.tenant), (RunStatus::Succeeded, Some(TenantStatus::Deleted)));
    let to = go(&Run { failures: 4, ..back }, &Event::Retryable(error()));
    assert_eq!(to.status, RunStatus::Stuck);
}

#[test]
fn an_outage_is_charged_to_nobody_and_pauses_in_the_end() {
    let to = go(&run(), &Event::Unavailable(error()));
    assert_eq!((to.phase.failures, to.phase.failed, to.status), (0, false, RunStatus::Running));
    let to = go(&Run { unavailable_for: Duration::from_hours(1), ..run() }, &Event::Unavailable(error()));
    assert_eq!((to.status, to.phase.failures), (RunStatus::Paused, 0));
}

#[test]
fn what_an_error_stops_is_told_and_what_an_operator_stops_is_not() {
    let back = Run { direction: Direction::Backward, failures: 4, ..run() };
    let pausing = Run { on_failure: OnFailure::Pause, ..run() };
    let long = Run { unavailable_for: Duration::from_hours(1), ..run() };
    let asked = |run: &Run, verb| Run { request: ask(verb), ..run.clone() };
    for (run, event, told) in [
        (back.clone(), Event::Retryable(error()), true),
        (Run { cursor: INVENTORY, ..back.clone() }, Event::Fatal(error()), true),
        (pausing.clone(), Event::Fatal(error()), true),
        (long.clone(), Event::Unavailable(error()), true),
        (run(), Event::LostTooOften(error()), true),
        (run(), Event::Unavailable(error()), false),
        (run(), Event::Fatal(error()), false),
        (run(), Event::Done, false),
        (asked(&run(), Verb::Pause), Event::Requested, false),
        // An operator is at it already, and what stopped it comes again if it is resumed.
        (asked(&back, Verb::Pause), Event::Fatal(error()), false),
        (asked(&pausing, Verb::Retry), Event::Fatal(error()), false),
        (Run { status: RunStatus::Stuck, ..asked(&back, Verb::Retry) }, Event::Requested, false),
    ] {
        let to = go(&run, &event);
        assert_eq!(to.halted_by().is_some(), told, "{event:?} in {run:?}");
    }
}

#[test]
fn a_request_takes_effect_at_the_next_transition() {
    for (verb, event, cursor, direction, status) in [
        (Verb::Pause, Event::Done, 2, Direction::Forward, RunStatus::Paused),
        (Verb::Rollback, Event::Done, 2, Direction::Backward, RunStatus::Running),
        (Verb::Rollback, Event::Requested, 1, Direction::Backward, RunStatus::Running),
        (Verb::Rollback, Event::Fatal(error()), 1, Direction::Backward, RunStatus::Running),
        (Verb::Abandon, Event::Done, INVENTORY, Direction::Backward, RunStatus::Running),
        (Verb::Delete, Event::Done, 2, Direction::Backward, RunStatus::Running),
        (Verb::Skip, Event::Requested, 2, Direction::Forward, RunStatus::Running),
        (Verb::Retry, Event::Requested, 1, Direction::Forward, RunStatus::Running),
    ] {
        let to = go(&Run { request: ask(verb), ..run() }, &event);
        assert_eq!((to.cursor, to.direction, to.status), (cursor, direction, status), "{verb} {event:?}");
    }
}

#[test]
fn what_was_asked_before_active_still_holds_and_a_pause_does_not_hold_it_back() {
    let last = Run { cursor: 2, ..run() };
    for verb in [Verb::Rollback, Verb::Delete] {
        let to = go(&Run { request: ask(verb), ..last.clone() }, &Event::Done);
        assert_eq!((to.cursor, to.direction, to.tenant), (2, Direction::Backward, None), "{verb}");
    }
    let to = go(&Run { request: ask(Verb::Pause), ..last }, &Event::Done);
    assert_eq!(to.tenant, Some(TenantStatus::Active));
}

#[test]
fn an_abandoned_run_ends_whatever_the_inventory_says() {
    let run = Run { direction: Direction::Backward, cursor: INVENTORY, abandoning: true, ..run() };
    for event in [Event::Done, Event::Retryable(error()), Event::Unavailable(error()), Event::Fatal(error())]
    {
        let to = go(&run, &event);
        assert_eq!((to.status, to.tenant), (RunStatus::Abandoned, Some(TenantStatus::Failed)), "{event:?}");
    }
}

#[test]
fn a_stuck_undo_is_retried_skipped_or_starts_over_when_only_the_inventory_is_left() {
    let stuck = Run { direction: Direction::Backward, status: RunStatus::Stuck, failures: 5, ..run() };
    let to = go(&Run { request: ask(Verb::Retry), ..stuck.clone() }, &Event::Requested);
    assert_eq!((to.status, to.cursor, to.phase.failures), (RunStatus::Running, 1, 0));
    let to = go(&Run { request: ask(Verb::Skip), ..stuck.clone() }, &Event::Requested);
    assert_eq!((to.status, to.cursor, to.phase.state), (RunStatus::Running, 0, Some(PhaseState::Skipped)));
    let to = go(&Run { request: ask(Verb::Retry), cursor: INVENTORY, ..stuck }, &Event::Requested);
    assert_eq!((to.status, to.cursor), (RunStatus::Running, 2));
}

#[test]
fn what_is_done_is_not_skipped_and_haste_does_not_bring_the_inventory_forward() {
    let to = go(&Run { request: ask(Verb::Skip), ..run() }, &Event::Done);
    assert_eq!((to.cursor, to.phase.state), (2, Some(PhaseState::Done)));
    let back = Run { direction: Direction::Backward, cursor: 0, ..run() };
    for verb in [Verb::Retry, Verb::Delete, Verb::Abandon] {
        let to = go(&Run { request: ask(verb), ..back.clone() }, &Event::Done);
        assert!(to.cursor != INVENTORY || to.delay >= back.settles_in, "{verb}");
    }
    let waiting = Run { cursor: INVENTORY, request: ask(Verb::Resume), status: RunStatus::Paused, ..back };
    assert_eq!(go(&waiting, &Event::Requested).delay, waiting.settles_in);
}

#[test]
fn a_retry_asked_for_during_a_wait_begins_the_wait_anew() {
    let wait = Event::Wait(Wait { after: Duration::from_secs(5), on: "an address".into(), fixed: false });
    assert!(go(&run(), &wait).phase.waits);
    let to = go(&Run { request: ask(Verb::Retry), ..run() }, &wait);
    assert_eq!((to.phase.waits, to.delay, to.status), (false, Duration::ZERO, RunStatus::Running));
}

#[test]
fn a_change_ends_with_the_tenant_as_wanted_or_as_it_was() {
    let change = Run { kind: RunKind::Change, on_failure: OnFailure::Pause, ..run() };
    let last = Run { cursor: 2, ..change.clone() };
    let to = go(&last, &Event::Done);
    assert_eq!((to.status, to.tenant), (RunStatus::Succeeded, None));
    let to = go(&Run { becomes: Some(TenantStatus::Suspended), ..last }, &Event::Done);
    assert_eq!((to.status, to.tenant), (RunStatus::Succeeded, Some(TenantStatus::Suspended)));
    // Taken back whatever was said of the tenant's making, and not before an effect of a lost worker has landed.
    let to = go(&change, &Event::Fatal(error()));
    assert_eq!(
        (to.direction, to.cursor, to.status, to.delay),
        (Direction::Backward, 1, RunStatus::Running, change.settles_in)
    );
    let back = Run { direction: Direction::Backward, cursor: 0, ..change };
    let to = go(&back, &Event::Done);
    assert_eq!(
        (to.status, to.tenant, to.cursor),
        (RunStatus::Failed, None, 0),
        "no inventory of a living tenant"
    );
    let to = go(&Run { delete_after: true, ..back.clone() }, &Event::Done);
    assert!(to.deprovision_next);
    assert_eq!(to.tenant, Some(TenantStatus::Deprovisioning));
    let to = go(&Run { request: ask(Verb::Abandon), ..back }, &Event::Requested);
    assert_eq!((to.status, to.tenant), (RunStatus::Abandoned, None));
}
