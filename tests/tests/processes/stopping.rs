//! Dispatchers that are told to stop, and dispatchers side by side.

use std::time::Duration;

use engine::decide::verbs::Verb;
use model::TenantId;
use model::platform::{Platform, Seconds};
use nix::sys::signal::Signal;
use tests::process::Process;
use tests::{Site, calm, eventually, fresh_slug, hasty, outside};

/// Real phases that take little time.
const QUICK: [&str; 2] = ["CREATE_NAMESPACE", "CONFIGURE_NETWORKING"];

/// Where the step is held.
fn hold(slug: &str) -> String {
    [slug, "CREATE_NAMESPACE", "apply", "namespace", "after", "hold"].join("\t")
}

/// Starts a dispatcher and waits until it is held in the middle of the tenant's first phase.
async fn held(site: &Site, slug: &str, tenant: TenantId) -> Process {
    site.failpoints(&[&hold(slug)]);
    let dispatcher = site.dispatcher();
    site.until_row(tenant, "the operation is done", |row| {
        row.phases.iter().any(|phase| phase.operations[0]["state"] == "done")
    })
    .await;
    dispatcher
}

async fn take_away(site: &Site, slug: &str, tenant: TenantId) {
    site.world.ask(tenant, Verb::Delete).await.unwrap();
    site.until(tenant, "DELETED").await;
    assert_eq!(outside::left_of(slug, tenant).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_that_is_told_to_stop_finishes_its_step_and_another_goes_on() {
    Site::run_with(calm, |site| async move {
        let slug = fresh_slug("stop");
        let tenant = site.world.tenant(&slug, &QUICK).await;
        let mut first = held(&site, &slug, tenant).await;
        first.signal(Signal::SIGTERM);
        eventually("it is stopping", || async { first.log().contains("stopping") }).await;
        // Time enough for one that does not wait for its steps to be gone.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(first.ended(), None, "the step is still under way");
        site.failpoints(&[]);
        assert_eq!(first.end().await.code(), Some(0));
        let row = site.world.status(tenant).await;
        let first_phase = row.phases.iter().find(|phase| phase.name == QUICK[0]).unwrap();
        assert_eq!(first_phase.state, "done", "its step is finished");
        let _second = site.dispatcher();
        let row = site.until(tenant, "ACTIVE").await;
        assert!(row.phases.iter().all(|phase| (phase.total_failures, phase.lost) == (0, 0)), "{row:#?}");
        take_away(&site, &slug, tenant).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_that_cannot_finish_in_time_ends_all_the_same_and_its_lease_decides() {
    // Longer than a stopping dispatcher waits.
    let patient = |platform: &mut Platform| {
        hasty(platform);
        platform.engine.step_timeout = Seconds(100.0);
        platform.engine.function_timeout = Seconds(101.0);
        platform.engine.invoke_timeout = Seconds(102.0);
    };
    Site::run_with(patient, |site| async move {
        let slug = fresh_slug("cut");
        let tenant = site.world.tenant(&slug, &QUICK).await;
        let mut first = held(&site, &slug, tenant).await;
        first.signal(Signal::SIGTERM);
        assert_eq!(first.end().await.code(), Some(0));
        site.failpoints(&[]);
        let _second = site.dispatcher();
        let row = site.until(tenant, "ACTIVE").await;
        let lost: i32 = row.phases.iter().map(|phase| phase.lost).sum();
        let failures: i32 = row.phases.iter().map(|phase| phase.total_failures).sum();
        assert!(lost >= 1 && failures == 0, "{row:#?}");
        take_away(&site, &slug, tenant).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_dispatchers_share_ten_tenants() {
    Site::run_with(calm, |site| async move {
        let dispatchers = [site.dispatcher(), site.dispatcher()];
        let mut tenants = Vec::new();
        for _ in 0..10 {
            let slug = fresh_slug("share");
            tenants.push((site.world.tenant(&slug, &QUICK).await, slug));
        }
        for (tenant, _) in &tenants {
            let row = site.until(*tenant, "ACTIVE").await;
            assert!(row.phases.iter().all(|phase| (phase.total_failures, phase.lost) == (0, 0)), "{row:#?}");
            // One row for each transition: what both did would be there twice.
            let actions = site.world.actions(*tenant).await;
            let done = actions.iter().filter(|action| *action == "PHASE_DONE").count();
            assert_eq!(done, QUICK.len(), "{actions:?}");
        }
        for (tenant, _) in &tenants {
            site.world.ask(*tenant, Verb::Delete).await.unwrap();
        }
        for (tenant, slug) in &tenants {
            site.until(*tenant, "DELETED").await;
            assert_eq!(outside::left_of(slug, *tenant).await, Vec::<String>::new());
        }
        eventually("all queues are deleted", || async {
            site.world.management.tenant_queues().await.is_empty()
        })
        .await;
        for mut dispatcher in dispatchers {
            assert!(dispatcher.log().contains("PHASE_DONE"), "each had a part in it");
            dispatcher.signal(Signal::SIGTERM);
            assert_eq!(dispatcher.end().await.code(), Some(0));
        }
    })
    .await;
}
