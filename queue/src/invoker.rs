//! How a message reaches its function.

use std::sync::Arc;

use async_trait::async_trait;
use engine::phase::{Answer, Job, Trigger};
use engine::runtime::Runner;
use serde_json::Value;

/// What became of an invocation.
#[derive(Debug)]
pub enum Invoked {
    /// The function answered.
    Answered(Answer),
    /// The platform has no room for it now. Charged to nobody.
    Throttled,
    /// It may have run, wholly, partly or not at all: the lease decides, and it is no failure of the phase.
    Unknown(String),
}

/// A way to invoke a job's function.
#[async_trait]
pub trait Invoker: Send + Sync {
    /// Invokes the function and waits for its answer. Never retries: retry lives in one place, the run's row.
    async fn invoke(&self, job: &Job, headers: &Value, redelivered: bool) -> Invoked;

    /// Whether an invocation costs something, so that looking at the row first pays.
    fn remote(&self) -> bool;
}

/// The phases linked into this process, for those without Lambda.
#[derive(Clone, Debug)]
pub struct Embedded(pub Arc<Runner>);

#[async_trait]
impl Invoker for Embedded {
    async fn invoke(&self, job: &Job, _headers: &Value, _redelivered: bool) -> Invoked {
        match self.0.run(job, Trigger::Dispatcher).await {
            Ok(answer) => Invoked::Answered(answer),
            Err(error) => Invoked::Unknown(error.to_string()),
        }
    }

    fn remote(&self) -> bool {
        false
    }
}
