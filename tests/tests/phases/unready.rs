//! Pods that do not come up: the reason is shown, and the run ends by itself.

use model::Tier;
use model::platform::Seconds;
use tests::{RegionWorld, slug};

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_do_not_come_up_fail_the_run_with_the_reason() {
    RegionWorld::run(
        |platform| {
            platform.charts.ready_within = Seconds(3.0);
            platform.engine.failures = 2;
            // Room for tenant-api and two of the three core services.
            platform.quotas.get_mut(&Tier::Free).unwrap().pods = 3;
        },
        |world| async move {
            let dispatcher = world.dispatch_all().await;
            // The simulated nodes never let pods of such a namespace become ready.
            let (never, small) = (slug("n") + "-never-ready", slug("small"));
            let unready = world.provision(&never, Tier::Professional, true).await;
            let refused = world.provision(&small, Tier::Free, false).await;
            for (slug, tenant, reason) in
                [(&never, unready, "ContainersNotReady"), (&small, refused, "exceeded quota: tenant-quota")]
            {
                let row = world.settled(tenant, "FAILED").await;
                let error = row.tenant.provisioning_error.unwrap_or_default();
                let said = error["message"].as_str().unwrap_or_default();
                assert_eq!(error["code"], "not_ready", "{error}");
                assert!(said.contains(reason) && said.contains("0 of 1 replicas ready"), "{said}");
                let actions = world.actions(tenant).await;
                let count = |wanted: &str| actions.iter().filter(|action| *action == wanted).count();
                assert_eq!((count("PHASE_RETRYING"), count("PHASE_FAILED")), (1, 1), "{actions:?}");
                assert!(count("PHASE_WAITING") >= 1, "{actions:?}");
                world.gone(slug, tenant).await;
            }
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}
