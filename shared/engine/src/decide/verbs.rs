//! The verbs an operator has, and which of them a run allows where it is.

use std::fmt;

use model::TenantStatus;
use serde::{Deserialize, Serialize};

use super::run::{Direction, INVENTORY, RunKind, RunStatus};

model::names!(
    /// What an operator can ask of a run.
    Verb {
        Retry = "retry", Rollback = "rollback", Pause = "pause", Resume = "resume", Skip = "skip",
        Abandon = "abandon", Delete = "delete",
    }
);

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 7] =
        [Self::Retry, Self::Rollback, Self::Pause, Self::Resume, Self::Skip, Self::Abandon, Self::Delete];

    /// Must say why: it gives something up that the run would have seen to.
    pub fn needs_reason(self) -> bool {
        matches!(self, Self::Skip | Self::Abandon)
    }
}

/// A verb as recorded with the run until it takes effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What is asked.
    pub verb: Verb,
    /// By whom.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
}

/// Where a tenant and its newest run are, as far as verbs are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Situation {
    /// A run goes forward.
    Forward,
    /// A forward run waits for an operator.
    ForwardPaused,
    /// A provisioning run is rolling back.
    RollingBack,
    /// A rollback waits for an operator, by request.
    RollbackPaused,
    /// A rollback cannot go on.
    RollbackStuck,
    /// A tenant is being taken out.
    Deprovisioning,
    /// A deprovisioning waits for an operator, by request.
    DeprovisioningPaused,
    /// A deprovisioning cannot go on.
    DeprovisioningStuck,
    /// A change of a living tenant is under way.
    Changing,
    /// A change waits for an operator.
    ChangingPaused,
    /// A change is being taken back.
    Restoring,
    /// Taking a change back waits for an operator, by request.
    RestoringPaused,
    /// Taking a change back cannot go on.
    RestoringStuck,
    /// No run: the tenant is whole.
    Active,
    /// No run: provisioning failed.
    Failed,
    /// No run: gone.
    Deleted,
}

impl Situation {
    /// Every situation.
    pub const ALL: [Self; 16] = [
        Self::Forward,
        Self::ForwardPaused,
        Self::RollingBack,
        Self::RollbackPaused,
        Self::RollbackStuck,
        Self::Deprovisioning,
        Self::DeprovisioningPaused,
        Self::DeprovisioningStuck,
        Self::Changing,
        Self::ChangingPaused,
        Self::Restoring,
        Self::RestoringPaused,
        Self::RestoringStuck,
        Self::Active,
        Self::Failed,
        Self::Deleted,
    ];

    /// From the tenant and its unfinished run, if it has one.
    pub fn of(tenant: TenantStatus, run: Option<(RunKind, Direction, RunStatus)>) -> Self {
        match (run, tenant) {
            (Some((RunKind::Provision, Direction::Forward, status)), _) => match status {
                RunStatus::Paused | RunStatus::Stuck => Self::ForwardPaused,
                _ => Self::Forward,
            },
            (Some((RunKind::Provision, Direction::Backward, status)), _) => match status {
                RunStatus::Paused => Self::RollbackPaused,
                RunStatus::Stuck => Self::RollbackStuck,
                _ => Self::RollingBack,
            },
            (Some((RunKind::Deprovision, _, status)), _) => match status {
                RunStatus::Paused => Self::DeprovisioningPaused,
                RunStatus::Stuck => Self::DeprovisioningStuck,
                _ => Self::Deprovisioning,
            },
            (Some((RunKind::Change, Direction::Forward, status)), _) => match status {
                RunStatus::Paused | RunStatus::Stuck => Self::ChangingPaused,
                _ => Self::Changing,
            },
            (Some((RunKind::Change, Direction::Backward, status)), _) => match status {
                RunStatus::Paused => Self::RestoringPaused,
                RunStatus::Stuck => Self::RestoringStuck,
                _ => Self::Restoring,
            },
            (None, TenantStatus::Deleted) => Self::Deleted,
            (None, TenantStatus::Active | TenantStatus::Suspended) => Self::Active,
            (None, _) => Self::Failed,
        }
    }
}

impl fmt::Display for Situation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "being provisioned",
            Self::ForwardPaused => "paused while being provisioned",
            Self::RollingBack => "rolling back",
            Self::RollbackPaused => "paused while rolling back",
            Self::RollbackStuck => "stuck while rolling back",
            Self::Deprovisioning => "being deprovisioned",
            Self::DeprovisioningPaused => "paused while being deprovisioned",
            Self::DeprovisioningStuck => "stuck while being deprovisioned",
            Self::Changing => "being changed",
            Self::ChangingPaused => "paused while being changed",
            Self::Restoring => "being set back after a change",
            Self::RestoringPaused => "paused while being set back after a change",
            Self::RestoringStuck => "stuck while being set back after a change",
            Self::Active => "ACTIVE",
            Self::Failed => "FAILED",
            Self::Deleted => "DELETED",
        })
    }
}

