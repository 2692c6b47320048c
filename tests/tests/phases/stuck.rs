//! An undo that cannot succeed, and the ways out of it.

use engine::decide::verbs::Verb;
use engine::store::OperateError;
use model::TenantId;
use model::platform::Seconds;
use serde_json::Value;
use tenants::StatusRow;
use tests::{Failpoints, RegionWorld, kubectl, kubectl_with, slug};

const FINALIZER: &str = "tests.example/held";

fn is_stuck(row: &StatusRow) -> bool {
    row.run.status == "stuck"
}

fn reason(row: &StatusRow) -> String {
    row.run.pause_reason.as_ref().map(Value::to_string).unwrap_or_default()
}

/// A tenant whose run failed, and whose rollback hangs at something in its namespace.
async fn stuck(world: &RegionWorld, slug: &str) -> TenantId {
    let failpoints = Failpoints::of_this_process();
    failpoints.set(slug, ["SETUP_DATABASE", "apply", "verify connectivity", "after"], "fatal");
    failpoints.set(slug, ["SETUP_DATABASE", "apply", "credentials secret", "before"], "hold");
    let tenant = world.provision_first(slug, 4).await;
    world.working_at(tenant, "SETUP_DATABASE").await;
    let held = serde_json::json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "held", "namespace": format!("matih-{slug}"), "finalizers": [FINALIZER] },
    });
    kubectl_with(&["create", "-f", "-"], &held.to_string()).await;
    failpoints.lift(slug, &["SETUP_DATABASE", "apply", "credentials secret"]);
    let row = world.settled_row(tenant, "stuck", is_stuck).await;
    assert!(reason(&row).contains(FINALIZER), "{}", reason(&row));
    assert_eq!(row.tenant.status, "PROVISIONING");
    failpoints.lift(slug, &[]);
    tenant
}

async fn let_go(slug: &str) {
    let patch = r#"{"metadata":{"finalizers":null}}"#;
    let namespace = format!("matih-{slug}");
    kubectl(&["patch", "configmap", "held", "-n", &namespace, "--type=merge", "-p", patch]).await;
}

async fn retry(world: &RegionWorld) {
    let slug = slug("stuck");
    let tenant = stuck(world, &slug).await;
    let_go(&slug).await;
    world.ask(tenant, Verb::Retry).await.unwrap();
    world.settled(tenant, "FAILED").await;
    world.gone(&slug, tenant).await;
}

/// Nobody can say "done by hand" of what is not: the inventory still finds it.
async fn skip(world: &RegionWorld) {
    let slug = slug("stuck");
    let tenant = stuck(world, &slug).await;
    let seq = Some(world.status(tenant).await.run.seq);
    let refused = world.ask_at(tenant, Verb::Skip, seq, false).await;
    assert!(matches!(refused, Err(OperateError::NeedsForce(_))), "{refused:?}");
    world.ask_at(tenant, Verb::Skip, seq, true).await.unwrap();
    let row = world
        .settled_row(tenant, "stuck at the inventory", |row| is_stuck(row) && row.run.cursor == -1)
        .await;
    assert!(reason(&row).contains("ConfigMap") && reason(&row).contains(FINALIZER), "{}", reason(&row));
    let refused = world.ask(tenant, Verb::Skip).await;
    assert!(matches!(refused, Err(OperateError::NotSkippable(_))), "{refused:?}");
    let_go(&slug).await;
    world.ask(tenant, Verb::Retry).await.unwrap();
    world.settled(tenant, "FAILED").await;
    world.gone(&slug, tenant).await;
}

/// What is done by hand may be skipped.
async fn skip_done(world: &RegionWorld) {
    let slug = slug("stuck");
    let tenant = stuck(world, &slug).await;
    let_go(&slug).await;
    kubectl(&["wait", "--for=delete", "namespace", &format!("matih-{slug}"), "--timeout=60s"]).await;
    world.ask(tenant, Verb::Skip).await.unwrap();
    let row = world.settled(tenant, "FAILED").await;
    assert_eq!(row.phases.iter().find(|phase| phase.position == 0).unwrap().state, "skipped");
    world.gone(&slug, tenant).await;
}

async fn abandon(world: &RegionWorld) {
    let slug = slug("stuck");
    let tenant = stuck(world, &slug).await;
    world.ask(tenant, Verb::Abandon).await.unwrap();
    let row = world.settled(tenant, "FAILED").await;
    assert_eq!(row.run.status, "abandoned");
    let left = row.run.leftovers.map(|left| left.to_string()).unwrap_or_default();
    assert!(left.contains("ConfigMap") && left.contains(FINALIZER), "{left}");
    // Refused while something is left; DELETE tries again, and waits for what holds it.
    let taken = world.store.tenant(tenant).await.unwrap().unwrap();
    assert_eq!(taken.deleted_at, None);
    world.ask(tenant, Verb::Delete).await.unwrap();
    let waits = |row: &StatusRow| {
        let on = row.phases.iter().filter_map(|phase| phase.waiting_on.as_ref());
        is_stuck(row) || on.into_iter().any(|on| on.contains(FINALIZER))
    };
    world.settled_row(tenant, "DELETE waits for the finalizer", waits).await;
    let_go(&slug).await;
    let row =
        world.settled_row(tenant, "DELETED", |row| is_stuck(row) || row.tenant.status == "DELETED").await;
    if is_stuck(&row) {
        world.ask(tenant, Verb::Retry).await.unwrap();
        world.settled(tenant, "DELETED").await;
    }
    world.gone(&slug, tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_rollback_names_what_holds_it_and_every_verb_gets_it_out() {
    Failpoints::of_this_process();
    RegionWorld::run(
        |platform| {
            platform.engine.wait_within = Seconds(2.0);
            platform.engine.failures = 1;
        },
        |world| async move {
            let dispatcher = world.dispatch_all().await;
            tokio::join!(retry(&world), skip(&world), skip_done(&world), abandon(&world));
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}
