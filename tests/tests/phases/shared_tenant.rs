//! A tenant of the pooled instance: rows in the region's shared database, and no object in the cluster.

use shared::decide::verbs::Verb;
use tests::{Failpoints, RegionWorld, slug};

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_tenant_has_a_schema_and_a_role_and_nothing_in_the_cluster() {
    let failpoints = Failpoints::of_this_process();
    RegionWorld::run(
        |_| {},
        |world| async move {
            let dispatcher = world.dispatch_all().await;
            let (slug, fails) = (slug("shared"), slug("shared"));
            failpoints.set(&fails, ["SETUP_DATABASE", "apply", "initialize database", "after"], "fatal");
            let tenant = world.provision_shared(&slug).await;
            let failing = world.provision_shared(&fails).await;

            world.settled(tenant, "ACTIVE").await;
            let outside = world.outside(&slug, tenant).await;
            let mut kinds: Vec<&str> = outside.iter().filter_map(|line| line.split(' ').next()).collect();
            // Its queue may still be there.
            kinds.retain(|kind| *kind != "queue");
            assert_eq!(kinds, ["role", "schema"], "{outside:?}");

            let row = world.settled(failing, "FAILED").await;
            assert_eq!(row.tenant.provisioning_error.unwrap_or_default()["code"], "failpoint");
            world.gone(&fails, failing).await;
            failpoints.lift(&fails, &[]);
            world.ask(failing, Verb::Retry).await.unwrap();
            world.settled(failing, "ACTIVE").await;

            world.take_out(&fails, failing).await;
            world.take_out(&slug, tenant).await;
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}
