//! A failure at any operation of any phase. The places are found, not listed: a new phase is tested by being there.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::phase::{Checkpoints, Scope};
use futures::future::join_all;
use model::{RunId, TenantId, Tier};
use serde_json::Value;
use tests::{Failpoints, Outside, RegionWorld, eventually, slug};
use tokio::sync::Semaphore;

use crate::direct::Set;

/// Runs under way at once: more would only wait for the processor.
const AT_ONCE: usize = 10;

/// What an enterprise tenant has otherwise: where its instance is made, and where that is filled.
fn on_its_own_instance(phase: &str) -> bool {
    ["PROVISIONING_INFRASTRUCTURE", "SETUP_DATABASE"].contains(&phase)
}

/// What is undone at once shows what a phase leaves: after the rollback of a whole run, the deletion of the namespace would
/// have taken it along.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_any_operation_is_undone_by_its_phase_alone() {
    each_operation(Tier::Free, |_| true, 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_any_operation_on_an_instance_of_its_own_is_undone_by_its_phase_alone() {
    each_operation(Tier::Enterprise, on_its_own_instance, 5).await;
}

async fn each_operation(tier: Tier, chosen: fn(&str) -> bool, least: usize) {
    let failpoints = Failpoints::of_this_process();
    RegionWorld::run(
        |_| {},
        |world| async move {
            let mut set = Set::new(&world, tier, true).await;
            let (run, mut done, mut places) = (RunId::generate(), BTreeMap::new(), 0);
            while set.later.iter().any(|phase| chosen(phase.name().as_str())) {
                set.plan(1, &Checkpoints::new(done.clone()));
                let nth = set.phases.len() - 1;
                let name = set.phases[nth].name().to_string();
                if chosen(&name) {
                    places += fails_everywhere(&set, nth, run, &failpoints).await;
                }
                done.insert(name, set.apply_one(nth, run).await.unwrap().0);
            }
            assert!(places > least, "the phases have more operations than {places}");
            for nth in (0..set.phases.len()).rev() {
                set.revert_one(nth, run, Scope::Run, None).await;
            }
            assert_eq!(set.outside().await, [""; 0]);
        },
    )
    .await;
}

/// Fails before the first operation of the nth phase and after each, where all phases before it are done; how often.
async fn fails_everywhere(set: &Set<'_>, nth: usize, run: RunId, failpoints: &Failpoints) -> usize {
    let phase = set.phases[nth].name().to_string();
    let before = set.at_rest().await;
    let as_before = async |when: &str| {
        let what = format!("{phase}, undone after {when}, leaves {before:#?}");
        eventually(&what, || async { set.lasting().await == before }).await;
    };
    // Only a phase that was done tells its operations.
    let (checkpoint, operations) = set.apply_one(nth, run).await.unwrap();
    set.revert_one(nth, run, Scope::Run, Some(&checkpoint)).await;
    as_before("it was done").await;
    let first = operations.first().map(|first| (first.clone(), "before"));
    let places: Vec<_> =
        first.into_iter().chain(operations.into_iter().map(|name| (name, "after"))).collect();
    assert!(!places.is_empty(), "{phase} shows its operations");
    for (operation, edge) in &places {
        let slug = set.tenant.slug.as_str();
        failpoints.set(slug, [&phase, "apply", operation, edge], "fatal");
        let error = set.apply_one(nth, run).await.unwrap_err();
        assert!(error.code == "failpoint" && error.message.contains(operation), "{error}");
        failpoints.lift(slug, &[]);
        set.revert_one(nth, run, Scope::Run, None).await;
        as_before(&format!("a failure {edge} '{operation}'")).await;
    }
    places.len()
}

/// By the engine, all the way back: each phase fails when it has done everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_at_the_end_of_any_phase_leaves_nothing_behind() {
    each_phase(Tier::Free, |_| true, 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_on_an_instance_of_its_own_leaves_nothing_behind() {
    each_phase(Tier::Enterprise, on_its_own_instance, 1).await;
}

async fn each_phase(tier: Tier, chosen: fn(&str) -> bool, least: usize) {
    let failpoints = Failpoints::of_this_process();
    RegionWorld::run(
        |_| {},
        |world| async move {
            let dispatcher = world.dispatch_all().await;
            let model = slug("model");
            let whole = world.provision(&model, tier, true).await;
            world.settled(whole, "ACTIVE").await;
            let mut phases = world.operations(whole).await;
            phases.retain(|(phase, _)| chosen(phase));
            assert!(phases.len() > least, "{phases:?}");
            let few = Arc::new(Semaphore::new(AT_ONCE));
            let failed = join_all(phases.iter().map(|(phase, operations)| async {
                let _one = few.acquire().await.unwrap();
                fail_after(&world, &failpoints, (phase, operations.last().unwrap()), tier).await
            }))
            .await;
            eventually("the queues go with their runs", || async {
                world.management.tenant_queues().await.is_empty()
            })
            .await;
            let outside = Outside::look(&world.management).await;
            // The look sees what is there.
            assert!(!outside.of(&model, whole).is_empty());
            for ((slug, tenant), (phase, _)) in failed.iter().zip(&phases) {
                assert_eq!(outside.of(slug, *tenant), [""; 0], "failed at the end of {phase}");
            }
            world.take_out(&model, whole).await;
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}

async fn fail_after(
    world: &RegionWorld,
    failpoints: &Failpoints,
    (phase, operation): (&str, &str),
    tier: Tier,
) -> (String, TenantId) {
    let slug = slug("fail");
    failpoints.set(&slug, [phase, "apply", operation, "after"], "fatal");
    let tenant = world.provision(&slug, tier, true).await;
    let row = world.settled(tenant, "FAILED").await;
    let error = row.tenant.provisioning_error.unwrap_or(Value::Null);
    assert_eq!(error["code"], "failpoint", "{error}");
    let said = error["message"].as_str().unwrap_or_default();
    assert!(said.contains(phase) && said.contains(operation), "{said}");
    assert_eq!((row.run.status.as_str(), row.run.leftovers), ("failed", Some(serde_json::json!([]))));
    failpoints.lift(&slug, &[]);
    (slug, tenant)
}
