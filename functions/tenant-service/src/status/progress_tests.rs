use super::*;
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;

fn at(seconds_ago: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(NOW - seconds_ago, 0)
}

fn row(
    position: i32,
    name: &str,
    started: Option<i64>,
    finished: Option<i64>,
    operations: Value,
) -> PhaseRow {
    PhaseRow {
        position,
        name: name.into(),
        state: String::new(),
        operations,
        failures: 0,
        total_failures: 0,
        lost: 0,
        waits: 0,
        waiting_on: None,
        error: None,
        started_at: started.and_then(at),
        finished_at: finished.and_then(at),
        reverted_at: None,
    }
}

fn pace(row: &PhaseRow, state: PhaseState, typical: &[Typical]) -> Pace {
    Pace::of(row, state, typical, at(0).unwrap())
}

fn seen(phase: &str, seconds: f64, operations: f64) -> Vec<Typical> {
    vec![Typical { phase: phase.into(), seconds, operations }]
}

#[test]
fn a_phase_is_expected_to_take_its_median_or_the_middle_of_its_typical_durations() {
    let fresh = row(0, "CREATE_NAMESPACE", None, None, json!([]));
    assert_eq!(pace(&fresh, PhaseState::Pending, &[]).expected, Some(17.5));
    assert_eq!(pace(&fresh, PhaseState::Pending, &seen("CREATE_NAMESPACE", 2.0, 5.0)).expected, Some(2.0));
    let unknown = row(0, "FROM_THE_FUTURE", None, None, json!([]));
    assert_eq!(pace(&unknown, PhaseState::Pending, &[]).expected, None);
}

#[test]
fn a_phase_is_slow_past_its_longest_typical_duration() {
    // CREATE_NAMESPACE: 5 to 30 s.
    for (started, finished, state, slow) in [
        (None, None, PhaseState::Pending, false),
        (Some(30), None, PhaseState::Running, false),
        (Some(31), None, PhaseState::Running, true),
        (Some(100), None, PhaseState::Waiting, true),
        (Some(100), Some(90), PhaseState::Done, false),
        (Some(100), Some(60), PhaseState::Done, true),
    ] {
        let row = row(0, "CREATE_NAMESPACE", started, finished, json!([]));
        assert_eq!(pace(&row, state, &[]).slow, slow, "{started:?} {finished:?}");
    }
}

#[test]
fn the_share_of_a_phase_counts_its_operations_or_else_its_time_and_is_never_whole_before_it_is_done() {
    let done = |n: usize| {
        let mut list = vec![json!({ "state": "done" }); n];
        list.push(json!({ "state": "running" }));
        Value::Array(list)
    };
    let history = seen("CREATE_NAMESPACE", 10.0, 4.0);
    for (state, started, operations, typical, share) in [
        (PhaseState::Pending, None, json!([]), &[][..], 0.0),
        (PhaseState::Running, Some(0), json!([]), &[], 0.0),
        (PhaseState::Running, Some(7), json!([]), &[], 0.4),
        (PhaseState::Running, Some(1000), json!([]), &[], NEARLY),
        (PhaseState::Running, Some(1000), done(1), &history, 0.25),
        (PhaseState::Waiting, Some(1), done(3), &history, 0.75),
        (PhaseState::Running, Some(1), done(9), &history, NEARLY),
        (PhaseState::Done, Some(9), json!([]), &history, 1.0),
        (PhaseState::Skipped, None, json!([]), &[], 1.0),
    ] {
        let row = row(0, "CREATE_NAMESPACE", started, None, operations);
        let got = pace(&row, state, typical).share;
        assert!((got - share).abs() < 1e-9, "{state:?} {started:?}: {got} and not {share}");
    }
}

fn plain(position: i32, state: PhaseState, expected: Option<f64>, share: f64) -> Pace {
    let elapsed = matches!(state, PhaseState::Running | PhaseState::Waiting).then_some(4.0);
    Pace { position, state, expected, elapsed, slow: false, share }
}

fn course(direction: Direction, cursor: i32) -> Course {
    Course { direction, cursor, finished: false, abandoned: false, halted: false }
}