/// What a legal verb does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Recorded with the run; takes effect at its next transition.
    Record,
    /// Starts a new provisioning run.
    NewRun,
    /// Starts a deprovisioning run.
    NewDeprovisioning,
    /// Already so: answered as it was the first time.
    Already,
}

/// The table of verbs and situations; `None` is an `invalid_transition`.
#[expect(clippy::match_same_arms, reason = "grouped by verb, as the table is read")]
pub fn effect(verb: Verb, situation: Situation) -> Option<Effect> {
    use Effect::{Already, NewDeprovisioning, NewRun, Record};
    use Situation as S;
    match (verb, situation) {
        (Verb::Retry, S::Failed) => Some(NewRun),
        (Verb::Retry | Verb::Skip | Verb::Abandon, S::Active | S::Failed | S::Deleted) => None,
        (Verb::Retry | Verb::Abandon, _) => Some(Record),
        (Verb::Rollback, S::Forward | S::ForwardPaused | S::Changing | S::ChangingPaused) => Some(Record),
        (Verb::Rollback, _) => None,
        (Verb::Pause, S::Forward | S::RollingBack | S::Deprovisioning | S::Changing | S::Restoring) => {
            Some(Record)
        }
        (Verb::Pause, _) => None,
        (
            Verb::Resume,
            S::ForwardPaused
            | S::RollbackPaused
            | S::DeprovisioningPaused
            | S::ChangingPaused
            | S::RestoringPaused,
        ) => Some(Record),
        (Verb::Resume, _) => None,
        // Forward: what the phase allows. Backward: "done by hand", once the undo is stuck. A change is made whole or not.
        (
            Verb::Skip,
            S::Forward | S::ForwardPaused | S::RollbackStuck | S::DeprovisioningStuck | S::RestoringStuck,
        ) => Some(Record),
        (Verb::Skip, _) => None,
        (Verb::Delete, S::Active | S::Failed) => Some(NewDeprovisioning),
        (Verb::Delete, S::Deleted) => None,
        (Verb::Delete, S::Deprovisioning) => Some(Already),
        (Verb::Delete, _) => Some(Record),
    }
}

/// The verbs that are taken in this situation, with a phase at the cursor that may be skipped on the way forward if it is
/// `skippable`, and nothing asked for yet. As the store decides it, but for `force`, which an operator can add.
pub fn allowed(situation: Situation, direction: Direction, cursor: i32, skippable: bool) -> Vec<Verb> {
    let skippable = match direction {
        Direction::Forward => skippable,
        Direction::Backward => cursor != INVENTORY,
    };
    Verb::ALL
        .into_iter()
        .filter(|verb| match effect(*verb, situation) {
            Some(Effect::Record) => *verb != Verb::Skip || skippable,
            Some(Effect::NewRun | Effect::NewDeprovisioning) => true,
            Some(Effect::Already) | None => false,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows: situations in the order of `ALL`. Columns: retry rollback pause resume skip abandon delete.
    /// `r` recorded, `n` new run, `d` new deprovisioning, `a` already so, `.` invalid.
    const TABLE: [&str; 16] = [
        "rrr.rrr", // Forward
        "rr.rrrr", // ForwardPaused
        "r.r..rr", // RollingBack
        "r..r.rr", // RollbackPaused
        "r...rrr", // RollbackStuck
        "r.r..ra", // Deprovisioning
        "r..r.rr", // DeprovisioningPaused
        "r...rrr", // DeprovisioningStuck
        "rrr..rr", // Changing
        "rr.r.rr", // ChangingPaused
        "r.r..rr", // Restoring
        "r..r.rr", // RestoringPaused
        "r...rrr", // RestoringStuck
        "......d", // Active
        "n.....d", // Failed
        ".......", // Deleted
    ];

    #[test]
    fn every_verb_in_every_situation_is_as_the_table_says() {
        for (situation, row) in Situation::ALL.into_iter().zip(TABLE) {
            for (verb, cell) in Verb::ALL.into_iter().zip(row.chars()) {
                let expected = match cell {
                    'r' => Some(Effect::Record),
                    'n' => Some(Effect::NewRun),
                    'd' => Some(Effect::NewDeprovisioning),
                    'a' => Some(Effect::Already),
                    _ => None,
                };
                assert_eq!(effect(verb, situation), expected, "{verb} while {situation}");
            }
        }
    }
}
