//! A worker that sleeps past its lease.

use chrono::{DateTime, Utc};
use model::Tier;
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::{RegionWorld, Worker, calls_of, slug};

fn about<'a>(calls: &'a [Value], slug: &str) -> Vec<&'a Value> {
    calls.iter().filter(|call| call["requestURI"].as_str().is_some_and(|uri| uri.contains(slug))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_slept_past_its_lease_makes_no_further_call() {
    RegionWorld::run(
        |_| {},
        |world| async move {
            let user = slug("sleeper");
            let worker = Worker::start(env!("CARGO_BIN_EXE_worker"), &world, &world.platform, None, &user);
            let first = slug("paused");
            worker.failpoints.set(
                &first,
                ["DEPLOY_CORE_SERVICES", "apply", "install ai-service", "before"],
                "stop",
            );
            let tenant =
                world.provision_through(&first, Tier::Professional, true, "DEPLOY_CORE_SERVICES").await;
            tests::eventually("the worker stops itself", || async { worker.is_stopped() }).await;
            let stopped = Utc::now();

            let dispatcher = world.dispatch_all().await;
            world.settled(tenant, "ACTIVE").await;
            let lost = world.actions(tenant).await;
            assert!(lost.iter().any(|action| action == "WORKER_LOST"), "{lost:?}");
            let there = world.outside(&first, tenant).await;

            // Awake again, it is the only one: what it does for another tenant shows that it has had its turn.
            dispatcher.stop().await.unwrap();
            worker.failpoints.lift(&first, &[]);
            worker.signal(Signal::SIGCONT);
            let second = slug("paused");
            let other = world.provision_first(&second, 5).await;
            world.settled(other, "ACTIVE").await;

            let calls = calls_of(&user);
            assert!(!about(&calls, &first).is_empty() && !about(&calls, &second).is_empty());
            for call in about(&calls, &first) {
                let at: DateTime<Utc> = call["requestReceivedTimestamp"].as_str().unwrap().parse().unwrap();
                assert!(at < stopped, "called after its lease: {call}");
            }
            assert_eq!(world.actions(tenant).await, lost);
            assert_eq!(world.outside(&first, tenant).await, there);
            world.take_out(&first, tenant).await;
            world.take_out(&second, other).await;
            worker.kill().await;
        },
    )
    .await;
}
