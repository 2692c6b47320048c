//! A phase whose plan and checkpoint are JSON, so that one runtime runs all of them.

use async_trait::async_trait;
use model::platform::Platform;
use model::{PhaseName, Tenant};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::phase::{Checkpoints, Error, Phase, Progress, Result, Step};

/// A phase by name. Implemented for every [`Phase`] through [`Loaded`].
#[async_trait]
pub trait DynPhase: Send + Sync {
    /// The phase's name.
    fn name(&self) -> PhaseName;
    /// See [`Phase::plan`].
    fn plan(&self, tenant: &Tenant, platform: &Platform, earlier: &Checkpoints) -> Result<Value>;
    /// See [`Phase::apply`].
    async fn apply(&self, plan: &Value, step: &Step) -> Result<Progress<Value>>;
    /// See [`Phase::revert`].
    async fn revert(&self, plan: &Value, done: Option<&Value>, step: &Step) -> Result<Progress<()>>;
}

/// A connected phase.
#[derive(Debug)]
pub struct Loaded<P>(pub P);

#[async_trait]
impl<P: Phase> DynPhase for Loaded<P> {
    fn name(&self) -> PhaseName {
        P::NAME
    }

    fn plan(&self, tenant: &Tenant, platform: &Platform, earlier: &Checkpoints) -> Result<Value> {
        encode("plan", &self.0.plan(tenant, platform, earlier)?)
    }

    async fn apply(&self, plan: &Value, step: &Step) -> Result<Progress<Value>> {
        let plan = decode("plan", plan)?;
        Ok(match self.0.apply(&plan, step).await? {
            Progress::Done(checkpoint) => Progress::Done(encode("checkpoint", &checkpoint)?),
            Progress::Wait(wait) => Progress::Wait(wait),
        })
    }

    async fn revert(&self, plan: &Value, done: Option<&Value>, step: &Step) -> Result<Progress<()>> {
        let plan = decode("plan", plan)?;
        let done = done.map(|done| decode("checkpoint", done)).transpose()?;
        self.0.revert(&plan, done.as_ref(), step).await
    }
}

fn decode<T: DeserializeOwned>(what: &str, value: &Value) -> Result<T> {
    T::deserialize(value).map_err(|error| {
        Error::fatal("stored_state_unreadable", format!("stored {what}: {error}"))
            .next("It was written by a version that this one cannot read: deploy one that can, then retry.")
    })
}

fn encode(what: &str, value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| {
        Error::fatal("state_unstorable", format!("{what}: {error}"))
            .next("This is a fault in the phase's code; report it.")
    })
}
