//! A wait that comes to an end: by what is waited for, or by the time that it may take.

use std::future::Future;

use model::platform::Seconds;
use serde::Serialize;

use super::{Error, Kind, Progress, Result, Step};

impl Step {
    /// As [`Step::wait_for`], for a phase that may be parked for as long as `budget` in all. Parked for longer, it has the
    /// failure that `too_late` makes of "what is waited for, after so many seconds", which is charged as its kind says. The
    /// operation itself stays one that waits: another attempt may find it done.
    pub fn wait_within<T, F>(
        &self,
        name: &str,
        budget: Seconds,
        effect: F,
        too_late: impl FnOnce(String) -> Error,
    ) -> impl Future<Output = Result<T>>
    where
        T: Serialize,
        F: Future<Output = Result<Progress<T>>>,
    {
        let waiting = self.wait_for(name, effect);
        async move {
            match waiting.await {
                Err(Error { kind: Kind::Parked(wait), .. }) if self.waited() >= budget.duration() => {
                    Err(too_late(format!("{} after {} s", wait.on, budget.0)))
                }
                looked => looked,
            }
        }
    }
}
