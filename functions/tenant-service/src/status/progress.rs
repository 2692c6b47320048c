//! How far a run is, how long it still takes, and what an operator may do. Pure.

use chrono::{DateTime, Utc};
use engine::decide::run::{Direction, INVENTORY, PhaseState};
use engine::decide::verbs::{self, Effect, Situation, Verb, effect};
use engine::store::{PhaseRow, Typical};
use model::PhaseName;
use tenants::phases::{self, PhaseFacts};

/// The most that a phase which is not done counts for.
const NEARLY: f64 = 0.95;

/// A phase of a run with what is expected of it.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Where in the run; [`INVENTORY`] at the end of the way back.
    pub position: i32,
    /// Where the phase is.
    pub state: PhaseState,
    /// Seconds it is expected to take: the median of the newest ones, or, before there is any, the middle of its typical
    /// durations. None for a phase that this version does not know.
    pub expected: Option<f64>,
    /// Seconds since it began, if it is under way.
    pub elapsed: Option<f64>,
    /// Past its longest typical duration.
    pub slow: bool,
    /// Its share done, from 0 to 1.
    pub share: f64,
}

impl Pace {
    /// The pace of a phase of a forward run.
    pub fn of(row: &PhaseRow, state: PhaseState, typical: &[Typical], now: DateTime<Utc>) -> Self {
        let facts = phases::facts(&PhaseName::from(row.name.clone()));
        let seen = typical.iter().find(|typical| typical.phase == row.name);
        let expected = seen.map(|seen| seen.seconds).or_else(|| facts.map(middle));
        let ended = matches!(state, PhaseState::Done | PhaseState::Skipped | PhaseState::Reverted);
        let took = row.started_at.map(|at| seconds(at, row.finished_at.unwrap_or(now)));
        let elapsed = took.filter(|_| !ended);
        let longest = facts.map(|facts| f64::from(facts.typical.1));
        let slow = matches!((took, longest), (Some(took), Some(longest)) if took > longest);
        let share = if matches!(state, PhaseState::Done | PhaseState::Skipped) {
            1.0
        } else {
            begun(row, seen, elapsed, expected)
        };
        Self { position: row.position, state, expected, elapsed, slow, share }
    }
}

/// The share of a phase that is under way: its operations done against what it typically has, or else its time.
fn begun(row: &PhaseRow, seen: Option<&Typical>, elapsed: Option<f64>, expected: Option<f64>) -> f64 {
    let Some(elapsed) = elapsed else { return 0.0 };
    let operations = row.operations.as_array().map(Vec::as_slice).unwrap_or_default();
    let done = operations.iter().filter(|operation| operation["state"] == "done").count();
    #[expect(clippy::cast_precision_loss, reason = "a phase has a handful of operations")]
    let done = done as f64;
    let share = match (seen.map(|seen| seen.operations), expected) {
        (Some(usual), _) if usual > 0.0 => done / usual,
        (_, Some(expected)) if expected > 0.0 => elapsed / expected,
        _ => 0.0,
    };
    share.clamp(0.0, NEARLY)
}

fn middle(facts: &PhaseFacts) -> f64 {
    f64::midpoint(f64::from(facts.typical.0), f64::from(facts.typical.1))
}

fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).as_seconds_f64().max(0.0)
}

/// Where a run is, as far as its progress is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// Which way it goes.
    pub direction: Direction,
    /// Which phase is next or under way.
    pub cursor: i32,
    /// It is over.
    pub finished: bool,
    /// It was ended by an operator with things left.
    pub abandoned: bool,
    /// It waits for an operator.
    pub halted: bool,
}

/// Whole percent; 100 where the run has reached its end. Forward: of the expected time, so that a long phase counts for
/// more than a short one. Backward: of the undos, the inventory being the last.
pub fn percent(course: Course, paces: &[Pace]) -> u8 {
    if course.finished && !course.abandoned {
        return 100;
    }
    let share = match course.direction {
        Direction::Forward => {
            // What is not known weighs as much as the rest does on average.
            let known: Vec<f64> = paces.iter().filter_map(|pace| pace.expected).collect();
            #[expect(clippy::cast_precision_loss, reason = "a run has a handful of phases")]
            let average = if known.is_empty() { 1.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
            let weight = |pace: &Pace| pace.expected.unwrap_or(average).max(f64::MIN_POSITIVE);
            let forward = || paces.iter().filter(|pace| pace.position > INVENTORY);
            let whole: f64 = forward().map(weight).sum();
            forward().map(|pace| weight(pace) * pace.share).sum::<f64>() / whole.max(f64::MIN_POSITIVE)
        }
        Direction::Backward => {
            // A phase that was never begun has nothing to undo, unless the way back begins with it.
            let concerned = paces.iter().filter(|pace| {
                pace.position == INVENTORY
                    || pace.position <= course.cursor
                    || pace.state != PhaseState::Pending
            });
            let (mut all, mut undone) = (0u32, 0u32);
            for pace in concerned {
                all += 1;
                undone += u32::from(match pace.state {
                    PhaseState::Reverted => true,
                    // Forward, a phase was skipped; backward, its undo was.
                    PhaseState::Skipped => pace.position > course.cursor,
                    PhaseState::Done => pace.position == INVENTORY,
                    _ => false,
                });
            }
            f64::from(undone) / f64::from(all.max(1))
        }
    };
    // Not whole, so never 100.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=99")]
    let whole = (share * 100.0).floor().clamp(0.0, 99.0) as u8;
    whole
}

/// Seconds until the run is through. None where it cannot be said: on the way back, while an operator is waited for, and
/// with a phase that this version does not know.
pub fn remaining(course: Course, paces: &[Pace]) -> Option<f64> {
    if course.finished {
        return Some(0.0);
    }
    if course.halted || course.direction == Direction::Backward {
        return None;
    }
    paces
        .iter()
        .filter(|pace| pace.position > INVENTORY && pace.share < 1.0)
        .map(|pace| Some((pace.expected? - pace.elapsed.unwrap_or(0.0)).max(0.0)))
        .sum()
}

/// The verbs that would be accepted now.
pub fn allowed(situation: Situation, course: Course, phase: &PhaseName, pending: bool) -> Vec<Verb> {
    let skippable = phases::facts(phase).is_some_and(|facts| facts.skippable);
    let mut all = verbs::allowed(situation, course.direction, course.cursor, skippable);
    // One request at a time.
    all.retain(|verb| !(pending && effect(*verb, situation) == Some(Effect::Record)));
    all
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
