//! A worker's lease, measured on its own monotonic clock.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use model::platform::Engine;
use serde_json::Value;
use tokio::sync::{Mutex, watch};

use crate::phase::{Fence, Interrupt, Operation};
use crate::store::{Hold, Store};

/// The hold on a step, with the time at which the worker must have stopped touching the world.
pub(super) struct Lease {
    store: Store,
    engine: Engine,
    hold: Hold,
    /// Not stored yet; stored with the first operation.
    plan: Mutex<Option<Value>>,
    /// The end of the lease, less the margin. Counted from before the claim or renewal was sent, so that the worker's
    /// idea of it is never later than the database's.
    stop_at: watch::Sender<Instant>,
}

impl Lease {
    pub(super) fn new(store: Store, engine: Engine, hold: Hold, plan: Option<Value>, sent: Instant) -> Self {
        let stop_at = watch::Sender::new(sent + Self::usable(&engine));
        Self { store, engine, hold, plan: Mutex::new(plan), stop_at }
    }

    fn usable(engine: &Engine) -> Duration {
        engine.lease.duration().saturating_sub(engine.lease_margin.duration())
    }

    /// Whatever of the plan is still unstored.
    pub(super) async fn unstored_plan(&self) -> Option<Value> {
        self.plan.lock().await.clone()
    }

    async fn renew(&self, operations: Option<&[Operation]>) -> Result<(), Interrupt> {
        let sent = Instant::now();
        // The lock is held across the write: two writers must not both think the plan is theirs to store.
        let mut plan = self.plan.lock().await;
        let stored = match operations {
            Some(_) => plan.clone(),
            None => None,
        };
        let kept = self.store.record(&self.hold, operations, stored.as_ref(), &self.engine).await;
        match kept {
            Ok(Ok(())) => {
                if operations.is_some() {
                    *plan = None;
                }
                self.stop_at.send_replace(sent + Self::usable(&self.engine));
                Ok(())
            }
            Ok(Err(interrupt)) => Err(interrupt),
            Err(error) => {
                tracing::warn!(%error, "lease not renewed");
                // The database may be back before the lease is over; until then it is still ours.
                if Instant::now() < *self.stop_at.borrow() && operations.is_none() {
                    Ok(())
                } else {
                    Err(Interrupt::Fenced)
                }
            }
        }
    }

    /// Renews the lease until it is lost; returns only then. A recorded request does not end it: that is noticed before
    /// the next operation, so that an operation under way is not cut in half for it.
    pub(super) async fn keep(&self) {
        let renew = self.engine.renew.duration();
        loop {
            let stop_at = *self.stop_at.borrow();
            let next = Instant::now() + renew;
            if stop_at <= next {
                // Not renewed in time: what is left is waited out, unless an operation renews it meanwhile.
                tokio::time::sleep_until(stop_at.into()).await;
                if *self.stop_at.borrow() <= Instant::now() {
                    return;
                }
                continue;
            }
            tokio::time::sleep_until(next.into()).await;
            let remaining = self.stop_at.borrow().saturating_duration_since(Instant::now());
            if let Ok(Err(Interrupt::Fenced)) = tokio::time::timeout(remaining, self.renew(None)).await {
                return;
            }
        }
    }
}

#[async_trait]
impl Fence for Lease {
    async fn record(&self, operations: &[Operation]) -> Result<(), Interrupt> {
        let remaining = self.stop_at.borrow().saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(Interrupt::Fenced);
        }
        tokio::time::timeout(remaining, self.renew(Some(operations))).await.unwrap_or(Err(Interrupt::Fenced))
    }

    fn is_held(&self) -> bool {
        Instant::now() < *self.stop_at.borrow()
    }
}
