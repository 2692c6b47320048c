//! Living tenants: another tier, a change that fails, suspended and resumed.

use model::{Change, Container, TenantId, TenantStatus, Tier};
use tenants::StatusRow;
use tests::{Failpoints, RegionWorld, eventually, kubectl, slug};

/// Those that read what is changed; names and certificates do not.
const PHASES: [&str; 7] = [
    "CREATE_NAMESPACE",
    "PROVISION_DEPLOYMENT",
    "ISSUE_LICENSE",
    "SETUP_DATABASE",
    "DEPLOY_CORE_SERVICES",
    "DEPLOY_MONITORING",
    "SETUP_OBSERVABILITY",
];

/// The quota, and what every workload asks for.
pub async fn shape(namespace: &str) -> String {
    let quota = ["get", "resourcequota", "tenant-quota", "-n", namespace, "-o=jsonpath={.spec.hard}"];
    let workloads = "-o=jsonpath={range .items[*]}{.kind} {.metadata.name} {.spec.replicas} \
                     {.spec.template.spec.containers[*].resources}{\"\\n\"}{end}";
    let workloads = ["get", "deployments,statefulsets", "-n", namespace, workloads];
    format!("{}\n{}", kubectl(&quota).await, kubectl(&workloads).await)
}

async fn changed(world: &RegionWorld, tenant: TenantId, change: &Change, how: &str) -> StatusRow {
    world.change(tenant, change).await.unwrap();
    world.settled_row(tenant, how, |row| row.run.kind == "change" && row.run.finished_at.is_some()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_changes_its_tier_and_is_suspended_and_resumed_with_its_data() {
    let failpoints = Failpoints::of_this_process();
    RegionWorld::run(
        |_| {},
        |world| async move {
            let dispatcher = world.dispatch_all().await;
            let slug = slug("living");
            let namespace = format!("matih-{slug}");
            let tenant = world.provision_these(&slug, Tier::Free, false, &PHASES).await;
            world.settled(tenant, "ACTIVE").await;
            // As the tenant: nobody else may make anything there.
            let role = format!("\"tenant_{tenant}\"");
            let as_tenant = |statement: &str| {
                let whole = format!(
                    "GRANT {role} TO CURRENT_USER; SET ROLE {role}; {statement}; RESET ROLE; REVOKE {role} FROM CURRENT_USER"
                );
                let world = &world;
                async move { world.region_sql(&whole).await }
            };
            as_tenant(&format!("CREATE TABLE {role}.kept AS SELECT 'theirs' AS what")).await;
            let limit = format!("SELECT rolconnlimit::text FROM pg_roles WHERE rolname = 'tenant_{tenant}'");
            let limit = || world.region_value(&limit);
            let free = shape(&namespace).await;
            assert_eq!(limit().await.as_deref(), Some("-1"));

            let tier = |tier| Change { tier: Some(tier), ..Change::default() };
            let becomes = |status| Change { status: Some(status), ..Change::default() };
            let row = changed(&world, tenant, &tier(Tier::Professional), "professional").await;
            assert_eq!((row.run.status.as_str(), row.tenant.tier.as_str()), ("succeeded", "professional"));
            let professional = shape(&namespace).await;
            assert!(!free.contains("1Gi") && professional.contains("1Gi"), "{free}\n{professional}");
            assert_ne!(free.lines().next(), professional.lines().next(), "the quota");
            assert_eq!(limit().await.as_deref(), Some("20"));

            failpoints.set(&slug, ["DEPLOY_CORE_SERVICES", "apply", "install ai-service", "before"], "fatal");
            let row = changed(&world, tenant, &tier(Tier::Free), "taken back").await;
            assert_eq!((row.run.status.as_str(), row.tenant.tier.as_str()), ("failed", "professional"));
            assert_eq!(row.run.error.unwrap()["code"], "failpoint");
            assert_eq!(shape(&namespace).await, professional, "as it was before the change that failed");
            failpoints.lift(&slug, &[]);

            // Its own instance, first with what is taken back.
            let image = || async {
                let image = "-o=jsonpath={.spec.template.spec.containers[0].image}";
                kubectl(&["get", "deployment", "tenant-api", "-n", &namespace, image]).await
            };
            let container = Change {
                container: Some(Container { image: Some("own/api:2".into()), size: Some("large".into()) }),
                ..Change::default()
            };
            failpoints.set(&slug, ["PROVISION_DEPLOYMENT", "apply", "ready", "after"], "fatal");
            let row = changed(&world, tenant, &container, "taken back").await;
            assert_eq!((row.run.status.as_str(), row.tenant.status.as_str()), ("failed", "ACTIVE"));
            assert_eq!(shape(&namespace).await, professional, "as it was before the change that failed");
            assert_eq!(image().await, "ip4x/tenant-api:latest");
            let recorded = || async { world.store.deployment(tenant).await.unwrap().unwrap() };
            assert_eq!(
                (recorded().await.image.as_str(), recorded().await.size.as_str()),
                ("ip4x/tenant-api:latest", "medium")
            );
            failpoints.lift(&slug, &[]);
            let row = changed(&world, tenant, &container, "another image").await;
            assert_eq!(row.run.status, "succeeded");
            assert_eq!(image().await, "own/api:2");
            assert_eq!(
                (recorded().await.image.as_str(), recorded().await.size.as_str()),
                ("own/api:2", "large")
            );
            let chosen = recorded().await.chosen.0;
            assert_eq!(Some(&chosen), container.container.as_ref());
            let back = Change { container: Some(Container::default()), ..Change::default() };
            changed(&world, tenant, &back, "as the platform says").await;
            assert_eq!(shape(&namespace).await, professional);

            let row = changed(&world, tenant, &becomes(TenantStatus::Suspended), "suspended").await;
            assert_eq!(row.tenant.status, "SUSPENDED");
            eventually("no pod is left", || async {
                kubectl(&["get", "pods", "-n", &namespace, "-o=name"]).await.is_empty()
            })
            .await;
            let row = changed(&world, tenant, &becomes(TenantStatus::Active), "resumed").await;
            assert_eq!(row.tenant.status, "ACTIVE");
            assert_eq!(shape(&namespace).await, professional, "as it was before it was suspended");

            changed(&world, tenant, &tier(Tier::Free), "free").await;
            assert_eq!(shape(&namespace).await, free, "as it was made");
            assert_eq!(limit().await.as_deref(), Some("-1"));
            // No change touches data.
            as_tenant(&format!("DO $$ BEGIN ASSERT (SELECT what FROM {role}.kept) = 'theirs'; END $$")).await;

            world.take_out(&slug, tenant).await;
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}
