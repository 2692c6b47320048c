//! Failures that are tried again, outages that are waited out, workers that die.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use engine::decide::verbs::Verb;
use engine::phase::{Error, Job, Progress, Trigger};
use engine::runtime::Runner;
use futures::future::join_all;
use queue::{Invoked, Invoker};
use serde_json::Value;
use tenants::StatusRow;
use tests::{Inventory, World, seconds};
use tokio::sync::Notify;

use crate::telling::told;

#[tokio::test(flavor = "multi_thread")]
async fn a_retryable_failure_backs_off_with_jitter_through_the_delay_queues() {
    World::run(|mut world| async move {
        // A slow machine is no lost worker.
        world.platform.engine.lease = seconds(20.0);
        world.platform.engine.backoff = seconds(3.0);
        world.platform.engine.backoff_cap = seconds(3.0);
        world.tap_delays().await;
        let dispatcher = world.dispatch(vec![
            world
                .phase("ONE")
                .on_apply(|attempt| async move {
                    if attempt.entered < 3 {
                        return Err(Error::retryable("hiccup", "not yet"));
                    }
                    Ok(Progress::Done(()))
                })
                .arc(),
        ]);
        // Full jitter: of sixteen delays up to three seconds, some are over one, and no two are the same.
        let tenants = join_all((0..8).map(|nth| {
            let world = &world;
            async move { world.tenant(&format!("backoff{nth}"), &["ONE"]).await }
        }))
        .await;
        let mut delays = Vec::new();
        for tenant in &tenants {
            let row = world.until(*tenant, "ACTIVE").await;
            assert_eq!((row.phases[1].failures, row.phases[1].total_failures, row.phases[1].lost), (0, 2, 0));
            for audit in world.store.audit(*tenant, 0, 100).await.unwrap() {
                if audit.action == "PHASE_RETRYING" {
                    assert_eq!(audit.detail["failures"], delays.len() % 2 + 1);
                    delays.push(audit.detail["delayMs"].as_u64().unwrap());
                }
            }
        }
        assert_eq!(delays.len(), 16);
        assert!(delays.iter().all(|delay| *delay <= 3_000), "{delays:?}");
        assert!(delays.iter().collect::<BTreeSet<_>>().len() > 8, "{delays:?}");
        let long = delays.iter().filter(|delay| **delay >= 1_000).count();
        let hops = world.tapped().await;
        assert!(long > 0 && hops.len() >= long, "{} hops for {delays:?}", hops.len());
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_parks_every_run_without_charge_and_all_go_on_after_it() {
    World::run(|mut world| async move {
        // A slow machine is no lost worker.
        world.platform.engine.lease = seconds(20.0);
        let up = Arc::new(AtomicBool::new(false));
        let watched = up.clone();
        let dispatcher = world.dispatch(vec![
            world.phase("ONE").arc(),
            world
                .phase("TWO")
                .on_apply(move |_| {
                    let up = watched.load(Ordering::SeqCst);
                    async move {
                        if up {
                            return Ok(Progress::Done(()));
                        }
                        Err(Error::unavailable("cluster", "cluster_down", "the API server does not answer"))
                    }
                })
                .arc(),
        ]);
        let slugs: Vec<String> = (0..6).map(|nth| format!("outage{nth}")).collect();
        let mut tenants = Vec::new();
        for slug in &slugs {
            tenants.push(world.tenant(slug, &["ONE", "TWO"]).await);
        }
        for tenant in &tenants {
            // More often than the budget of failures allows.
            world
                .until_row(*tenant, "parked", |row| {
                    row.phases[2].waiting_on.as_deref() == Some("the API server does not answer")
                })
                .await;
        }
        for slug in &slugs {
            tests::eventually("looked at again and again", || async { world.entered(slug).await > 6 }).await;
        }
        up.store(true, Ordering::SeqCst);
        for (tenant, slug) in tenants.iter().zip(&slugs) {
            let row = world.until(*tenant, "ACTIVE").await;
            assert_eq!((row.phases[2].failures, row.phases[2].total_failures, row.phases[2].lost), (0, 0, 0));
            assert_eq!(world.effects(slug).await, ["ONE apply", "TWO apply"]);
        }
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_lasts_too_long_pauses_the_run_until_it_is_resumed() {
    World::run(|mut world| async move {
        world.platform.engine.unavailable_within = seconds(1.0);
        let up = Arc::new(AtomicBool::new(false));
        let watched = up.clone();
        let dispatcher = world.dispatch(vec![
            world
                .phase("ONE")
                .on_apply(move |_| {
                    let up = watched.load(Ordering::SeqCst);
                    async move {
                        if up {
                            return Ok(Progress::Done(()));
                        }
                        Err(Error::unavailable("cluster", "cluster_down", "the API server does not answer"))
                    }
                })
                .arc(),
        ]);
        let tenant = world.tenant("longout", &["ONE"]).await;
        let row = world.until_row(tenant, "paused", |row| row.run.status == "paused").await;
        assert_eq!(row.run.pause_reason.unwrap()["code"], "cluster_down");
        assert_eq!(row.tenant.status, "PROVISIONING", "nothing was rolled back");
        let told = told(&world, tenant).await;
        assert_eq!(told.len(), 1, "the operators, once: {told:?}");
        assert_eq!(told[0]["error"]["code"], "cluster_down");
        up.store(true, Ordering::SeqCst);
        world.ask(tenant, Verb::Resume).await.unwrap();
        let row = world.until(tenant, "ACTIVE").await;
        assert_eq!((row.phases[1].failures, row.phases[1].total_failures), (0, 0));
        assert_eq!(world.effects("longout").await, ["ONE apply"]);
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_failure_that_is_tried_again() {
    World::run(|world| async move {
        let dispatcher = world.dispatch(vec![
            world
                .phase("ONE")
                .on_apply(|attempt| async move {
                    assert!(attempt.entered > 1, "on purpose: the first attempt panics");
                    Ok(Progress::Done(()))
                })
                .arc(),
        ]);
        let tenant = world.tenant("panics", &["ONE"]).await;
        let row = world.until(tenant, "ACTIVE").await;
        assert_eq!((row.phases[1].total_failures, row.phases[1].lost), (1, 0));
        let retried = world.store.audit(tenant, 0, 100).await.unwrap();
        let retried = retried.iter().find(|audit| audit.action == "PHASE_RETRYING").unwrap();
        assert_eq!(retried.detail["error"]["code"], "phase_panicked");
        assert_eq!(world.effects("panics").await, ["ONE apply"]);
        dispatcher.stop().await.unwrap();
    })
    .await;
}

/// Runs a function and kills it in the middle of its step, for as long as `deadly`.
struct Killing {
    runner: Arc<Runner>,
    inside: Arc<Notify>,
    deadly: Arc<AtomicBool>,
}

#[async_trait]
impl Invoker for Killing {
    async fn invoke(&self, job: &Job, _: &Value, _: bool) -> Invoked {
        let (runner, job) = (self.runner.clone(), job.clone());
        let running = tokio::spawn(async move { runner.run(&job, Trigger::Dispatcher).await });
        if self.deadly.load(Ordering::SeqCst) {
            let killed = running.abort_handle();
            tokio::select! {
                () = self.inside.notified() => killed.abort(),
                // It found nothing to do.
                () = tokio::time::sleep(std::time::Duration::from_secs(5)) => {}
            }
            return Invoked::Unknown("killed".into());
        }
        match running.await {
            Ok(Ok(answer)) => Invoked::Answered(answer),
            failed => Invoked::Unknown(format!("{failed:?}")),
        }
    }

    fn remote(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_die_again_and_again_pause_the_run_and_burn_no_failure() {
    World::run(|mut world| async move {
        world.platform.engine.lease = seconds(1.0);
        world.platform.engine.renew = seconds(0.3);
        world.platform.engine.lease_margin = seconds(0.3);
        world.platform.engine.lost = 3;
        let (inside, deadly) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(true)));
        let phase = {
            let (inside, deadly) = (inside.clone(), deadly.clone());
            world.phase("ONE").on_apply(move |_| {
                let (inside, deadly) = (inside.clone(), deadly.load(Ordering::SeqCst));
                async move {
                    if deadly {
                        inside.notify_one();
                        std::future::pending::<()>().await;
                    }
                    Ok(Progress::Done(()))
                }
            })
        };
        let runner = world.runner(vec![phase.arc(), Arc::new(Inventory(world.pool.clone()))]);
        let dispatcher = world.dispatch_by(Arc::new(Killing { runner, inside, deadly: deadly.clone() }));
        let tenant = world.tenant("dying", &["ONE"]).await;
        let row = world.until_row(tenant, "paused", |row| row.run.status == "paused").await;
        assert_eq!(row.run.pause_reason.unwrap()["code"], "worker_lost");
        assert_eq!((row.phases[1].failures, row.phases[1].total_failures, row.phases[1].lost), (0, 0, 3));
        // Asked to try again, it has the same patience again.
        world.ask(tenant, Verb::Retry).await.unwrap();
        let paused_at = row.run.seq;
        let again = |row: &StatusRow| row.run.status == "paused" && row.run.seq > paused_at;
        let row = world.until_row(tenant, "paused again", again).await;
        assert_eq!(row.phases[1].lost, 3, "not one more loss");
        let told = told(&world, tenant).await;
        let codes: Vec<_> = told.iter().map(|told| &told["error"]["code"]).collect();
        assert_eq!(codes, ["worker_lost"; 2], "the operators, each time it waits for them");
        deadly.store(false, Ordering::SeqCst);
        world.ask(tenant, Verb::Retry).await.unwrap();
        let row = world.until(tenant, "ACTIVE").await;
        assert_eq!(row.phases[1].total_failures, 0);
        assert_eq!(world.effects("dying").await, ["ONE apply"]);
        dispatcher.stop().await.unwrap();
    })
    .await;
}
