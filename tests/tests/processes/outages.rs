//! SIGKILL of RabbitMQ and of Postgres in the middle of runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::decide::verbs::Verb;
use engine::phase::Progress;
use engine::runtime::DynPhase;
use model::TenantId;
use queue::Dispatcher;
use tenants::Store;
use tests::{Private, World, eventually};

const PHASES: [&str; 4] = ["ONE", "TWO", "THREE", "FOUR"];

/// Every phase takes a moment; TWO is waited for twice, so that some runs are parked in a delay queue at any time.
fn phases(world: &World) -> Vec<Arc<dyn DynPhase>> {
    PHASES
        .map(|name| {
            world
                .phase(name)
                .on_apply(move |attempt| async move {
                    tokio::time::sleep(Duration::from_millis(150)).await;
                    Ok(if name == "TWO" && attempt.entered <= 2 {
                        Progress::wait(Duration::from_millis(1_500), "the tide")
                    } else {
                        Progress::Done(())
                    })
                })
                .arc()
        })
        .into()
}

/// Starts runs and waits until some, but not all, are past their first phase or parked in the second.
async fn several_under_way(world: &World, count: usize) -> Vec<(TenantId, String)> {
    let mut tenants = Vec::new();
    for nth in 0..count {
        let slug = format!("outage-{nth}");
        tenants.push((world.tenant(&slug, &PHASES).await, slug));
    }
    world.until_row(tenants[0].0, "under way", |row| row.run.seq > 2).await;
    tenants
}

/// How often each phase did its thing for a tenant.
async fn counts(world: &World, slug: &str) -> BTreeMap<String, i32> {
    let mut counts = BTreeMap::new();
    for effect in world.effects(slug).await {
        *counts.entry(effect).or_insert(0) += 1;
    }
    counts
}

/// All reach ACTIVE by themselves: every transition once, every effect at most once for each claim.
async fn all_arrive(world: &World, tenants: &[(TenantId, String)]) {
    for (tenant, slug) in tenants {
        let row = world.until(*tenant, "ACTIVE").await;
        let done = world.actions(*tenant).await.iter().filter(|action| *action == "PHASE_DONE").count();
        assert_eq!(done, PHASES.len());
        let counts = counts(world, slug).await;
        for phase in row.phases.iter().filter(|phase| phase.position >= 0) {
            let times = counts[&format!("{} apply", phase.name)];
            assert_eq!(phase.total_failures, 0, "an outage is no failure of a phase: {phase:#?}");
            assert!((1..=1 + phase.lost).contains(&times), "{times} effects: {phase:#?}");
        }
    }
}

/// All go again, and leave nothing in the broker.
async fn all_leave(world: &World, tenants: &[(TenantId, String)], dispatcher: Dispatcher) {
    for (tenant, _) in tenants {
        world.ask(*tenant, Verb::Delete).await.unwrap();
    }
    for (tenant, _) in tenants {
        world.until(*tenant, "DELETED").await;
    }
    nothing_waits(world).await;
    dispatcher.stop().await.unwrap();
}

/// No tenant's queue, and nothing in the others.
async fn nothing_waits(world: &World) {
    eventually("the tenants' queues are deleted", || async {
        world.management.tenant_queues().await.is_empty()
    })
    .await;
    for queue in world.management.queue_names().await {
        eventually(&format!("{queue} is empty"), || async { world.management.messages(&queue).await == 0 })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_and_postgres_may_be_killed_in_the_middle_of_runs() {
    Private::run(|mut private| async move {
        let mut world = private.world();
        let dispatcher = world.dispatch(phases(&world));
        let tenants = several_under_way(&world, 6).await;

        // The broker.
        private.rabbitmq().kill();
        tokio::time::sleep(Duration::from_millis(500)).await;
        private.rabbitmq().start().await;
        all_arrive(&world, &tenants).await;
        for (_, slug) in &tenants {
            let wanted = PHASES.map(|name| format!("{name} apply"));
            assert_eq!(world.effects(slug).await, wanted, "the broker's loss repeats nothing");
        }
        all_leave(&world, &tenants, dispatcher).await;

        // The database.
        let dispatcher = world.dispatch(phases(&world));
        sqlx::query("TRUNCATE effects").execute(&world.pool).await.unwrap();
        let tenants = several_under_way(&world, 6).await;
        private.postgres().kill();
        tokio::time::sleep(Duration::from_millis(500)).await;
        private.postgres().start().await;
        // The dispatcher must get over its dead connections by itself; the test need not.
        world.store = Store::connect_to(&world.database_url, 4).unwrap();
        all_arrive(&world, &tenants).await;
        all_leave(&world, &tenants, dispatcher).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_has_lost_everything_loses_no_run() {
    Private::run(|mut private| async move {
        let world = private.world();
        let dispatcher = world.dispatch(phases(&world));
        let tenants = several_under_way(&world, 6).await;
        private.rabbitmq().kill();
        private.rabbitmq().forget();
        private.rabbitmq().start().await;
        all_arrive(&world, &tenants).await;
        all_leave(&world, &tenants, dispatcher).await;

        // A hundred delayed ones, their messages in the broker when it dies.
        sqlx::query("TRUNCATE effects").execute(&world.pool).await.unwrap();
        let delayed = world
            .phase("DELAYED")
            .on_apply(|attempt| async move {
                Ok(if attempt.entered == 1 {
                    Progress::wait(Duration::from_secs(10), "the tide")
                } else {
                    Progress::Done(())
                })
            })
            .arc();
        let dispatcher = world.dispatch(vec![delayed]);
        let mut tenants = Vec::new();
        for nth in 0..100 {
            tenants.push(world.tenant(&format!("delayed-{nth}"), &["DELAYED"]).await);
        }
        for tenant in &tenants {
            world.until_row(*tenant, "delayed", |row| row.phases.iter().any(|phase| phase.waits > 0)).await;
        }
        private.rabbitmq().kill();
        private.rabbitmq().start().await;
        for (nth, tenant) in tenants.iter().enumerate() {
            world.until(*tenant, "ACTIVE").await;
            assert_eq!(world.effects(&format!("delayed-{nth}")).await, ["DELAYED apply"]);
        }
        nothing_waits(&world).await;
        dispatcher.stop().await.unwrap();
    })
    .await;
}
