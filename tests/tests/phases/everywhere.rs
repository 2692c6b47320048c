//! A failure at any operation of any phase. The places are found, not listed: a new phase is tested by being there.

use std::sync::Arc;

use futures::future::join_all;
use serde_json::Value;
use shared::model::{TenantId, Tier};
use tests::{Failpoints, Outside, RegionWorld, slug};
use tokio::sync::Semaphore;

/// Runs under way at once: more would only wait for the processor.
const AT_ONCE: usize = 10;

struct Place {
    phase: String,
    operation: String,
    edge: &'static str,
}

/// After every operation; before one is after the one before it, but for the first of a phase.
fn places(operations: Vec<(String, Vec<String>)>) -> Vec<Place> {
    let mut places = Vec::new();
    for (phase, operations) in operations {
        assert!(!operations.is_empty(), "{phase} shows its operations");
        for (nth, operation) in operations.into_iter().enumerate() {
            let edges: &[&'static str] = if nth == 0 { &["before", "after"] } else { &["after"] };
            for edge in edges {
                places.push(Place { phase: phase.clone(), operation: operation.clone(), edge });
            }
        }
    }
    places
}

async fn fail_at(
    world: &RegionWorld,
    failpoints: &Failpoints,
    place: &Place,
    tier: Tier,
) -> (String, TenantId) {
    let slug = slug("fail");
    failpoints.set(&slug, [&place.phase, "apply", &place.operation, place.edge], "fatal");
    let tenant = world.provision(&slug, tier, true).await;
    let row = world.settled(tenant, "FAILED").await;
    let error = row.tenant.provisioning_error.unwrap_or(Value::Null);
    assert_eq!(error["code"], "failpoint", "{error}");
    let said = error["message"].as_str().unwrap_or_default();
    assert!(said.contains(&place.phase) && said.contains(&place.operation), "{said}");
    assert_eq!((row.run.status.as_str(), row.run.leftovers), ("failed", Some(serde_json::json!([]))));
    failpoints.lift(&slug, &[]);
    (slug, tenant)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_any_operation_leaves_nothing_behind() {
    everywhere(Tier::Free, |_| true, 30).await;
}

/// With an instance of its own, where that is made and where it is filled; the other phases do what they do for anybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_any_operation_on_an_instance_of_its_own_leaves_nothing_behind() {
    everywhere(
        Tier::Enterprise,
        |phase| ["PROVISIONING_INFRASTRUCTURE", "SETUP_DATABASE"].contains(&phase),
        5,
    )
    .await;
}

async fn everywhere(tier: Tier, chosen: impl Fn(&str) -> bool, least: usize) {
    let failpoints = Failpoints::of_this_process();
    RegionWorld::run(
        |_| {},
        |world| async move {
            let dispatcher = world.dispatch_all().await;
            let model = slug("model");
            let whole = world.provision(&model, tier, true).await;
            world.settled(whole, "ACTIVE").await;
            let mut places = places(world.operations(whole).await);
            places.retain(|place| chosen(&place.phase));
            assert!(places.len() > least, "the phases have more operations");
            let few = Arc::new(Semaphore::new(AT_ONCE));
            let failed = join_all(places.iter().map(|place| async {
                let _one = few.acquire().await.unwrap();
                fail_at(&world, &failpoints, place, tier).await
            }))
            .await;
            tests::eventually("the queues go with their runs", || async {
                world.management.tenant_queues().await.is_empty()
            })
            .await;
            let outside = Outside::look(&world.management).await;
            // The look sees what is there.
            assert!(!outside.of(&model, whole).is_empty());
            for ((slug, tenant), place) in failed.iter().zip(&places) {
                let Place { phase, operation, edge } = place;
                assert_eq!(outside.of(slug, *tenant), [""; 0], "failed {edge} {phase} '{operation}'");
            }
            world.take_out(&model, whole).await;
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}
