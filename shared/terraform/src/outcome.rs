//! What a run of tofu leaves, and how far one is.

use std::time::Duration;

use engine::phase::Error;
use serde::{Deserialize, Serialize};

use super::Action;

/// How long a failure's text may be: a container's termination message has 4,096 bytes.
const SAID: usize = 2_000;

/// When to look again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What goes on under a name.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing is known of it.
    Nothing,
    /// It runs; how far it is.
    Running(String),
    /// It ended without an outcome: the work of this id was killed.
    Killed(String),
    /// It ended.
    Ended(Box<Outcome>),
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Of which work.
    pub id: String,
    /// What it did.
    pub action: Action,
    /// What the module says of what it made; none after a destroy or a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Outputs>,
    /// Why it failed; none where it did what it was to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Resources of an apply that was killed, which this one has taken over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken_over: Vec<String>,
}

/// The outputs that every module has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outputs {
    /// The instance's host, as tenant-api and the tenant's pods reach it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its administrator.
    pub admin_user: String,
    /// Addresses that it may have, for network policies.
    #[serde(default)]
    pub cidrs: Vec<String>,
}

/// A failure, in words without secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which.
    pub code: Code,
    /// What was said.
    pub message: String,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// tofu said so.
    Failed,
    /// tofu said so, after an apply that was killed: what that one has made is not known.
    Unseen,
    /// Our own lock was held by another.
    Locked,
    /// Our own lock was lost.
    FenceLost,
    /// It took too long.
    Deadline,
    /// It was told to stop.
    Stopped,
    /// The state's database could not be asked.
    StateUnavailable,
    /// What is there under a wanted name is somebody else's.
    Foreign,
    /// It could not run at all.
    Unusable,
}

impl Failure {
    /// With the end of a text, which is where the reason is.
    pub(super) fn new(code: Code, said: &str) -> Self {
        let said = said.trim();
        let from = said.char_indices().rev().nth(SAID - 1).map_or(0, |(at, _)| at);
        Self { code, message: said.get(from..).unwrap_or_default().to_owned() }
    }

    /// As a phase's error.
    pub fn error(&self, name: &str) -> Error {
        let message = format!("{name}: {}", self.message);
        match self.code {
            Code::Failed => Error::retryable("terraform_failed", message)
                .next("Correct what it says, in the module, its variables or the cloud; it is tried again."),
            Code::Unseen => Error::retryable("terraform_unseen", message).next(
                "Correct what it says: then the destroy finds what there is. If nothing is there, or it was removed by hand, \
                 skip the phase's undo; the inventory then asks for its workspace to be deleted.",
            ),
            Code::Locked => Error::retryable("terraform_locked", message).next(
                "Another tofu works on this tenant's workspace; it is tried again when that has ended.",
            ),
            Code::FenceLost => Error::retryable("terraform_fence_lost", message).next(
                "The state's database was out of reach; what was half made is taken over by the next try.",
            ),
            Code::Deadline => Error::retryable("terraform_deadline", message).next(
                "See what was slow, or raise infrastructure.deadline; the next try takes over what is there.",
            ),
            Code::Stopped => Error::retryable("terraform_stopped", message)
                .next("It may have been stopped on purpose; it is retried."),
            Code::StateUnavailable => Error::unavailable("terraform", "terraform_state_unavailable", message)
                .next("Bring the database of infrastructure.state_database back; the run then continues on its own."),
            Code::Foreign => Error::fatal("foreign_object", message)
                .next("Rename or remove it, and start the tenant again."),
            Code::Unusable => Error::retryable("terraform_unusable", message).next(
                "Correct [infrastructure] of the platform file, or install what is missing; then retry.",
            ),
        }
    }
}
