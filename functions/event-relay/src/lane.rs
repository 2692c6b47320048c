//! One sink's loop: claim, deliver, write what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use engine::store::{Nacked, Outgoing, Patience, Sink, StoreResult, Undelivered};
use model::platform::{Delivery, Seconds};
use tenants::Store;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// From a claim to the beginning of the delivery. What begins later might still be under way when another relay may claim
/// the row, and could then overtake the tenant's next one.
const BEGIN_WITHIN: Duration = Duration::from_secs(5);
/// A delivery ends by itself within its time-out; this ends one that does not, still before its claim.
const GRACE: Duration = Duration::from_secs(3);
/// Between two tries to write what came of a delivery.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
/// Longest error that is kept, in characters.
const ERROR_LENGTH: usize = 500;

/// Why a row was not delivered. The words hold no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It may go well later.
    Later(String),
    /// This very row is refused, whenever it comes.
    Refused(String),
}

/// A sink as the loop sees it.
#[async_trait]
pub(crate) trait Deliver: Send + Sync {
    /// Delivers one row and returns once the sink has acknowledged it, with what it had to say besides. Called again for
    /// the same row, it sends the same id again.
    async fn deliver(&self, row: &Outgoing) -> Result<Option<String>, Failure>;
}

/// What one process has done at a sink.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) delivered: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) set_aside: AtomicU64,
}

/// A sink's loop.
pub(crate) struct Lane {
    pub(crate) sink: Sink,
    pub(crate) counts: Counts,
    store: Store,
    settings: Delivery,
    /// Refusals before a row is set aside; none: never.
    refusals: Option<i32>,
    deliver: Box<dyn Deliver>,
}

impl Lane {
    pub(crate) fn new(
        sink: Sink,
        store: Store,
        settings: Delivery,
        refusals: Option<i32>,
        deliver: Box<dyn Deliver>,
    ) -> Arc<Self> {
        Arc::new(Self { sink, counts: Counts::default(), store, settings, refusals, deliver })
    }

