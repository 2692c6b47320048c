//! A tenant-api in trouble: the run says so, and a verb goes on once it is mended; nothing is left of what was undone.

use std::sync::{Arc, OnceLock};

use engine::decide::verbs::Verb;
use model::platform::Seconds;
use model::{OnFailure, PhaseName, TenantId, Tier};
use tenants::StatusRow;
use tests::{Proxy, RegionWorld, serve_tenant_api_with, slug};

const PHASES: [&str; 2] = ["CREATE_NAMESPACE", "SETUP_DATABASE"];

async fn tenant(world: &RegionWorld, slug: &str, on_failure: OnFailure) -> TenantId {
    world
        .tenant_as(slug, &[], |new| {
            new.tier = Tier::Professional;
            new.phases = PHASES.map(PhaseName::new).to_vec();
            new.on_failure = on_failure;
        })
        .await
}

/// The error of the database's phase.
fn error(row: &StatusRow) -> &serde_json::Value {
    row.phases.iter().find(|phase| phase.name == "SETUP_DATABASE").unwrap().error.as_ref().unwrap()
}

/// Waits until the run halts, and says by which error.
async fn halts(world: &RegionWorld, tenant: TenantId, how: &str, code: &str) {
    let row = world.settled_row(tenant, how, |row| row.run.status == how).await;
    assert_eq!(error(&row)["code"], code, "{row:#?}");
    assert_ne!(error(&row)["nextAction"], "", "{row:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_the_data_plane_is_said_and_mended_and_leaves_nothing() {
    let (other, serving) = serve_tenant_api_with("a-secret-that-nobody-else-has-0123456789").await;
    let proxy = Proxy::to(other.trim_start_matches("http://")).await;
    let by_the_proxy = format!("http://{}", proxy.address());
    // Where the region's own is, which is right.
    let right = Arc::new(OnceLock::new());
    let found = right.clone();
    RegionWorld::run(
        move |platform| {
            platform.tenant_api.answer_within = Seconds(1.0);
            let url = &mut platform.regions.get_mut("eastus").unwrap().tenant_api_url;
            found.set(std::mem::replace(url, by_the_proxy)).unwrap();
        },
        |world| async move {
            let right = right.get().unwrap().trim_start_matches("http://");
            let dispatcher = world.dispatch_all().await;

            // 401: another secret. Nobody tries again what cannot succeed.
            let paused = slug("refused");
            let refused = tenant(&world, &paused, OnFailure::Pause).await;
            halts(&world, refused, "paused", "tenant_api_unauthorized").await;
            // 500: the gateway before it is in trouble. Mended, and tried again.
            proxy.answer("500 Internal Server Error").await;
            world.ask(refused, Verb::Retry).await.unwrap();
            let failed = |row: &StatusRow| {
                row.run.status == "paused" && error(row)["code"] != "tenant_api_unauthorized"
            };
            let row = world.settled_row(refused, "paused again", failed).await;
            assert!(error(&row)["message"].as_str().unwrap().contains("500"), "{row:#?}");
            proxy.lead_to(right).await;
            world.ask(refused, Verb::Retry).await.unwrap();
            world.settled(refused, "ACTIVE").await;

            // It hangs, past the time that it has: the run is undone as far as that goes, and the rest once it is mended.
            proxy.hang().await;
            let hung = slug("hung");
            let stuck = tenant(&world, &hung, OnFailure::Rollback).await;
            let row = world.settled_row(stuck, "stuck", |row| row.run.status == "stuck").await;
            assert_eq!(error(&row)["code"], "tenant_api_timeout", "{row:#?}");
            assert!(!world.outside(&hung, stuck).await.is_empty(), "what cannot be dropped is not forgotten");
            proxy.lead_to(right).await;
            world.ask(stuck, Verb::Retry).await.unwrap();
            world.settled(stuck, "FAILED").await;
            world.gone(&hung, stuck).await;

            // FAILED, it is tried again, and is whole.
            world.ask(stuck, Verb::Retry).await.unwrap();
            world.settled(stuck, "ACTIVE").await;
            world.take_out(&hung, stuck).await;
            world.take_out(&paused, refused).await;
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
    serving.abort();
}
