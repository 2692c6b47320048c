//! One message's way through a phase.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use model::PhaseName;
use model::platform::Platform;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::DynPhase;
use super::lease::Lease;
use super::regional::{self, PhaseEntry, RegisteredPhase};
use super::seen::SeenPlatform;
use crate::decide::machine::{self, Event, Transition};
use crate::decide::run::{Direction, INVENTORY, RunKind, RunStatus};
use crate::phase::{
    Answer, Checkpoints, Error, Interrupt, Job, Kind, Operation, OperationHook, Owner, Progress, Scope, Step,
    StepParts, Trigger,
};
use crate::store::{
    Applied, Claim, ClaimedStep, Disposition, StepOutput, Store, StoreError, TransitionContext,
};

/// Runs jobs of the phases it knows.
pub struct Runner {
    store: Store,
    platform: Arc<Platform>,
    regions: SeenPlatform,
    phases: HashMap<PhaseName, RegisteredPhase>,
    hook: Option<Arc<dyn OperationHook>>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("phases", &self.phases.keys()).finish_non_exhaustive()
    }
}

/// What a step came to, before it is written.
enum Outcome {
    Event(Event, Option<Value>),
    Fenced,
}

impl Runner {
    /// A runner without phases.
    pub fn new(store: impl Into<Store>, platform: Arc<Platform>) -> Self {
        let store = store.into();
        let regions = SeenPlatform::new(store.clone(), platform.clone());
        Self { store, platform, regions, phases: HashMap::new(), hook: None }
    }

    /// Has every operation of its steps reach this hook. A second one replaces the first.
    #[must_use]
    pub fn with_hook(self, hook: Option<Arc<dyn OperationHook>>) -> Self {
        Self { hook, ..self }
    }

    /// Connects a phase and adds it. It is connected to the clusters of other regions when a tenant there needs it.
    pub async fn with(mut self, entry: &PhaseEntry) -> crate::phase::Result<Self> {
        let phase = RegisteredPhase::connected(entry, &self.platform, &self.store).await?;
        self.phases.insert(entry.name().clone(), phase);
        Ok(self)
    }

    /// Adds a phase that is the same in all regions.
    #[must_use]
    pub fn and(mut self, phase: Arc<dyn DynPhase>) -> Self {
        self.phases.insert(phase.name(), RegisteredPhase::everywhere(phase));
        self
    }

    /// The phases in the process's own cluster, in no order.
    pub fn phases(&self) -> impl Iterator<Item = &Arc<dyn DynPhase>> {
        self.phases.values().map(|known| &known.here)
    }

    /// Claims the job's step, runs it under its lease, writes what it came to, and answers with what comes next. Run
    /// again for the same job, it finds the step taken or past.
    pub async fn run(&self, job: &Job, trigger: Trigger) -> Result<Answer, StoreError> {
        let Some(phase) = self.phases.get(&job.phase) else {
            return Err(StoreError::Setting(format!(
                "this function does not know phase {}; deploy {} and route its messages there",
                job.phase,
                job.phase.function()
            )));
        };
        let sent = Instant::now();
        let claimed = match self.store.claim(job.run_id, job.seq, &self.platform.engine).await? {
            Claim::Won(claimed) => claimed,
            Claim::Lost(disposition) => return Ok(answer_to(disposition)),
        };
        if claimed.phase != job.phase {
            // No publisher of ours makes such a message. Running it would do one phase by another's plan.
            tracing::warn!(run.id = %job.run_id, seq = job.seq, named = %job.phase, phase = %claimed.phase,
                "a message that names another phase");
            self.store.release(&claimed.hold).await?;
            return Ok(Answer::Unknown);
        }
        let span = tracing::info_span!(
            "step",
            tenant.id = %claimed.tenant.id, tenant.slug = %claimed.tenant.slug, run.id = %job.run_id,
            phase = %claimed.phase, seq = job.seq, direction = %claimed.run.direction,
            attempt = claimed.run.failures + 1,
        );
        // Boxed: a step's future is large, and is part of every caller's.
        Box::pin(self.step(phase, *claimed, sent, trigger)).instrument(span).await
    }

