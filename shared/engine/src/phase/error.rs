//! How a phase fails. The kind decides what the engine does next; the code is stable and the words are for people.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Interrupt, Wait};

/// What a phase returns.
pub type Result<T> = std::result::Result<T, Error>;

/// What the engine does with an error.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Tried again after a backoff, charged to the phase's failure ledger.
    Retryable,
    /// Not tried again: the budget counts as spent.
    Fatal,
    /// A dependency is down: parked without charge, so that one outage does not roll back the fleet.
    Unavailable {
        /// The dependency, such as `cluster` or `tenant-api`.
        dependency: String,
    },
    /// No error: something deep inside must be waited for. Parks the run.
    Parked(Wait),
    /// No error: the worker was told to stop, or lost its lease.
    Interrupted(Interrupt),
}

/// A failure with a stable code, its cause, and what an operator can do about it. Never holds a secret.
#[derive(Clone, Debug)]
pub struct Error {
    /// What the engine does.
    pub kind: Kind,
    /// Stable, in snake case, for alerts and tests.
    pub code: &'static str,
    /// What went wrong, with the names of the things involved.
    pub message: String,
    /// What an operator can do next.
    pub next_action: String,
}

impl Error {
    fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code, message: message.into(), next_action: String::new() }
    }

    /// Tried again after a backoff.
    pub fn retryable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Retryable, code, message)
    }

    /// Not tried again.
    pub fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Fatal, code, message)
    }

    /// A dependency is down; tried again without charge.
    pub fn unavailable(
        dependency: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Kind::Unavailable { dependency: dependency.into() }, code, message)
    }

    /// Something must be waited for before the phase can go on.
    pub fn parked(after: Duration, on: impl Into<String>) -> Self {
        Self::parked_on(Wait { after, on: on.into(), fixed: false })
    }

    pub(super) fn parked_on(wait: Wait) -> Self {
        let message = wait.on.clone();
        Self::new(Kind::Parked(wait), "waiting", message)
    }

    /// The step is not to go on: its lease is lost, or an operator asked it to stop. Nothing failed.
    pub fn interrupted(interrupt: Interrupt) -> Self {
        Self::new(Kind::Interrupted(interrupt), "interrupted", format!("{interrupt:?}"))
    }

    /// Something else's name and label are where ours should be (never touched, and never ours to delete).
    pub fn foreign(what: impl fmt::Display) -> Self {
        Self::fatal("foreign_object", format!("{what} exists and does not belong to this tenant"))
            .next(format!("Rename or remove {what}, or choose another slug, and start the tenant again."))
    }

    /// Says what an operator can do next.
    #[must_use]
    pub fn next(mut self, action: impl Into<String>) -> Self {
        self.next_action = action.into();
        self
    }

    /// The form that is stored and shown.
    pub fn record(&self) -> ErrorRecord {
        ErrorRecord {
            code: self.code.to_owned(),
            message: self.message.clone(),
            next_action: self.next_action.clone(),
            kind: match self.kind {
                Kind::Retryable => "retryable",
                Kind::Fatal => "fatal",
                Kind::Unavailable { .. } => "unavailable",
                Kind::Parked(_) => "waiting",
                Kind::Interrupted(_) => "interrupted",
            }
            .to_owned(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}

/// An error as stored with a phase and shown to operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorRecord {
    /// Stable, in snake case.
    pub code: String,
    /// What went wrong.
    pub message: String,
    /// What an operator can do next.
    pub next_action: String,
    /// `retryable`, `fatal`, `unavailable`.
    pub kind: String,
}
