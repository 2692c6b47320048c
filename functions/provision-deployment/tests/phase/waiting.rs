//! What is awaited: that the instance runs, not that it can serve.

use std::time::Duration;

use shared::cluster::{Cluster, Deployments};
use shared::phase::{Error, Kind, Progress};

use crate::world::{World, kubectl};

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
        let on = match world.attempt(Duration::ZERO).await {
            Err(Error { kind: Kind::Parked(wait), .. }) => wait.on,
            other => panic!("{other:?}"),
        };
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
