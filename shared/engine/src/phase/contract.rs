//! The contract every phase fulfils.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use model::platform::Platform;
use model::{PhaseName, Tenant};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Clients, Error, Result, Step};

/// One phase of a run: what it will do, doing it, and undoing it.
///
/// `apply` may run once, twice, or half and then again; `revert` must succeed when `apply` never ran, ran half, or ran
/// twice. Whatever touches the world does so inside [`Step::operation`], which stores the plan before the first effect,
/// checks the fence, and records progress.
pub trait Phase: Send + Sync + 'static {
    /// The phase's name in audit log, API and queue.
    const NAME: PhaseName;
    /// What will be done: stored before the first effect, and what the rollback reads. Every released shape must decode.
    type Plan: Serialize + DeserializeOwned + Send + Sync;
    /// What later phases and the rollback read.
    type Checkpoint: Serialize + DeserializeOwned + Send + Sync;

    /// Builds the phase with the clients it needs, once for each process and each region's cluster. Reads addresses and
    /// credentials from the environment and the platform file; a missing one is an error that names it.
    fn connect(clients: &impl Clients) -> impl Future<Output = Result<Self>> + Send
    where
        Self: Sized;

    /// Decides what to do. Pure: no I/O, the same answer for the same input.
    fn plan(&self, tenant: &Tenant, platform: &Platform, earlier: &Checkpoints) -> Result<Self::Plan>;

    /// Does it. Converges when called again.
    fn apply(
        &self,
        plan: &Self::Plan,
        step: &Step,
    ) -> impl Future<Output = Result<Progress<Self::Checkpoint>>> + Send;

    /// Undoes it. `done` is the checkpoint if `apply` ever completed. Deletes only what [`Step::owner`] says is ours.
    fn revert(
        &self,
        plan: &Self::Plan,
        done: Option<&Self::Checkpoint>,
        step: &Step,
    ) -> impl Future<Output = Result<Progress<()>>> + Send;
}

/// Done, or to be looked at again later. A wait holds no compute: the run is parked and the row says what it waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress<T> {
    /// Finished, with what is to be kept.
    Done(T),
    /// Not yet.
    Wait(Wait),
}

impl<T> Progress<T> {
    /// A wait of `after`, on what the operator reads.
    pub fn wait(after: Duration, on: impl Into<String>) -> Self {
        Self::Wait(Wait { after, on: on.into(), fixed: false })
    }

    /// A wait that is over after just so long (a TTL, say), however long that is: it counts towards no bound on waiting.
    pub fn wait_out(length: Duration, on: impl Into<String>) -> Self {
        Self::Wait(Wait { after: length, on: on.into(), fixed: true })
    }

    /// The result, or a parked error that leaves the phase by `?`.
    pub fn or_park(self) -> Result<T> {
        match self {
            Self::Done(value) => Ok(value),
            Self::Wait(wait) => Err(Error::parked_on(wait)),
        }
    }
}

/// When to look again, and what is waited for, in words (`Deployment matih-acme/query-engine: 0 of 1 replicas ready`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The shortest time until the next look.
    pub after: Duration,
    /// What is waited for.
    pub on: String,
    /// Its length is known and it comes to an end by itself, so that it is not counted with what a phase may wait.
    pub fixed: bool,
}

/// A part of a phase's checkpoint, as another phase reads it by [`Checkpoints::read`].
pub trait CheckpointPart: DeserializeOwned {
    /// Whose checkpoint.
    const PHASE: &'static str;
}

/// What the earlier phases of the run (or of the tenant, in a deprovisioning) left for later ones.
#[derive(Clone, Debug, Default)]
pub struct Checkpoints(BTreeMap<String, Value>);

impl Checkpoints {
    /// From the store's rows: phase name to checkpoint.
    pub fn new(rows: BTreeMap<String, Value>) -> Self {
        Self(rows)
    }

    /// Reads the part of an earlier phase's checkpoint that the caller needs; `None` when that phase is not part of this
    /// run. A checkpoint that does not decode is fatal: it was written by a version that this one cannot read.
    pub fn read<T: CheckpointPart>(&self) -> Result<Option<T>> {
        let phase = T::PHASE;
        let Some(value) = self.0.get(phase) else { return Ok(None) };
        T::deserialize(value).map(Some).map_err(|error| {
            Error::fatal("checkpoint_unreadable", format!("checkpoint of {phase}: {error}"))
                .next("Deploy a version of the function that reads this checkpoint, then retry.")
        })
    }
}
