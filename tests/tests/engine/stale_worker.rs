//! A worker that has lost its lease changes no row and does nothing more to the world.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::decide::machine;
use engine::phase::{Answer, Interrupt, Progress, Trigger};
use engine::runtime::Runner;
use engine::store::{Applied, Claim, StepOutput, TransitionContext};
use model::platform::Seconds;
use tenants::Store;
use tests::{Line, World, eventually};
use tokio::sync::Notify;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_behind_a_cut_network_stops_by_itself_and_changes_nothing_when_it_is_mended() {
    World::run(|mut world| async move {
        world.platform.engine.lease = Seconds(2.0);
        let line = Line::to(&world.database_url).await;
        let store = Store::connect_to(&line.url(&world.database_url), 2).unwrap();
        let (entered, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let phase = {
            let (entered, gate) = (entered.clone(), gate.clone());
            world.phase("ONE").on_apply(move |_| {
                let (entered, gate) = (entered.clone(), gate.clone());
                async move {
                    entered.notify_one();
                    gate.notified().await;
                    Ok(Progress::Done(()))
                }
            })
        };
        let stale = Runner::new(store, Arc::new(world.platform.clone())).and(phase.arc());
        let tenant = world.tenant("cutoff", &["ONE", "TWO"]).await;
        let job = world.job(tenant, 0).await;
        let working = tokio::spawn(async move { stale.run(&job, Trigger::Dispatcher).await });
        entered.notified().await;
        line.cut();

        // The others take over when the lease is over, and not before.
        let dispatcher = world.dispatch(vec![world.phase("ONE").arc(), world.phase("TWO").arc()]);
        let row = world.until(tenant, "ACTIVE").await;
        assert_eq!(row.phases[1].lost, 1, "one lost delivery");
        world.settled(tenant).await;
        let before = world.rows(tenant).await;

        gate.notify_one();
        line.mend();
        let answer = working.await.unwrap();
        assert!(matches!(answer, Ok(Answer::Fenced)), "{answer:?}");
        assert_eq!(world.rows(tenant).await, before);
        assert_eq!(world.effects("cutoff").await, ["ONE apply", "TWO apply"]);
        let actions = world.actions(tenant).await;
        assert_eq!(actions, ["TENANT_CREATED", "WORKER_LOST", "PHASE_DONE", "PHASE_DONE", "TENANT_ACTIVE"]);
        dispatcher.stop().await.unwrap();
    })
    .await;
}

/// As a stopped process or a frozen sandbox: its whole thread stands still, and so does whatever would renew the lease
/// or notice its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_worker_that_thaws_does_nothing_more() {
    World::run(|mut world| async move {
        world.platform.engine.lease = Seconds(2.0);
        let (frozen, thaw) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let tenant = world.tenant("frozen", &["ONE", "TWO"]).await;
        let job = world.job(tenant, 0).await;
        let working = {
            let (frozen, thaw, world) = (frozen.clone(), thaw.clone(), world.clone());
            std::thread::spawn(move || {
                let alone = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                alone.block_on(async move {
                    let store = Store::connect_to(&world.database_url, 2).unwrap();
                    let pool = sqlx::PgPool::connect_lazy(&world.database_url).unwrap();
                    let phase = tests::Scripted::new("ONE", &pool).on_apply(move |_| {
                        let (frozen, thaw) = (frozen.clone(), thaw.clone());
                        async move {
                            frozen.store(true, Ordering::SeqCst);
                            while !thaw.load(Ordering::SeqCst) {
                                std::thread::park_timeout(Duration::from_millis(20));
                            }
                            Ok(Progress::Done(()))
                        }
                    });
                    let runner = Runner::new(store, Arc::new(world.platform.clone())).and(phase.arc());
                    runner.run(&job, Trigger::Dispatcher).await
                })
            })
        };
        eventually("the worker is at its step", || async { frozen.load(Ordering::SeqCst) }).await;
        let dispatcher = world.dispatch(vec![world.phase("ONE").arc(), world.phase("TWO").arc()]);
        world.until(tenant, "ACTIVE").await;
        world.settled(tenant).await;
        let before = world.rows(tenant).await;

        thaw.store(true, Ordering::SeqCst);
        let answer = tokio::task::spawn_blocking(|| working.join().unwrap()).await.unwrap();
        assert!(matches!(answer, Ok(Answer::Fenced)), "{answer:?}");
        assert_eq!(world.rows(tenant).await, before);
        assert_eq!(world.effects("frozen").await, ["ONE apply", "TWO apply"]);
        dispatcher.stop().await.unwrap();
    })
    .await;
}

/// Every write that a worker has, with a hold that was taken from it: while the next worker is at the same seq, and after
/// the run has moved on.
#[tokio::test(flavor = "multi_thread")]
async fn no_write_with_a_lost_hold_changes_a_row() {
    World::run(|mut world| async move {
        let long = world.platform.engine.clone();
        world.platform.engine.lease = Seconds(0.2);
        let engine = &world.platform.engine;
        let tenant = world.tenant("taken", &["ONE", "TWO"]).await;
        let job = world.job(tenant, 0).await;
        let Claim::Won(lost) = world.store.claim(job.run_id, job.seq, engine).await.unwrap() else {
            panic!("nobody else is there")
        };
        eventually("the lease is over", || async {
            world.store.peek(job.run_id, job.seq).await.unwrap() == engine::store::Disposition::Due
        })
        .await;
        let Claim::Won(held) = world.store.claim(job.run_id, job.seq, &long).await.unwrap() else {
            panic!("a lease that is over does not hold")
        };
        assert_eq!((held.hold.seq, held.hold.epoch), (lost.hold.seq, lost.hold.epoch + 1));

        let writes = || async {
            let before = world.rows(tenant).await;
            let hold = &lost.hold;
            assert_eq!(
                world.store.record(hold, Some(&[]), Some(&serde_json::json!({})), &long).await.unwrap(),
                Err(Interrupt::Fenced)
            );
            assert_eq!(world.store.record(hold, None, None, &long).await.unwrap(), Err(Interrupt::Fenced));
            let cause = TransitionContext {
                tenant: &lost.tenant,
                kind: lost.run.kind,
                direction: lost.run.direction,
                position: lost.run.cursor,
                actor: "tenantry",
            };
            for event in [machine::Event::Done, machine::Event::Requested] {
                let to = machine::next(&lost.run, &event, &long, 0.5);
                let written = world
                    .store
                    .complete(hold, &cause, &to, &StepOutput::default(), &long, false)
                    .await
                    .unwrap();
                assert_eq!(written, Applied::Fenced);
            }
            world.store.release(hold).await.unwrap();
            assert_eq!(world.rows(tenant).await, before);
        };
        writes().await;

        let cause = TransitionContext {
            tenant: &held.tenant,
            kind: held.run.kind,
            direction: held.run.direction,
            position: held.run.cursor,
            actor: "tenantry",
        };
        let to = machine::next(&held.run, &machine::Event::Done, &long, 0.5);
        let written = world
            .store
            .complete(&held.hold, &cause, &to, &StepOutput::default(), &long, false)
            .await
            .unwrap();
        assert_eq!(written, Applied::Written(job.seq + 1));
        writes().await;
    })
    .await;
}