    /// Delivers what comes until `stop`; then finishes what is under way.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut under_way = JoinSet::new();
        while !stop.is_cancelled() {
            if let Err(error) = self.begin(&mut under_way).await {
                tracing::warn!(sink = %self.sink, %error, "the outbox cannot be read");
            }
            // One that has ended may have made room, and its tenant's next row the head.
            tokio::select! {
                () = stop.cancelled() => {}
                Some(ended) = under_way.join_next() => {
                    if let Err(error) = ended {
                        // Its row is sent again when the claim is over.
                        tracing::error!(sink = %self.sink, %error, "a delivery has panicked");
                    }
                }
                () = tokio::time::sleep(self.settings.poll.duration()) => {}
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// Delivers until nothing is due. What has failed and is due later is left for another call.
    pub(crate) async fn drain(self: Arc<Self>) -> StoreResult<()> {
        let mut under_way = JoinSet::new();
        loop {
            let begun = self.begin(&mut under_way).await;
            if begun.is_err() {
                // What is under way is sent whether or not it is waited for.
                while under_way.join_next().await.is_some() {}
            }
            begun?;
            if under_way.join_next().await.is_none() {
                return Ok(());
            }
        }
    }

    /// Claims as many rows as there is room for, and begins their deliveries.
    async fn begin(self: &Arc<Self>, under_way: &mut JoinSet<()>) -> StoreResult<()> {
        let width = usize::try_from(self.settings.in_flight).unwrap_or(usize::MAX);
        let room = width.saturating_sub(under_way.len());
        if room == 0 {
            return Ok(());
        }
        let claimed_at = Instant::now();
        let limit = i64::try_from(room).unwrap_or(i64::MAX);
        for row in self.store.claim_outbox(self.sink, limit, self.settings.claim).await? {
            let lane = self.clone();
            under_way.spawn(async move { lane.one(&row, claimed_at).await });
        }
        Ok(())
    }

    async fn one(&self, row: &Outgoing, claimed_at: Instant) {
        if claimed_at.elapsed() > BEGIN_WITHIN {
            // Left to the claim's end.
            tracing::warn!(sink = %self.sink, event.id = %row.id, "the machine is too slow to begin in time");
            return;
        }
        let limit = self.settings.timeout.duration();
        let delivered = match tokio::time::timeout(limit + GRACE, self.deliver.deliver(row)).await {
            Ok(delivered) => delivered,
            Err(_) => Err(Failure::Later(format!("no acknowledgement within {} s", limit.as_secs_f64()))),
        };
        match &delivered {
            Ok(note) => {
                self.counts.delivered.fetch_add(1, Ordering::Relaxed);
                tracing::info!(sink = %self.sink, event.id = %row.id, event.kind = row.kind.as_str(),
                    tenant.id = %row.tenant_id, attempt = row.attempts, note = note.as_deref(), "delivered");
            }
            Err(failure) => {
                self.counts.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(sink = %self.sink, event.id = %row.id, event.kind = row.kind.as_str(),
                    tenant.id = %row.tenant_id, attempt = row.attempts, error = failure.text(), "not delivered");
            }
        }
        // While the claim holds nobody else sends it: a database that comes back in time saves a second sending.
        let hold = self.settings.claim.duration();
        loop {
            match self.write(row, &delivered).await {
                Ok(true) => return,
                Ok(false) => {
                    tracing::warn!(event.id = %row.id, "the claim was lost; it may be sent again");
                    return;
                }
                Err(error) => {
                    tracing::warn!(event.id = %row.id, %error, "what came of a delivery is not written");
                }
            }
            if claimed_at.elapsed() + WRITE_AGAIN >= hold {
                return;
            }
            tokio::time::sleep(WRITE_AGAIN).await;
        }
    }

    async fn write(&self, row: &Outgoing, delivered: &Result<Option<String>, Failure>) -> StoreResult<bool> {
        let failure = match delivered {
            Ok(note) => return self.store.outbox_delivered(row, note.as_deref()).await,
            Err(failure) => failure,
        };
        let refused = matches!(failure, Failure::Refused(_));
        let over = self.settings.refused_for;
        let patience = self.refusals.map(|refusals| Patience { refusals, over });
        let error: String = failure.text().chars().take(ERROR_LENGTH).collect();
        let after = backoff(&self.settings, row.attempts, rand::random());
        let why = Undelivered { error: &error, refused, after, patience };
        let given_back = self.store.outbox_undelivered(row, &why).await?;
        if given_back == Nacked::Quarantined {
            self.counts.set_aside.fetch_add(1, Ordering::Relaxed);
            tracing::error!(sink = %self.sink, event.id = %row.id, tenant.id = %row.tenant_id, error = error.as_str(),
                "set aside: it was refused too often; `event-relay refused` lists and replays such rows");
        }
        Ok(given_back != Nacked::Lost)
    }
}

impl Failure {
    fn text(&self) -> &str {
        match self {
            Self::Later(text) | Self::Refused(text) => text,
        }
    }
}

/// Exponential with a cap; between half and all of it, so that heads that failed together do not come back together.
fn backoff(settings: &Delivery, attempts: i32, chance: f64) -> Seconds {
    let exponent = (attempts - 1).clamp(0, 30);
    let ceiling = (settings.backoff.0 * 2f64.powi(exponent)).min(settings.backoff_cap.0);
    Seconds(ceiling * (0.5 + chance / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_head_waits_longer_each_time_up_to_the_cap() {
        let settings = Delivery { backoff: Seconds(1.0), backoff_cap: Seconds(60.0), ..Delivery::default() };
        let longest = [1, 2, 3, 7, 1000].map(|attempts| backoff(&settings, attempts, 1.0));
        assert_eq!(longest, [1.0, 2.0, 4.0, 60.0, 60.0].map(Seconds));
        assert_eq!(backoff(&settings, 1, 0.0), Seconds(0.5));
    }
}
