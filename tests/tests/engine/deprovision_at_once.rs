//! A run that begins the moment another of the same tenant has ended, while its queue is being deleted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use engine::decide::verbs::Verb;
use engine::phase::{Error, Progress};
use futures::future::join_all;
use model::TenantId;
use tests::{World, eventually, seconds};

/// Tenants at once, and how often all of it happens.
const TENANTS: usize = 24;
const ROUNDS: usize = 2;

/// Looks every few milliseconds until the tenant is there.
async fn the_moment(world: &World, tenant: TenantId, status: &str) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_mins(3) {
        if world.store.tenant(tenant).await.unwrap().unwrap().status == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    panic!("waited for {status}, but it is {:#?}", world.status(tenant).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn deprovisioned_or_retried_the_moment_it_ends_no_run_is_lost_and_no_queue_is_left() {
    World::run(|mut world| async move {
        // A lost start would stay lost: after the one that begins a run, no sweep comes within the test.
        world.platform.engine.sweep = seconds(300.0);
        world.platform.engine.sweep_cap = seconds(300.0);
        let refusals = Arc::new(AtomicUsize::new(TENANTS * ROUNDS / 4));
        let phases = |world: &World| {
            let refusals = refusals.clone();
            vec![
                world.phase("ONE").arc(),
                world
                    .phase("TWO")
                    .on_apply(move |attempt| {
                        let fails = attempt.slug.ends_with("fails")
                            && attempt.entered == 1
                            && refusals.fetch_sub(1, Ordering::SeqCst) > 0;
                        async move {
                            if fails { Err(Error::fatal("no", "not now")) } else { Ok(Progress::Done(())) }
                        }
                    })
                    .arc(),
            ]
        };
        let dispatchers: Vec<_> = (0..3).map(|_| world.dispatch(phases(&world))).collect();
        let first = world.tenant("first", &["ONE", "TWO"]).await;
        world.until(first, "ACTIVE").await;
        // Every dispatcher has one for consuming; statistics of connections are seconds old.
        eventually("three connections are seen", || async {
            world.management.connections().await.len() >= 3
        })
        .await;
        let connections: BTreeSet<String> = world.management.connections().await.into_iter().collect();

        for round in 0..ROUNDS {
            join_all((0..TENANTS).map(|nth| {
                let world = world.clone();
                async move {
                    let fails = nth % 4 == 0;
                    let slug = format!("t{round}-{nth}{}", if fails { "-fails" } else { "" });
                    let tenant = world.tenant(&slug, &["ONE", "TWO"]).await;
                    if fails {
                        the_moment(&world, tenant, "FAILED").await;
                        world.ask_at(tenant, Verb::Retry, None, false).await.unwrap();
                    }
                    the_moment(&world, tenant, "ACTIVE").await;
                    world.ask_at(tenant, Verb::Delete, None, false).await.unwrap();
                    the_moment(&world, tenant, "DELETED").await;
                    let effects = world.effects(&slug).await;
                    let whole = ["ONE apply", "TWO apply", "TWO revert", "ONE revert"];
                    let failed = ["ONE apply", "TWO revert", "ONE revert"];
                    let expected = if fails { [&failed[..], &whole[..]].concat() } else { whole.to_vec() };
                    assert_eq!(effects, expected, "{slug}");
                }
            }))
            .await;
        }
        eventually("no queue is left", || async { world.management.tenant_queues().await.is_empty() }).await;
        let now: BTreeSet<String> = world.management.connections().await.into_iter().collect();
        let closed: Vec<_> = connections.difference(&now).collect();
        assert!(closed.is_empty(), "connections were closed: {closed:?}");
        let left: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM provisioning_runs WHERE NOT queue_deleted OR finished_at IS NULL",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap();
        assert_eq!(left, 0);
        for dispatcher in dispatchers {
            dispatcher.stop().await.unwrap();
        }
    })
    .await;
}