    async fn step(
        &self,
        phase: &RegisteredPhase,
        claimed: ClaimedStep,
        sent: Instant,
        trigger: Trigger,
    ) -> Result<Answer, StoreError> {
        let engine = &self.platform.engine;
        let backward = claimed.run.direction == Direction::Backward;
        let region = &claimed.tenant.region;
        let known = self.regions.seen_in(region, claimed.region_version).await?;
        let seen = known.as_ref().unwrap_or(&self.platform);
        let plan = match &claimed.plan {
            // Without a stored plan nothing was begun, so there is nothing to undo. The inventory looks all the same.
            None if backward && claimed.run.cursor != INVENTORY => Ok(None),
            // What is there would be looked for in the wrong place, and not be found.
            _ if known.is_none() && phase.is_regional() => Err(regional::unknown(region)),
            Some(plan) => Ok(Some(plan.clone())),
            None => {
                phase.here.plan(&claimed.tenant, seen, &Checkpoints::new(claimed.earlier.clone())).map(Some)
            }
        };
        let unstored = if claimed.plan.is_none() { plan.as_ref().ok().cloned().flatten() } else { None };
        let lease =
            Arc::new(Lease::new(self.store.clone(), engine.clone(), claimed.hold, unstored.clone(), sent));
        let cancel = CancellationToken::new();
        let step = Step::new(StepParts {
            owner: Owner {
                tenant_id: claimed.tenant.id,
                slug: claimed.tenant.slug.clone(),
                run_id: claimed.hold.run_id,
                epoch: claimed.hold.epoch,
                scope: match claimed.run.kind {
                    RunKind::Provision | RunKind::Change => Scope::Run,
                    RunKind::Deprovision => Scope::Tenant,
                },
            },
            phase: claimed.phase.clone(),
            backward,
            failures: claimed.run.failures,
            waits: claimed.waits,
            waited: claimed.waited,
            fence: lease.clone(),
            cancel: cancel.clone(),
        })
        .after(claimed.operations.clone(), claimed.at)
        .in_region(seen.regions.get(region).cloned())
        .with_hook(self.hook.clone());
        let worked = match &plan {
            Err(error) => Outcome::of(Err(error.clone())),
            Ok(None) => Outcome::of(Ok(Progress::Done(None))),
            Ok(Some(plan)) => self.work(phase, seen, plan, &claimed, &step, &lease, &cancel).await,
        };
        let Outcome::Event(event, checkpoint) = worked else {
            tracing::warn!("lost the step while working on it; nothing is written");
            return Ok(Answer::Fenced);
        };
        let event = bounded_wait(event, claimed.waited, engine.wait_within.duration());
        let operations = step.operations().await;
        let left = StepOutput {
            operations: (!operations.is_empty()).then_some(operations.as_slice()),
            plan: lease.unstored_plan().await.filter(|_| checkpoint.is_some()),
            checkpoint: checkpoint.as_ref(),
            leftovers: leftovers(&claimed, &operations),
        };
        self.write(claimed, &event, &left, trigger).await
    }

