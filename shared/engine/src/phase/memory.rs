//! What an attempt leaves for those after it. Operations are each attempt's own; what a phase must still know after it was
//! parked, or after its worker died, is kept beside them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::hook::Side;
use super::step::{Memory, Operation, OperationState};
use super::{Error, Result, Step};

impl Step {
    /// The step with what earlier attempts of the run have left of this phase, and the time by the database's clock.
    #[must_use]
    pub fn after(mut self, before: Vec<Operation>, now: DateTime<Utc>) -> Self {
        let direction = Some(self.direction());
        let kept = before.into_iter().filter(|operation| operation.kept == direction);
        self.operations.get_mut().extend(kept);
        self.clock.0 = now;
        self
    }

    /// The time by the database's clock: what one worker writes down and another compares must be of one clock.
    pub fn now(&self) -> DateTime<Utc> {
        let (then, since) = self.clock;
        then + since.elapsed()
    }

    /// Keeps a value under a name for every later attempt of this run at this phase in this direction, until it is kept
    /// anew. It is stored when this returns. As an operation's result, it is shown to operators: never a secret.
    pub async fn keep<T: Serialize + Sync>(&self, name: &str, value: &T) -> Result<()> {
        let result = serde_json::to_value(value).map_err(|error| {
            Error::fatal("operation_unrecordable", format!("'{name}': {error}"))
                .next("This is a fault in the phase's code; report it.")
        })?;
        self.reach(name, Side::Before).await?;
        let now = Utc::now();
        let mut operations = self.operations.lock().await;
        operations.retain(|operation| operation.name != name);
        operations.push(Operation {
            name: name.to_owned(),
            state: OperationState::Done,
            started_at: now,
            finished_at: Some(now),
            result,
            kept: Some(self.direction()),
        });
        self.parts.fence.record(&operations).await.map_err(Error::interrupted)?;
        drop(operations);
        self.reach(name, Side::After).await
    }

    /// What was kept under a name, in this attempt or an earlier one.
    pub async fn recall<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let operations = self.operations.lock().await;
        let found = operations.iter().find(|operation| operation.name == name && operation.kept.is_some());
        let read = found.map(|operation| T::deserialize(&operation.result)).transpose();
        read.map_err(|error| {
            Error::fatal("stored_state_unreadable", format!("what was kept as '{name}': {error}")).next(
                "It was written by a version that this one cannot read: deploy one that can, then retry.",
            )
        })
    }

    fn direction(&self) -> Memory {
        if self.parts.backward { Memory::Revert } else { Memory::Apply }
    }
}
