//! Forward, back, waiting, failing: what a run does and what it leaves behind.

use std::time::Duration;

use engine::decide::verbs::Verb;
use engine::phase::{Error, Progress};
use tests::{World, eventually, seconds};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_through_its_phases_once_and_its_queue_goes_with_it() {
    World::run(|world| async move {
        let dispatcher = world.dispatch(vec![world.phase("ONE").arc(), world.phase("TWO").arc()]);
        let tenant = world.tenant("forward", &["ONE", "TWO"]).await;
        let row = world.until(tenant, "ACTIVE").await;
        assert!(row.tenant.provisioning_completed_at.is_some());
        assert_eq!(row.tenant.provisioning_error, None);
        assert_eq!(world.effects("forward").await, ["ONE apply", "TWO apply"]);
        assert_eq!(
            world.actions(tenant).await,
            ["TENANT_CREATED", "PHASE_DONE", "PHASE_DONE", "TENANT_ACTIVE"]
        );
        eventually("the queue is deleted", || async { world.management.tenant_queues().await.is_empty() })
            .await;
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_undoes_everything_in_reverse_order() {
    World::run(|world| async move {
        let dispatcher = world.dispatch(vec![
            world.phase("ONE").arc(),
            world.phase("TWO").arc(),
            world
                .phase("THREE")
                .on_apply(|_| async { Err(Error::retryable("broken", "does not work")) })
                .arc(),
        ]);
        let tenant = world.tenant("backward", &["ONE", "TWO", "THREE"]).await;
        let row = world.until(tenant, "FAILED").await;
        assert_eq!(row.tenant.provisioning_error.unwrap()["code"], "broken");
        assert_eq!(
            world.effects("backward").await,
            ["ONE apply", "TWO apply", "THREE revert", "TWO revert", "ONE revert"]
        );
        let three = row.phases.iter().find(|phase| phase.name == "THREE").unwrap();
        assert_eq!((three.total_failures, three.failures), (3, 0));
        eventually("the queue is deleted", || async { world.management.tenant_queues().await.is_empty() })
            .await;
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_parks_the_run_and_is_charged_to_nobody() {
    World::run(|world| async move {
        let dispatcher = world.dispatch(vec![
            world
                .phase("ONE")
                .on_apply(|attempt| async move {
                    Ok(if attempt.entered < 3 {
                        Progress::wait(Duration::from_millis(1_200), "the moon to rise")
                    } else {
                        Progress::Done(())
                    })
                })
                .arc(),
        ]);
        let tenant = world.tenant("waiting", &["ONE"]).await;
        world
            .until_row(tenant, "parked", |row| {
                row.phases[1].waiting_on.as_deref() == Some("the moon to rise")
            })
            .await;
        let row = world.until(tenant, "ACTIVE").await;
        assert_eq!((row.phases[1].failures, row.phases[1].total_failures, row.phases[1].lost), (0, 0, 0));
        assert_eq!(world.effects("waiting").await, ["ONE apply"]);
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_of_a_known_length_is_charged_to_nobody_and_the_waits_after_it_are_bounded_as_ever() {
    World::run(|mut world| async move {
        world.platform.engine.wait_within = seconds(3.0);
        let dispatcher = world.dispatch(vec![
            world
                .phase("ONE")
                .on_apply(|attempt| async move {
                    Ok(match (attempt.slug.as_str(), attempt.entered) {
                        (_, 1) => Progress::wait_out(Duration::from_secs(5), "a TTL"),
                        ("patient", 2) | ("endless", _) => {
                            Progress::wait(Duration::from_millis(500), "a zone")
                        }
                        _ => Progress::Done(()),
                    })
                })
                .arc(),
        ]);
        let patient = world.tenant("patient", &["ONE"]).await;
        let endless = world.tenant("endless", &["ONE"]).await;
        let row = world.until(patient, "ACTIVE").await;
        assert_eq!((row.phases[1].failures, row.phases[1].total_failures), (0, 0));
        let row = world.until_row(endless, "charged", |row| row.phases[1].total_failures > 0).await;
        assert_eq!(row.phases[1].error.as_ref().unwrap()["code"], "waited_too_long");
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_undo_waits_for_an_operator_and_goes_on_when_retried() {
    World::run(|world| async move {
        let dispatcher = world.dispatch(vec![
            world
                .phase("ONE")
                .on_revert(|attempt| async move {
                    if attempt.entered <= 3 {
                        Err(Error::retryable("held", "something holds it"))
                    } else {
                        Ok(Progress::Done(()))
                    }
                })
                .arc(),
            world.phase("TWO").on_apply(|_| async { Err(Error::fatal("no", "never")) }).arc(),
        ]);
        let tenant = world.tenant("stuck", &["ONE", "TWO"]).await;
        let row = world.until_row(tenant, "stuck", |row| row.run.status == "stuck").await;
        assert_eq!(row.run.pause_reason.unwrap()["code"], "held");
        world.ask(tenant, Verb::Retry).await.unwrap();
        world.until(tenant, "FAILED").await;
        assert_eq!(world.effects("stuck").await, ["ONE apply", "TWO revert", "ONE revert"]);
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_active_tenant_is_deprovisioned_by_what_holds_for_it() {
    World::run(|world| async move {
        let dispatcher = world.dispatch(vec![world.phase("ONE").arc(), world.phase("TWO").arc()]);
        let tenant = world.tenant("leaving", &["ONE", "TWO"]).await;
        world.until(tenant, "ACTIVE").await;
        assert!(world.ask(tenant, Verb::Rollback).await.is_err(), "ACTIVE is the point of no return");
        world.ask(tenant, Verb::Delete).await.unwrap();
        world.until(tenant, "DELETED").await;
        assert_eq!(world.effects("leaving").await, ["ONE apply", "TWO apply", "TWO revert", "ONE revert"]);
        eventually("the queue is deleted", || async { world.management.tenant_queues().await.is_empty() })
            .await;
        dispatcher.stop().await.unwrap();
    })
    .await;
}
