//! A whole life: to ACTIVE within the quota, and out again.

use model::Tier;
use model::platform::Certificates;
use serde_json::{Value, json};
use tests::{Outside, RegionWorld, kubectl, slug};

#[tokio::test(flavor = "multi_thread")]
async fn every_tier_fits_its_quota_and_leaves_nothing_behind() {
    RegionWorld::run(
        // By the ACME server; the other tests have certificates that nobody has to prove anything for.
        |platform| platform.certificates = Certificates::default(),
        |world| async move {
            let dispatcher = world.dispatch_all().await;
            let mut tenants = Vec::new();
            for (what, tier, dedicated) in
                [("free", Tier::Free, false), ("professional", Tier::Professional, true)]
            {
                let slug = slug(what);
                let tenant = world.provision(&slug, tier, dedicated).await;
                tenants.push((slug, tenant, dedicated));
            }
            for (slug, tenant, dedicated) in &tenants {
                let row = world.settled(*tenant, "ACTIVE").await;
                assert_eq!(row.tenant.provisioning_error, None);
                let namespace = format!("matih-{slug}");
                // The quota's own account: it was asked, for every pod.
                let used = kubectl(&[
                    "get",
                    "resourcequota",
                    "tenant-quota",
                    "-n",
                    &namespace,
                    "-o=jsonpath={.status.used.pods}",
                ])
                .await;
                let there = Outside::look(&world.management).await.counts(slug, *tenant);
                let count = |kind: &str| there.get(kind).copied().unwrap_or(0);
                assert_eq!(used, count("Pod").to_string(), "{there:?}");
                // tenant-api, nine services, the ingress controller, Grafana and the collector; Prometheus and Alertmanager.
                assert_eq!((count("Deployment"), count("StatefulSet")), (13, 2), "{there:?}");
                let database = (count("role"), count("schema"), count("database"));
                assert_eq!(database, if *dedicated { (1, 0, 1) } else { (1, 1, 0) }, "{there:?}");
                assert!(count("NetworkPolicy") >= 12, "{there:?}");
                assert_eq!(count("Namespace"), 1, "{there:?}");
            }
            futures::future::join_all(tenants.iter().map(|(slug, tenant, _)| world.take_out(slug, *tenant)))
                .await;
            for (_, tenant, _) in &tenants {
                let row = world.status(*tenant).await;
                let inventory = row.phases.iter().find(|phase| phase.position == -1).unwrap();
                let operations = inventory.operations.as_array().unwrap();
                let history = operations.iter().find(|it| it["name"] == "retained history").unwrap();
                let systems: Vec<&Value> =
                    history["result"].as_array().unwrap().iter().map(|it| &it["system"]).collect();
                assert_eq!(systems, ["Loki", "Tempo"], "what stays is said");
                assert_eq!(row.run.leftovers, Some(json!([])), "and is nothing left over");
            }
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}
