//! What a rollback leaves behind: everything as it was, and at no moment a name that leads to somebody else. In a program
//! of its own, because no other test may change anything meanwhile.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod holding;
mod probe;

use model::platform::Certificates;
use model::{DeploymentType, Tier};
use tenants::phases;
use tests::{Failpoints, Listing, RegionWorld, eventually, slug};

use crate::holding::{HeldAddresses, Holding};
use crate::probe::{Answer, Probe, questions};

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_from_the_very_end_leaves_everything_as_it_was() {
    let failpoints = Failpoints::of_this_process();
    RegionWorld::run(
        |platform| {
            platform.certificates = Certificates::default();
            // Longer than it takes to release an address, so that a wait that is left out shows.
            platform.dns.ttl = 3;
        },
        |world| async move {
            let dispatcher = world.dispatch_all().await;
            // A neighbour: shows what the last operation is, and must not notice anything.
            let beside = slug("beside");
            let neighbour = world.provision(&beside, Tier::Free, false).await;
            world.settled(neighbour, "ACTIVE").await;
            let (phase, operations) = world.operations(neighbour).await.pop().unwrap();
            let plan = phases::plan(DeploymentType::ContainerPerTenant, Tier::Professional);
            assert_eq!(plan.last().map(ToString::to_string).as_ref(), Some(&phase));
            let last = operations.last().unwrap();
            eventually("its queue goes with its run", || async {
                world.management.tenant_queues().await.is_empty()
            })
            .await;
            let before = Listing::at_rest(&world.management).await;
            a_tenant_of_the_pooled_instance_is_in_postgres_alone(&world, &before).await;

            let slug = slug("undone");
            failpoints.set(&slug, [&phase, "apply", last, "after"], "fatal");
            let holding = Holding::watch(&format!("matih-{slug}"));
            let probe = Probe::start(&slug);
            let tenant = world.provision(&slug, Tier::Professional, true).await;
            world.settled_row(tenant, "rolling back", |row| row.run.direction == "backward").await;
            let row = world.settled(tenant, "FAILED").await;
            let error = row.tenant.provisioning_error.unwrap();
            let said = error["message"].as_str().unwrap();
            assert!(error["code"] == "failpoint" && said.contains(&phase) && said.contains(last), "{error}");
            world.gone(&slug, tenant).await;
            let after = Listing::at_rest(&world.management).await;
            let (answers, held) = (probe.stop().await, holding.stop().await);

            for kind in ["apiextensions.k8s.io/v1 CustomResourceDefinition ", "role ", "queue delay."] {
                assert!(before.has(kind), "{kind}");
            }
            for of_it in [
                format!("v1 Secret matih-{beside}/sh.helm.release."),
                format!("networking.k8s.io/v1 IngressClass /nginx-{beside} "),
                format!("schema region_eastus.tenant_{neighbour}"),
                format!("DNS record A api.{beside}.matih.ai. "),
                format!("DNS settings {beside}.matih.ai. "),
            ] {
                assert!(before.has(&of_it), "{of_it}");
            }
            assert_eq!(before.differences(&after), [""; 0], "before and after");
            judge(&slug, &answers, &held);

            world.take_out(&beside, neighbour).await;
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}

/// Compared with what was there before it, a shared tenant has a role and a schema, and nothing else anywhere.
async fn a_tenant_of_the_pooled_instance_is_in_postgres_alone(world: &RegionWorld, before: &Listing) {
    let slug = slug("pooled");
    let tenant = world.provision_shared(&slug).await;
    world.settled(tenant, "ACTIVE").await;
    eventually("its queue goes with its run", || async { world.management.tenant_queues().await.is_empty() })
        .await;
    let mut found = before.differences(&Listing::at_rest(&world.management).await);
    // The pooled instance's login is a member of the new role.
    found.retain(|line| !line.starts_with("changed: role tenant_api: "));
    found.sort();
    assert_eq!(
        found,
        [format!("new: role tenant_{tenant}"), format!("new: schema region_eastus.tenant_{tenant}")],
        "what a shared tenant adds"
    );
    world.take_out(&slug, tenant).await;
    assert_eq!(before.differences(&Listing::at_rest(&world.management).await), [""; 0], "and leaves");
}

/// Everybody was asked for every name until after the release, has had an address, and never one that was not the tenant's.
fn judge(slug: &str, answers: &[Answer], held: &HeldAddresses) {
    let released = held.released();
    for (server, name) in questions(slug) {
        let of_it = || answers.iter().filter(|one| one.server == server && one.name == name);
        assert!(of_it().any(|one| !one.addresses.is_empty()), "{server:?} gave addresses for {name}");
        assert!(of_it().any(|one| one.sent > released), "{server:?} was asked for {name} to the end");
    }
    let wrong: Vec<String> = answers.iter().filter_map(|answer| answer.against(held)).collect();
    assert_eq!(wrong, [""; 0], "{held:?}, released {:?} ago", released.elapsed());
}