    /// Does or undoes the phase, for as long as the lease is kept.
    #[expect(clippy::too_many_arguments, reason = "all of a step, and only ever called once")]
    async fn work(
        &self,
        phase: &RegisteredPhase,
        seen: &Arc<Platform>,
        plan: &Value,
        claimed: &ClaimedStep,
        step: &Step,
        lease: &Lease,
        cancel: &CancellationToken,
    ) -> Outcome {
        let engine = &self.platform.engine;
        let work = async {
            let done = async {
                let phase = phase.at(seen, &self.store).await?;
                if claimed.run.direction == Direction::Backward {
                    if let Some(before) = &claimed.before {
                        // A change is undone by making again what was so before.
                        return Ok(match phase.apply(before, step).await? {
                            Progress::Done(_) => Progress::Done(None),
                            Progress::Wait(wait) => Progress::Wait(wait),
                        });
                    }
                    let progress = phase.revert(plan, claimed.checkpoint.as_ref(), step).await?;
                    Ok(match progress {
                        Progress::Done(()) => Progress::Done(None),
                        Progress::Wait(wait) => Progress::Wait(wait),
                    })
                } else {
                    Ok(match phase.apply(plan, step).await? {
                        Progress::Done(checkpoint) => Progress::Done(Some(checkpoint)),
                        Progress::Wait(wait) => Progress::Wait(wait),
                    })
                }
            };
            let limit = engine.step_timeout.duration();
            match tokio::time::timeout(limit, AssertUnwindSafe(done).catch_unwind()).await {
                Ok(Ok(result)) => {
                    result.map_err(|error| phase.of_region(error, &claimed.tenant.region, seen))
                }
                Ok(Err(_)) => Err(Error::retryable(
                    "phase_panicked",
                    "the phase's code panicked; see the function's log",
                )
                .next("Report the fault with the function's log; retry after a fix.")),
                Err(_) => {
                    Err(Error::retryable("step_timeout", format!("not done within {} s", limit.as_secs()))
                        .next("See which operation was under way; retry, or raise engine.step_timeout."))
                }
            }
        };
        tokio::pin!(work);
        tokio::select! {
            result = &mut work => return Outcome::of(result),
            () = lease.keep() => {}
        }
        // Effects end themselves on the token (child processes are killed and reaped); what does not is dropped.
        cancel.cancel();
        drop(tokio::time::timeout(engine.lease_margin.duration().mul_f64(0.8), work).await);
        Outcome::Fenced
    }

    async fn write(
        &self,
        claimed: ClaimedStep,
        event: &Event,
        left: &StepOutput<'_>,
        trigger: Trigger,
    ) -> Result<Answer, StoreError> {
        let engine = &self.platform.engine;
        let mut run = claimed.run.clone();
        if matches!(event, Event::Requested) {
            run.request = self.store.request_of(claimed.hold.run_id).await?;
        }
        let cause = TransitionContext {
            tenant: &claimed.tenant,
            kind: run.kind,
            direction: run.direction,
            position: run.cursor,
            actor: "tenantry",
        };
        let hand_over = trigger == Trigger::EventSourceMapping;
        loop {
            let to = machine::next(&run, event, engine, rand::random());
            match self.store.complete(&claimed.hold, &cause, &to, left, engine, hand_over).await? {
                Applied::Written(seq) => {
                    log(&to);
                    if to.deprovision_next || (hand_over && !to.finished()) {
                        self.store.notify().await?;
                    }
                    return Ok(answer(&claimed, &to, seq, hand_over));
                }
                Applied::Requested => run.request = self.store.request_of(claimed.hold.run_id).await?,
                Applied::Fenced => return Ok(Answer::Fenced),
            }
        }
    }
}

impl Outcome {
    fn of(result: crate::phase::Result<Progress<Option<Value>>>) -> Self {
        let error = match result {
            Ok(Progress::Done(checkpoint)) => return Self::Event(Event::Done, checkpoint),
            Ok(Progress::Wait(wait)) => return Self::Event(Event::Wait(wait), None),
            Err(error) => error,
        };
        let event = match &error.kind {
            Kind::Retryable => Event::Retryable(error.record()),
            Kind::Fatal => Event::Fatal(error.record()),
            Kind::Unavailable { .. } => Event::Unavailable(error.record()),
            Kind::Parked(wait) => Event::Wait(wait.clone()),
            Kind::Interrupted(Interrupt::Requested) => Event::Requested,
            Kind::Interrupted(Interrupt::Fenced) => return Self::Fenced,
        };
        Self::Event(event, None)
    }
}

