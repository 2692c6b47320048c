//! Who does the jobs: one at a time, acknowledged when its outcome is in the tenant's database.
//!
//! A job may come twice, and its process may die at any moment: the broker then delivers it again, and the row says what is
//! still to be done. An outage of the database is waited for with the job in hand, and charged to nobody. What cannot be done
//! fails, with its reason; what fails by something that may pass, or ends its process, is tried a few times.

use super::row::{self, NextAttempt, Written};
use super::{ExportSettings, Job, Storage, dump};
use crate::broker::{self, BrokerError, Jobs};
use crate::measure::Measures;
use crate::problem::{self, Problem};
use crate::tables::Tables;
use futures::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often an export is begun.
const ATTEMPTS: i32 = 3;

/// Longest pause between two tries of anything.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a job under way may go on when the process is told to stop. The broker repeats what is not done by then.
const GRACE: Duration = Duration::from_secs(15);

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
    /// It was done or had failed before.
    Repeated,
    /// Export not found, or no such tenant any more.
    Unknown,
    /// It is another tenant's.
    Foreign,
    /// It is no job.
    Malformed,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Repeated => "repeated",
            Self::Unknown => "unknown",
            Self::Foreign => "foreign",
            Self::Malformed => "malformed",
        }
    }
}

/// Runs what `begin` begins until it ends; what panics is begun anew after `pause`.
async fn kept_up<F: Future<Output = ()>>(
    stop: &CancellationToken,
    pause: Duration,
    mut begin: impl FnMut() -> F,
) {
    while AssertUnwindSafe(begin()).catch_unwind().await.is_err() {
        tracing::error!(pause.seconds = pause.as_secs(), "the job consumer panicked; restarting it");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Does the jobs of this instance.
#[derive(Clone, Debug)]
pub struct Worker {
    jobs: Jobs,
    storage: Storage,
    tables: Tables,
    measures: Measures,
    again_after: Duration,
    pause: Duration,
}

impl Worker {
    pub fn new(settings: ExportSettings, tables: Tables, measures: Measures) -> Self {
        let ExportSettings { queue_prefix, login, storage, again_after, pause } = settings;
        Self { jobs: Jobs::new(queue_prefix, login), storage, tables, measures, again_after, pause }
    }

    /// Works until `stop`, after a panic of its own too: that jobs are taken no more, nobody would notice while HTTP goes on.
    pub async fn run(self, stop: CancellationToken) {
        kept_up(&stop, LONGEST_PAUSE, || self.take_all(&stop)).await;
    }

    /// Takes jobs until `stop`. A broker that is not there, or not there yet, is tried again.
    async fn take_all(&self, stop: &CancellationToken) {
        let mut pause = self.pause;
        while !stop.is_cancelled() {
            match self.consume(stop).await {
                Ok(()) => pause = self.pause,
                Err(BrokerError::Login(why)) => tracing::debug!(why, "no jobs can be taken"),
                Err(error) => tracing::warn!(%error, "no jobs can be taken; tried again"),
            }
            let spread = pause.mul_f64(0.5 + rand::random::<f64>());
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(spread) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn consume(&self, stop: &CancellationToken) -> Result<(), BrokerError> {
        let mut consuming = self.jobs.consume().await?;
        tracing::info!("jobs are taken");
        let mut look = tokio::time::interval(self.again_after / 5);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                delivery = consuming.jobs.next() => match delivery {
                    Some(delivery) => self.take(&delivery?, stop).await?,
                    // lapin ends a consumer silently when its queue goes.
                    None => return Ok(()),
                },
                _ = look.tick() => self.again().await,
            }
        }
    }

    async fn take(&self, delivery: &Delivery, stop: &CancellationToken) -> Result<(), BrokerError> {
        let late = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let outcome = tokio::select! {
            outcome = self.work(&delivery.data) => outcome,
            // Not acknowledged: it is delivered again.
            () = late => return Ok(()),
        };
        self.measures.job("export", outcome.name());
        match outcome {
            Outcome::Foreign | Outcome::Malformed => broker::bury(delivery).await,
            _ => broker::done(delivery).await,
        }
    }

    async fn work(&self, body: &[u8]) -> Outcome {
        let Ok(job) = serde_json::from_slice::<Job>(body) else {
            tracing::error!("a message is not a job; moved to the dead-letter queue");
            return Outcome::Malformed;
        };
        if self.tables.serves(job.tenant_id).is_err() {
            tracing::error!(tenant.id = %job.tenant_id, export.id = %job.export_id, "another tenant's job; put aside");
            return Outcome::Foreign;
        }
        let mut pause = self.pause;
        loop {
            // A panic is an attempt that has failed; it is counted already.
            let tried = AssertUnwindSafe(self.attempt(job)).catch_unwind().await;
            match tried {
                Ok(Ok(outcome)) => {
                    tracing::info!(job = "export", tenant.id = %job.tenant_id, export.id = %job.export_id,
                        outcome = outcome.name(), "over");
                    return outcome;
                }
                Ok(Err(problem)) => tracing::warn!(job = "export", tenant.id = %job.tenant_id,
                    export.id = %job.export_id, problem.code = problem.code(), problem.detail = problem.detail(),
                    "tried again"),
                Err(_) => {
                    tracing::error!(job = "export", tenant.id = %job.tenant_id, export.id = %job.export_id,
                        "panicked; tried again");
                }
            }
            tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>())).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One try. What it fails with may pass.
    async fn attempt(&self, job: Job) -> Result<Outcome, Problem> {
        let mut acting = match self.tables.act(job.tenant_id).await {
            Ok(Some(acting)) => acting,
            Ok(None) => return Ok(Outcome::Unknown),
            Err(problem) if problem::may_pass(&problem) => return Err(problem),
            Err(problem) => {
                tracing::error!(tenant.id = %job.tenant_id, problem.code = problem.code(),
                    problem.detail = problem.detail(), "this instance cannot act for the tenant");
                return Ok(Outcome::Unknown);
            }
        };
        // Until the transaction's end, which is the process's end too: who dies leaves no lock behind.
        let mine: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(format!("tenantry export {}", job.export_id))
            .fetch_one(&mut *acting)
            .await
            .map_err(|error| problem::from_sql("locking the export", &error))?;
        if !mine {
            return Err(problem::busy("another instance works on this export"));
        }
        let attempt = match row::begin(&self.tables, job).await? {
            NextAttempt::Attempt(attempt) => attempt,
            NextAttempt::Finished => return Ok(Outcome::Repeated),
            NextAttempt::Unknown => return Ok(Outcome::Unknown),
        };
        let end = if attempt > ATTEMPTS {
            Err(problem::too_often(ATTEMPTS))
        } else {
            dump::write(&mut acting, &self.storage, job).await
        };
        self.end(job, attempt, end).await
    }

    async fn end(&self, job: Job, attempt: i32, end: Result<Written, Problem>) -> Result<Outcome, Problem> {
        match end {
            Err(problem) if problem::may_pass(&problem) && attempt < ATTEMPTS => Err(problem),
            end => {
                row::finish(&self.tables, job, &end).await?;
                if let Err(problem) = &end {
                    tracing::error!(job = "export", tenant.id = %job.tenant_id, export.id = %job.export_id,
                        problem.code = problem.code(), problem.detail = problem.detail(), "failed");
                    return Ok(Outcome::Failed);
                }
                Ok(Outcome::Done)
            }
        }
    }

    /// Gives overdue jobs to the broker again: it may have been set up anew.
    async fn again(&self) {
        let Some(tenant) = self.tables.pinned() else { return };
        let given = async {
            for job in row::overdue(&self.tables, tenant, self.again_after).await? {
                tracing::info!(tenant.id = %tenant, export.id = %job.export_id, "its job is given to the broker again");
                job.publish(&self.jobs).await?;
            }
            Ok::<_, Problem>(())
        };
        if let Err(problem) = given.await {
            tracing::debug!(
                problem.code = problem.code(),
                problem.detail = problem.detail(),
                "overdue jobs stay so"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_panics_is_begun_anew_until_it_ends_or_is_told_to() {
        let begun = std::cell::Cell::new(0);
        let panics_until = |last: i32| {
            begun.set(begun.get() + 1);
            let now = begun.get();
            async move { assert!(now >= last, "as the test wants it") }
        };
        let stop = CancellationToken::new();
        kept_up(&stop, Duration::ZERO, || panics_until(3)).await;
        assert_eq!(begun.get(), 3);
        stop.cancel();
        kept_up(&stop, Duration::from_hours(1), || panics_until(100)).await;
        assert_eq!(begun.get(), 4);
    }
}
