//! Helms that die or sleep in the middle of their work.

use std::collections::BTreeSet;

use engine::decide::verbs::Verb;
use model::Tier;
use model::platform::Seconds;
use nix::sys::signal::Signal;
use serde_json::Value;
use tenants::StatusRow;
use tests::{Failpoints, RegionWorld, Worker, kubectl, signal, slug, state, stop_helm_midway};

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_a_killed_helm_left_pending_is_made_anew() {
    RegionWorld::run(
        |_| {},
        |world| async move {
            let dispatcher = world.dispatch_all().await;
            let slug = slug("killed");
            let tenant = world.provision(&slug, Tier::Professional, true).await;
            let namespace = format!("matih-{slug}");
            let (helm, release) = stop_helm_midway(&namespace).await;
            assert!(signal(helm, Signal::SIGKILL));
            let row = world.settled(tenant, "ACTIVE").await;
            let charged: i32 = row.phases.iter().map(|phase| phase.total_failures).sum();
            assert_eq!(charged, 1, "{release}: {:?}", row.phases);
            let secrets = ["get", "secrets", "-l", "owner=helm", "-n", &namespace, "-o", "json"];
            let secrets: Value = serde_json::from_str(&kubectl(&secrets).await).unwrap();
            let labels: Vec<&Value> = secrets["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|secret| &secret["metadata"]["labels"])
                .collect();
            let names: BTreeSet<&str> = labels.iter().filter_map(|label| label["name"].as_str()).collect();
            assert_eq!(names.len(), 12, "{release}: {labels:?}");
            for label in labels {
                assert_eq!((&label["status"], &label["version"]), (&"deployed".into(), &"1".into()));
            }
            world.take_out(&slug, tenant).await;
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}

/// The worker and its helm sleep; meanwhile an operator rolls the run back through another worker; then the helm goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_helm_that_slept_through_a_rollback_leaves_nothing_behind() {
    let failpoints = Failpoints::of_this_process();
    RegionWorld::run(
        |platform| {
            // No effect of a lost worker outlives this; the inventory waits for it.
            platform.engine.step_timeout = Seconds(28.0);
            platform.engine.function_timeout = Seconds(29.0);
            platform.engine.invoke_timeout = Seconds(30.0);
        },
        |world| async move {
            let worker =
                Worker::start(env!("CARGO_BIN_EXE_worker"), &world, &world.platform, None, &slug("sleeper"));
            // One helm goes on between its release's undo and its namespace's, one when everything is over.
            let (early, late) = (slug("asleep"), slug("asleep"));
            let tenants = (
                world.provision(&early, Tier::Professional, true).await,
                world.provision(&late, Tier::Professional, true).await,
            );
            let namespaces = (format!("matih-{early}"), format!("matih-{late}"));
            let (helms, others) =
                tokio::join!(stop_helm_midway(&namespaces.0), stop_helm_midway(&namespaces.1));
            worker.signal(Signal::SIGSTOP);
            failpoints.set(&early, ["CREATE_NAMESPACE", "revert", "delete namespace", "before"], "hold");
            let dispatcher = world.dispatch_all().await;
            for tenant in [tenants.0, tenants.1] {
                world.ask(tenant, Verb::Rollback).await.unwrap();
            }
            let undone =
                |row: &StatusRow| row.run.direction == "backward" && row.run.cursor == 0 && row.run.claimed;
            world.settled_row(tenants.0, "undone but for its namespace", undone).await;
            goes_on(helms.0).await;
            failpoints.lift(&early, &[]);
            for (slug, tenant) in [(&early, tenants.0), (&late, tenants.1)] {
                world.settled(tenant, "FAILED").await;
                world.gone(slug, tenant).await;
            }
            goes_on(others.0).await;
            worker.signal(Signal::SIGCONT);
            worker.kill().await;
            for (slug, tenant) in [(&early, tenants.0), (&late, tenants.1)] {
                assert_eq!(world.outside(slug, tenant).await, [""; 0]);
                assert_eq!(world.status(tenant).await.tenant.status, "FAILED");
            }
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}

/// Wakes a helm, and waits for its end. Its worker sleeps, so nobody reaps it.
async fn goes_on(helm: i32) {
    assert!(signal(helm, Signal::SIGCONT), "the helm is gone");
    tests::eventually("helm ends", || async { state(helm).is_none_or(|state| state == 'Z') }).await;
}
