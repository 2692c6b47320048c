//! Losing connections, queues, and everything the broker has.

use std::time::Duration;

use engine::phase::{Progress, queue_name};
use futures::StreamExt as _;
use futures::future::join_all;
use model::TenantId;
use queue::topology;
use tests::{World, eventually, seconds};

/// Waits `seconds` on its first entry, through a delay queue.
fn delayed(world: &World, name: &'static str) -> tests::Scripted {
    world.phase(name).on_apply(|attempt| async move {
        if attempt.entered > 1 {
            return Ok(Progress::Done(()));
        }
        // 2 to 5 seconds, by the tenant's number.
        let number = attempt.slug.trim_start_matches(char::is_alphabetic).parse::<u64>().unwrap();
        Ok(Progress::wait(Duration::from_millis(2_000 + number % 4 * 1_000), "the clock"))
    })
}

async fn tenants(world: &World, many: usize, phases: &[&'static str]) -> Vec<TenantId> {
    // A few at a time: on a slow machine a hundred would wait for a connection for too long.
    let made = (0..many).map(|nth| async move { world.tenant(&format!("tenant{nth}"), phases).await });
    futures::stream::iter(made).buffered(8).collect().await
}

async fn all_waiting(world: &World, phase: &'static str) {
    eventually("all have begun to wait", || async {
        let before: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM provisioning_phases p JOIN provisioning_runs r ON r.id = p.run_id
             WHERE p.name = $1 AND p.state IN ('pending', 'running')",
        )
        .bind(phase)
        .fetch_one(&world.pool)
        .await
        .unwrap();
        before == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_delayed_tenants_arrive_although_queues_and_connections_are_lost() {
    World::run(|mut world| async move {
        // No sweep comes by itself before the test has ended, however slow the machine: a run that needs one shows that its
        // message was lost.
        world.platform.engine.lease = seconds(30.0);
        world.platform.engine.sweep = seconds(3600.0);
        world.platform.engine.sweep_cap = seconds(3600.0);
        let phases = |world: &World| vec![delayed(world, "ONE").arc(), world.phase("TWO").arc()];
        let (one, two) = (world.dispatch(phases(&world)), world.dispatch(phases(&world)));
        let tenants = tenants(&world, 100, &["ONE", "TWO"]).await;
        all_waiting(&world, "ONE").await;
        let (lost, kept) = tenants.split_at(40);
        join_all(lost.iter().map(|tenant| {
            let world = &world;
            async move { world.management.delete_queue(&queue_name(*tenant)).await }
        }))
        .await;
        eventually("there is a connection to close", || async {
            world.management.close_connections().await > 0
        })
        .await;

        for tenant in kept {
            world.until(*tenant, "ACTIVE").await;
        }
        // The hour has passed for those whose messages went with their queues.
        for tenant in lost {
            world.sweep_now(*tenant).await;
            world.until(*tenant, "ACTIVE").await;
        }
        for (nth, tenant) in tenants.iter().enumerate() {
            assert_eq!(world.effects(&format!("tenant{nth}")).await, ["ONE apply", "TWO apply"]);
            assert_eq!(
                world.actions(*tenant).await,
                ["TENANT_CREATED", "PHASE_WAITING", "PHASE_DONE", "PHASE_DONE", "TENANT_ACTIVE"]
            );
        }
        // A lost connection loses no message: those whose queues stayed needed no sweep but the one that began them.
        let mut again = Vec::new();
        for tenant in kept {
            if world.sweeps(*tenant).await > 1 {
                again.push(tenant);
            }
        }
        assert!(again.is_empty(), "swept although their queues stayed: {again:?}");
        eventually("the delay queues are empty", || async {
            for seconds in topology::DELAYS {
                if world.management.messages(&topology::delay_exchange(seconds)).await > 0 {
                    return false;
                }
            }
            true
        })
        .await;
        eventually("no queue is left", || async { world.management.tenant_queues().await.is_empty() }).await;
        one.stop().await.unwrap();
        two.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_has_lost_everything_loses_no_run() {
    World::run(|mut world| async move {
        world.platform.engine.lease = seconds(30.0);
        let phases = |world: &World| {
            vec![world.phase("ONE").arc(), delayed(world, "TWO").arc(), world.phase("THREE").arc()]
        };
        let (one, two) = (world.dispatch(phases(&world)), world.dispatch(phases(&world)));
        let tenants = tenants(&world, 20, &["ONE", "TWO", "THREE"]).await;
        all_waiting(&world, "TWO").await;
        // Every message, queue, exchange and permission is gone, and every connection with them.
        world.management.delete_vhost().await;
        world.management.create_vhost().await;
        for (nth, tenant) in tenants.iter().enumerate() {
            let row = world.until(*tenant, "ACTIVE").await;
            assert_eq!(
                world.effects(&format!("tenant{nth}")).await,
                ["ONE apply", "TWO apply", "THREE apply"]
            );
            assert!(row.phases.iter().all(|phase| phase.total_failures == 0), "charged to no phase");
            world.actions(*tenant).await;
        }
        eventually("the fixed topology is there again", || async {
            let names = world.management.queue_names().await;
            names.contains(&topology::DEAD.to_owned())
                && topology::DELAYS.iter().all(|seconds| names.contains(&topology::delay_exchange(*seconds)))
        })
        .await;
        one.stop().await.unwrap();
        two.stop().await.unwrap();
    })
    .await;
}