/// A wait that has lasted too long is a failure, so that an undo that something holds for ever ends up before an operator.
/// One of a fixed length ends by itself.
fn bounded_wait(event: Event, waited: Duration, within: Duration) -> Event {
    match event {
        Event::Wait(wait) if waited > within && !wait.fixed => {
            let message = format!("waited {} s: {}", waited.as_secs(), wait.on);
            let error = Error::retryable("waited_too_long", message)
                .next("Remove what holds it, then retry; or raise engine.wait_within.");
            Event::Retryable(error.record())
        }
        event => event,
    }
}

fn answer_to(disposition: Disposition) -> Answer {
    match disposition {
        // Became due or free between the claim and the look: come back at once.
        Disposition::Due => Answer::NotDue { remaining_ms: 0 },
        Disposition::NotDue(remaining) => Answer::NotDue { remaining_ms: millis(remaining) },
        Disposition::Busy => Answer::Busy,
        Disposition::Stale => Answer::Stale,
        Disposition::Newer => Answer::Newer,
        Disposition::Unknown => Answer::Unknown,
    }
}

fn answer(claimed: &ClaimedStep, to: &Transition, seq: i64, hand_over: bool) -> Answer {
    if to.finished() {
        return Answer::Finished;
    }
    let next = if to.cursor == INVENTORY {
        Some(PhaseName::TAKE_INVENTORY)
    } else {
        usize::try_from(to.cursor).ok().and_then(|cursor| claimed.list.get(cursor).cloned())
    };
    match next {
        Some(phase) if to.status == RunStatus::Running && !hand_over => Answer::Next {
            job: Job::new(claimed.tenant.id, claimed.hold.run_id, phase, seq),
            delay_ms: millis(to.delay),
        },
        _ => Answer::Idle,
    }
}

fn leftovers<'a>(claimed: &ClaimedStep, operations: &'a [Operation]) -> Option<&'a Value> {
    if claimed.run.cursor != INVENTORY {
        return None;
    }
    operations.iter().find(|operation| operation.name == "inventory").map(|operation| &operation.result)
}

/// Rounded up: a message that comes a fraction early would go round again.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn log(to: &Transition) {
    for audit in &to.audit {
        match audit.action {
            "PHASE_FAILED" | "RUN_STUCK" | "RUN_PAUSED" | "RUN_ROLLING_BACK" | "RUN_ABANDONED" => {
                tracing::warn!(action = audit.action, detail = %audit.detail, "transition");
            }
            _ => tracing::info!(action = audit.action, detail = %audit.detail, "transition"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_never_end_is_bounded_and_what_ends_by_itself_is_not() {
        let within = Duration::from_mins(15);
        let look = |progress: Progress<()>, waited| match progress {
            Progress::Wait(wait) => bounded_wait(Event::Wait(wait), waited, within),
            Progress::Done(()) => Event::Done,
        };
        let (an_hour, long) = (Duration::from_hours(1), Duration::from_hours(2));
        for (progress, waited, charged) in [
            (Progress::wait(Duration::from_secs(5), "an address"), within, false),
            (Progress::wait(Duration::from_secs(5), "an address"), long, true),
            (Progress::wait_out(an_hour, "a TTL"), within, false),
            (Progress::wait_out(an_hour, "a TTL"), long, false),
        ] {
            let event = look(progress.clone(), waited);
            assert_eq!(
                matches!(event, Event::Retryable(_)),
                charged,
                "{progress:?} after {waited:?}: {event:?}"
            );
        }
    }

    #[test]
    fn a_wait_keeps_its_kind_on_the_way_out_of_a_phase() {
        for (progress, fixed) in [
            (Progress::<()>::wait(Duration::from_secs(5), "an address"), false),
            (Progress::wait_out(Duration::from_secs(5), "a TTL"), true),
        ] {
            let parked = progress.or_park().map(|()| None).map(Progress::Done);
            let Outcome::Event(Event::Wait(wait), None) = Outcome::of(parked) else { panic!("no wait") };
            assert_eq!(wait.fixed, fixed);
        }
    }
}
