//! What one tenant does to another, and the limits and the switch that hold for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use engine::phase::{Answer, Error, Job, Progress, Trigger};
use engine::runtime::Runner;
use queue::{Invoked, Invoker};
use serde_json::Value;
use tests::{World, eventually, seconds};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_for_ever_leaves_room_for_the_others() {
    World::run(|mut world| async move {
        world.platform.engine.failures = 1_000_000;
        world.platform.engine.backoff = seconds(0.01);
        world.platform.engine.backoff_cap = seconds(0.01);
        // The least there can be: whoever does not give it back stops everybody.
        world.platform.engine.in_flight = 1;
        let dispatcher = world.dispatch(vec![
            world
                .phase("ONE")
                .on_apply(|attempt| async move {
                    if attempt.slug == "hopeless" {
                        return Err(Error::retryable("broken", "does not work"));
                    }
                    Ok(Progress::Done(()))
                })
                .arc(),
            world.phase("TWO").arc(),
        ]);
        let hopeless = world.tenant("hopeless", &["ONE", "TWO"]).await;
        world.until_row(hopeless, "failing", |row| row.phases[1].total_failures >= 3).await;
        for nth in 0..10 {
            let slug = format!("healthy{nth}");
            let tenant = world.tenant(&slug, &["ONE", "TWO"]).await;
            world.until(tenant, "ACTIVE").await;
            assert_eq!(world.effects(&slug).await, ["ONE apply", "TWO apply"]);
        }
        // And it was at it all the while.
        let before = world.status(hopeless).await.phases[1].total_failures;
        assert!(before > 10, "{before} failures");
        world.until_row(hopeless, "failing on", |row| row.phases[1].total_failures > before).await;
        assert_eq!(world.effects("hopeless").await, [""; 0]);
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_stops_every_dispatcher_and_lets_them_go_on() {
    World::run(|world| async move {
        let phases = |world: &World| {
            vec![
                world
                    .phase("ONE")
                    .on_apply(|attempt| async move {
                        Ok(if attempt.entered == 1 {
                            Progress::wait(Duration::from_millis(1_100), "the clock")
                        } else {
                            Progress::Done(())
                        })
                    })
                    .arc(),
                world.phase("TWO").arc(),
            ]
        };
        let (one, two) = (world.dispatch(phases(&world)), world.dispatch(phases(&world)));
        let parked = world.tenant("parked", &["ONE", "TWO"]).await;
        world.until_row(parked, "parked", |row| row.phases[1].waiting_on.is_some()).await;
        world.store.pause_dispatching(true, "tester").await.unwrap();
        let fresh = world.tenant("fresh", &["ONE", "TWO"]).await;
        world.declare_queue(fresh).await;
        // Nothing can be awaited that must not happen: many times the tick in which a dispatcher sees the switch, and
        // longer than the parked run's delay.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let entered = (world.entered("parked").await, world.entered("fresh").await);
        let rows = (world.rows(parked).await, world.rows(fresh).await);
        world
            .management
            .publish(
                &engine::phase::queue_name(fresh),
                &String::from_utf8(world.job(fresh, 0).await.encode()).unwrap(),
            )
            .await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!((world.entered("parked").await, world.entered("fresh").await), entered);
        assert_eq!((world.rows(parked).await, world.rows(fresh).await), rows);
        assert_eq!(entered.1, 0);

        world.store.pause_dispatching(false, "tester").await.unwrap();
        for tenant in [parked, fresh] {
            world.until(tenant, "ACTIVE").await;
        }
        assert_eq!(world.effects("parked").await, ["ONE apply", "TWO apply"]);
        assert_eq!(world.effects("fresh").await, ["ONE apply", "TWO apply"]);
        one.stop().await.unwrap();
        two.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_steps_of_a_phase_are_in_flight_than_its_limit() {
    World::run(|mut world| async move {
        // A slow machine is no lost worker.
        world.platform.engine.lease = seconds(20.0);
        world.platform.engine.in_flight_per_phase.insert("ONE".into(), 2);
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counting = {
            let (inside, most) = (inside.clone(), most.clone());
            world.phase("ONE").on_apply(move |_| {
                let (inside, most) = (inside.clone(), most.clone());
                async move {
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    Ok(Progress::Done(()))
                }
            })
        };
        let dispatcher = world.dispatch(vec![counting.arc(), world.phase("TWO").arc()]);
        let mut tenants = Vec::new();
        for nth in 0..10 {
            tenants.push(world.tenant(&format!("crowd{nth}"), &["ONE", "TWO"]).await);
        }
        for tenant in tenants {
            let row = world.until(tenant, "ACTIVE").await;
            assert_eq!((row.phases[1].total_failures, row.phases[1].lost), (0, 0));
        }
        assert_eq!(most.load(Ordering::SeqCst), 2);
        dispatcher.stop().await.unwrap();
    })
    .await;
}

/// Amazon MQ's event source mapping: invokes the function, and drops what it answers.
struct EventSourceMapping(Arc<Runner>);

#[async_trait]
impl Invoker for EventSourceMapping {
    async fn invoke(&self, job: &Job, _: &Value, _: bool) -> Invoked {
        match self.0.run(job, Trigger::EventSourceMapping).await {
            Ok(answer) => {
                assert!(!matches!(answer, Answer::Next { .. }), "nobody would read {answer:?}");
                Invoked::Answered(Answer::Idle)
            }
            Err(error) => Invoked::Unknown(error.to_string()),
        }
    }

    fn remote(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_answers_are_dropped_every_completion_makes_the_run_due_at_once() {
    World::run(|mut world| async move {
        // The sweep that looks for lost messages does not come in time to help.
        world.platform.engine.sweep = seconds(300.0);
        world.platform.engine.sweep_cap = seconds(300.0);
        let phases = vec![
            world.phase("ONE").arc(),
            world
                .phase("TWO")
                .on_apply(|attempt| async move {
                    if attempt.entered == 1 {
                        return Err(Error::retryable("hiccup", "not yet"));
                    }
                    Ok(Progress::Done(()))
                })
                .arc(),
            world.phase("THREE").arc(),
        ];
        let runner = world.runner(phases);
        let dispatcher = world.dispatch_by(Arc::new(EventSourceMapping(runner)));
        let tenant = world.tenant("mapped", &["ONE", "TWO", "THREE"]).await;
        world.until(tenant, "ACTIVE").await;
        assert_eq!(world.effects("mapped").await, ["ONE apply", "TWO apply", "THREE apply"]);
        assert_eq!(world.entered("mapped").await, 4);
        // One sweep for each message that nobody else could publish.
        assert!(world.sweeps(tenant).await >= 4);
        eventually("the queue is deleted", || async { world.management.tenant_queues().await.is_empty() })
            .await;
        dispatcher.stop().await.unwrap();
    })
    .await;
}
