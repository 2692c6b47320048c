//! A phase, and what the engine would do with the outcome of its attempts.

use std::time::{Duration, Instant};

use engine::phase::{Checkpoints, Error, Kind, Phase, Progress, Result, Wait};
use model::platform::Platform;
use model::{RunId, Tenant};

use crate::{ClaimedStep, WITHIN};

/// The phase with its clients, and its plan for the tenant, of whom nothing is there. Panics where either fails.
pub async fn planned<P: Phase>(platform: &Platform, tenant: &Tenant) -> (P, P::Plan) {
    let phase = P::connect(platform).await.unwrap();
    let plan = phase.plan(tenant, platform, &Checkpoints::default()).unwrap();
    (phase, plan)
}

/// One attempt of a phase that the tested one builds on. Panics where it fails; a second call converges, as the phase does.
pub async fn prepare<P: Phase>(platform: &Platform, tenant: &Tenant, run: RunId) {
    let (phase, plan) = planned::<P>(platform, tenant).await;
    Box::pin(phase.apply(&plan, &ClaimedStep::new(P::NAME, tenant, run).step())).await.unwrap();
}

/// Attempts until done, as the engine would; the first error that is no wait ends it. Panics after [`WITHIN`].
pub async fn until_done<T>(call: impl AsyncFn() -> Result<Progress<T>>) -> Result<T> {
    repeated(call, |wait| wait.after).await
}

/// As [`until_done`], with five attempts a second, however long the phase asks to wait.
pub async fn until_done_at_once<T>(call: impl AsyncFn() -> Result<Progress<T>>) -> Result<T> {
    repeated(call, |_| Duration::from_millis(200)).await
}

async fn repeated<T>(
    call: impl AsyncFn() -> Result<Progress<T>>,
    pause: impl Fn(&Wait) -> Duration,
) -> Result<T> {
    let began = Instant::now();
    loop {
        match call().await {
            Ok(Progress::Done(value)) => return Ok(value),
            Ok(Progress::Wait(wait)) | Err(Error { kind: Kind::Parked(wait), .. }) => {
                assert!(began.elapsed() < WITHIN, "still waits: {}", wait.on);
                tokio::time::sleep(pause(&wait)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// What a parked attempt waits for. Panics where it does not wait.
pub fn waits_for<T: std::fmt::Debug>(attempt: Result<Progress<T>>) -> String {
    match attempt {
        Ok(Progress::Wait(wait)) | Err(Error { kind: Kind::Parked(wait), .. }) => wait.on,
        other => panic!("does not wait: {other:?}"),
    }
}
