//! What is awaited: that the instance runs, not that it can serve.

use std::time::Duration;

use cluster::{Cluster, Deployments};
use engine::phase::{Checkpoints, Error, Kind, Progress};
use serde_json::json;
use testing::kubectl;

use crate::world::World;

#[tokio::test]
async fn an_instance_that_runs_is_enough_and_readiness_is_left_to_later() {
    // The simulated nodes start such pods, and let none become ready: as an instance without its database.
    World::run("-never-ready", async |world| {
        let made = world.provision().await;
        assert!(world.row().await.is_some_and(|row| row.container_id == made.container_id));
        let cluster = Cluster::connect().await.unwrap();
        let ready = cluster.ready(&world.namespace, Deployments::Named(&["tenant-api"])).await.unwrap();
        assert!(
            matches!(&ready, Progress::Wait(wait) if wait.on.contains("0 of 1 replicas ready")),
            "{ready:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn an_instance_that_cannot_run_is_waited_for_with_the_reason_and_then_a_failure() {
    World::run("", async |world| {
        let quota = r#"{"spec":{"hard":{"pods":"0"}}}"#;
        kubectl(&["patch", "resourcequota", "tenant-quota", "-n", &world.namespace, "-p", quota]);
        // The reason is known once the Deployment's controller has asked for a pod: each attempt looks for 5 s.
        let mut on = String::new();
        for _ in 0..12 {
            on = match world.attempt(Duration::ZERO).await {
                Err(Error { kind: Kind::Parked(wait), .. }) => wait.on,
                other => panic!("{other:?}"),
            };
            if on.contains("exceeded quota") {
                break;
            }
        }
        assert!(on.contains("0 of 1 instances run") && on.contains("exceeded quota"), "{on}");
        let late = world.platform.tenant_api.ready_within.duration();
        let error = world.attempt(late).await.unwrap_err();
        assert_eq!((&error.kind, error.code), (&Kind::Retryable, "not_live"), "{error}");
        assert!(error.message.contains("exceeded quota"), "{error}");
        // Nothing is recorded of what does not run.
        assert_eq!(world.row().await, None);
    })
    .await;
}

#[tokio::test]
async fn in_a_change_an_instance_that_does_not_become_ready_is_the_changes_end() {
    World::run("-never-ready", async |world| {
        world.provision().await;
        let changed = || Checkpoints::new([("SETUP_DATABASE".to_owned(), json!({}))].into());
        world.tenant.container.image = Some("ip4x/tenant-api:broken".into());
        let on = match world.attempt_after(changed(), Duration::ZERO).await {
            Err(Error { kind: Kind::Parked(wait), .. }) => wait.on,
            other => panic!("{other:?}"),
        };
        assert!(on.contains("0 of 1 replicas ready"), "{on}");
        let late = world.platform.tenant_api.ready_within.duration();
        let error = world.attempt_after(changed(), late).await.unwrap_err();
        assert_eq!((&error.kind, error.code), (&Kind::Fatal, "not_ready"), "{error}");
        // What is recorded is what was.
        assert_eq!(world.row().await.unwrap().image, "ip4x/tenant-api:latest");
        // Undone: made again with the plan of before, and as in the first run, without waiting for readiness.
        world.tenant.container.image = None;
        world.provision().await;
        let image = "-o=jsonpath={.spec.template.spec.containers[0].image}";
        let image = kubectl(&["get", "deployment", "tenant-api", "-n", &world.namespace, image]);
        assert_eq!(image, "ip4x/tenant-api:latest");
    })
    .await;
}
