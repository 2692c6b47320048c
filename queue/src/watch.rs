//! Watching a run while its function is being waited for.

use std::time::{Duration, Instant};

use engine::phase::Job;
use engine::store::{Disposition, Store};

/// How often a row is looked at while its function is waited for.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a function may take to start and claim its step before its call is given up.
const CLAIM_WITHIN: Duration = Duration::from_mins(1);

/// Returns when waiting for the function's answer has become pointless: the run has moved on without the answer having
/// come, or the lease of the worker that was at it has run out (a process that dies leaves its invocation unanswered).
pub(crate) async fn lost(store: &Store, job: &Job) -> &'static str {
    let began = Instant::now();
    let mut was_held = false;
    let mut was_past = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match store.peek(job.run_id, job.seq).await {
            // The answer may be under way: given one more look's time.
            Ok(Disposition::Stale | Disposition::Unknown) if was_past => return "the run has moved on",
            Ok(Disposition::Stale | Disposition::Unknown) => was_past = true,
            Ok(Disposition::Busy) => was_held = true,
            Ok(_) if was_held => return "the worker's lease has run out",
            Ok(_) if began.elapsed() > CLAIM_WITHIN => return "the function has not claimed its step",
            Ok(_) => {}
            // The database is down: nothing can be said of the run.
            Err(error) => tracing::debug!(%error, "cannot look at the run"),
        }
    }
}
