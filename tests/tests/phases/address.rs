//! A load balancer without an address, and a chart repository without an answer.

use model::Tier;
use model::platform::Seconds;
use tenants::StatusRow;
use tests::{Proxy, RegionWorld, kubectl, required, slug};

/// The phases that the controller needs, and it; the others would only take their time.
const NEEDED: [&str; 2] = ["CREATE_NAMESPACE", "DEPLOY_INGRESS_CONTROLLER"];

fn waits_on(row: &StatusRow, what: &str) -> bool {
    let waiting = row.phases.iter().find(|phase| phase.name == "DEPLOY_INGRESS_CONTROLLER");
    waiting.and_then(|phase| phase.waiting_on.as_ref()).is_some_and(|on| on.contains(what))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_without_an_address_is_waited_for_tried_again_and_undone() {
    RegionWorld::run(
        |platform| {
            platform.ingress.address_within = Seconds(4.0);
            platform.engine.failures = 2;
        },
        |world| async move {
            let dispatcher = world.dispatch_all().await;
            // The local stack gives no address in such a namespace, until its label says otherwise.
            let (never, late) = (slug("n") + "-no-address", slug("l") + "-no-address");
            let (failing, mended) = (
                world.provision_these(&never, Tier::Professional, true, &NEEDED).await,
                world.provision_these(&late, Tier::Free, false, &NEEDED).await,
            );
            let service = format!("Service matih-{late}/ingress-nginx-{late}-controller");
            let lacks = format!("{service} has no external IP, attempt ");
            world.settled_row(mended, "waits for its address", |row| waits_on(row, &lacks)).await;
            kubectl(&["label", "namespace", &format!("matih-{late}"), "tenantry.test/no-address=false"])
                .await;
            world.settled(mended, "ACTIVE").await;

            let row = world.settled(failing, "FAILED").await;
            let error = row.tenant.provisioning_error.unwrap_or_default();
            assert_eq!((&error["code"], &error["kind"]), (&"no_external_ip".into(), &"retryable".into()));
            assert!(!error["nextAction"].as_str().unwrap_or_default().is_empty(), "{error}");
            let actions = world.actions(failing).await;
            let count = |wanted: &str| actions.iter().filter(|action| *action == wanted).count();
            assert_eq!((count("PHASE_RETRYING"), count("PHASE_FAILED")), (1, 1), "{actions:?}");
            assert!(count("PHASE_WAITING") >= 2, "{actions:?}");
            world.gone(&never, failing).await;
            world.take_out(&late, mended).await;
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_repository_that_does_not_answer_parks_the_run() {
    let repository = Proxy::to(required("CHART_REPOSITORY_URL").trim_start_matches("http://")).await;
    let url = format!("http://{}", repository.address());
    RegionWorld::run(
        |platform| platform.ingress.repository_url = url,
        |world| async move {
            repository.cut().await;
            let dispatcher = world.dispatch_all().await;
            let slug = slug("norepo");
            let tenant = world.provision_these(&slug, Tier::Professional, true, &NEEDED).await;
            let row = world.settled_row(tenant, "parked", |row| waits_on(row, "cannot be reached")).await;
            let phase = row.phases.iter().find(|phase| phase.name == "DEPLOY_INGRESS_CONTROLLER").unwrap();
            let error = phase.error.as_ref().unwrap();
            assert_eq!(error["kind"], "unavailable", "{error}");
            assert_eq!((phase.total_failures, row.run.direction.as_str()), (0, "forward"));
            repository.open().await;
            world.settled(tenant, "ACTIVE").await;
            world.take_out(&slug, tenant).await;
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}