#[test]
fn a_forward_run_is_as_far_as_the_expected_time_of_what_is_done() {
    use PhaseState::{Done, Pending, Running};
    let forward = course(Direction::Forward, 0);
    for (paces, percent, left) in [
        (vec![plain(0, Pending, Some(10.0), 0.0), plain(1, Pending, Some(30.0), 0.0)], 0, Some(40.0)),
        (vec![plain(0, Done, Some(10.0), 1.0), plain(1, Pending, Some(30.0), 0.0)], 25, Some(30.0)),
        (vec![plain(0, Done, Some(10.0), 1.0), plain(1, Running, Some(30.0), 0.5)], 62, Some(26.0)),
        // What took longer than expected is expected to end at once.
        (vec![plain(0, Running, Some(1.0), 0.5), plain(1, Pending, Some(1.0), 0.0)], 25, Some(1.0)),
        // All done, but the run's last transition is not written.
        (vec![plain(0, Done, Some(10.0), 1.0)], 99, Some(0.0)),
        (vec![plain(0, Done, Some(10.0), 1.0), plain(1, Pending, None, 0.0)], 50, None),
        (vec![plain(0, Done, None, 1.0), plain(1, Pending, None, 0.0)], 50, None),
        (vec![plain(0, Done, Some(0.0), 1.0), plain(1, Pending, Some(0.0), 0.0)], 50, Some(0.0)),
        (vec![], 0, Some(0.0)),
    ] {
        assert_eq!(super::percent(forward, &paces), percent, "{paces:?}");
        assert_eq!(remaining(forward, &paces), left, "{paces:?}");
    }
}

#[test]
fn a_run_backward_is_as_far_as_its_undos() {
    use PhaseState::{Done, Failed, Pending, Reverted, Reverting, Skipped};
    let table = [
        // A rollback from the second of three phases: two undos and the inventory.
        (1, vec![Done, Failed, Pending], 0),
        (0, vec![Done, Reverted, Pending], 33),
        (0, vec![Reverting, Skipped, Pending], 33),
        (INVENTORY, vec![Reverted, Reverted, Pending], 66),
        // A rollback asked for before the first phase began.
        (0, vec![Pending, Pending, Pending], 0),
        // A tenant of which nothing holds.
        (INVENTORY, vec![], 0),
    ];
    for (cursor, states, percent) in table {
        let mut paces: Vec<Pace> =
            (0..).zip(&states).map(|(position, state)| plain(position, *state, Some(1.0), 0.0)).collect();
        paces.push(plain(INVENTORY, Pending, None, 0.0));
        let back = course(Direction::Backward, cursor);
        assert_eq!(super::percent(back, &paces), percent, "{cursor} {states:?}");
        assert_eq!(remaining(back, &paces), None);
    }
}

#[test]
fn a_run_that_is_over_is_whole_and_one_that_waits_for_an_operator_cannot_say() {
    let paces = [plain(0, PhaseState::Done, Some(1.0), 1.0), plain(1, PhaseState::Pending, Some(5.0), 0.0)];
    for direction in [Direction::Forward, Direction::Backward] {
        let over = Course { finished: true, ..course(direction, 0) };
        assert_eq!((percent(over, &paces), remaining(over, &paces)), (100, Some(0.0)));
    }
    let abandoned = Course { finished: true, abandoned: true, ..course(Direction::Backward, INVENTORY) };
    let left = [
        plain(0, PhaseState::Done, Some(1.0), 1.0),
        plain(1, PhaseState::Reverted, Some(5.0), 0.0),
        plain(INVENTORY, PhaseState::Failed, None, 0.0),
    ];
    assert_eq!((percent(abandoned, &left), remaining(abandoned, &left)), (33, Some(0.0)));
    let paused = Course { halted: true, ..course(Direction::Forward, 1) };
    assert_eq!((percent(paused, &paces), remaining(paused, &paces)), (16, None));
}

#[test]
fn only_verbs_that_would_be_accepted_are_shown() {
    use Situation as S;
    let forward = |cursor| course(Direction::Forward, cursor);
    let back = |cursor| course(Direction::Backward, cursor);
    let namespace = "CREATE_NAMESPACE";
    let table = [
        (S::Forward, forward(0), namespace, false, "retry rollback pause abandon delete"),
        (S::Forward, forward(4), "DEPLOY_DATA_SERVICES", false, "retry rollback pause skip abandon delete"),
        (S::Forward, forward(4), "DEPLOY_DATA_SERVICES", true, ""),
        (S::Forward, forward(0), "FROM_THE_FUTURE", false, "retry rollback pause abandon delete"),
        (S::ForwardPaused, forward(0), namespace, false, "retry rollback resume abandon delete"),
        (S::RollingBack, back(0), namespace, false, "retry pause abandon delete"),
        (S::RollbackStuck, back(0), namespace, false, "retry skip abandon delete"),
        (S::RollbackStuck, back(INVENTORY), "TAKE_INVENTORY", false, "retry abandon delete"),
        (S::Deprovisioning, back(0), namespace, false, "retry pause abandon"),
        (S::Active, forward(5), "TAKE_INVENTORY", false, "delete"),
        (S::Failed, back(INVENTORY), "TAKE_INVENTORY", false, "retry delete"),
        (S::Deleted, back(INVENTORY), "TAKE_INVENTORY", false, ""),
    ];
    for (situation, course, phase, pending, expected) in table {
        let verbs = allowed(situation, course, &PhaseName::from(phase.to_owned()), pending);
        let verbs: Vec<&str> = verbs.into_iter().map(Verb::as_str).collect();
        assert_eq!(verbs.join(" "), expected, "{situation} at {phase}");
    }
}
