//! A program's own code before and after every operation of the steps that it runs, for tests that let a step fail, wait or
//! die between any two operations. Tenantry's own programs install none.

use async_trait::async_trait;
use model::{PhaseName, Slug};

use super::{Result, Step};

/// Called at both edges of every operation. Installed by [`Runner::with_hook`](crate::runtime::Runner::with_hook).
#[async_trait]
pub trait OperationHook: Send + Sync {
    /// The step is here, and goes on when this returns; an error leaves the phase as the operation's own would.
    async fn reached(&self, edge: &OperationEdge<'_>) -> Result<()>;
}

/// Where a step is.
#[derive(Clone, Copy, Debug)]
pub struct OperationEdge<'a> {
    /// The tenant.
    pub slug: &'a Slug,
    /// The phase.
    pub phase: &'a PhaseName,
    /// Undoing rather than doing.
    pub backward: bool,
    /// The operation.
    pub operation: &'a str,
    /// On which side of it.
    pub side: Side,
}

/// A side of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Not begun, and not recorded.
    Before,
    /// Done, and recorded.
    After,
}

impl Step {
    pub(super) async fn reach(&self, operation: &str, side: Side) -> Result<()> {
        let Some(hook) = &self.hook else { return Ok(()) };
        let Self { parts, .. } = self;
        let (slug, phase, backward) = (&parts.owner.slug, &parts.phase, parts.backward);
        hook.reached(&OperationEdge { slug, phase, backward, operation, side }).await
    }
}
