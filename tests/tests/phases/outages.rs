//! What everybody needs is down for a while: runs park, and nobody is rolled back for it.

use std::time::{Duration, Instant};

use engine::store::AuditRow;
use futures::future::join_all;
use model::{TenantId, Tier};
use tenants::StatusRow;
use tests::{Proxy, RegionWorld, Worker, api_server, slug};

/// One run in each phase that needs the cluster, and the operation it is held before.
const HELD: [(&str, &str); 9] = [
    ("CREATE_NAMESPACE", "namespace"),
    ("SETUP_DATABASE", "initialize database"),
    ("DEPLOY_CORE_SERVICES", "install ai-service"),
    ("CONFIGURE_NETWORKING", "default-deny-ingress"),
    ("DEPLOY_DATA_SERVICES", "install pipeline-service"),
    ("DEPLOY_INGRESS_CONTROLLER", "access"),
    ("CREATE_TENANT_INGRESS", "services"),
    ("DEPLOY_MONITORING", "network policies"),
    ("SETUP_OBSERVABILITY", "configuration"),
];

async fn log(world: &RegionWorld, tenant: TenantId) -> Vec<AuditRow> {
    world.store.audit(tenant, 0, 10_000).await.unwrap()
}

fn is_at(row: &StatusRow, phase: &str) -> bool {
    row.phases.iter().any(|at| at.name == phase && at.position == row.run.cursor)
}

/// Waits until the run has found this dependency down twice.
async fn parks(world: &RegionWorld, tenant: TenantId, dependency: &str) {
    let began = Instant::now();
    loop {
        let log = log(world, tenant).await;
        let down = |row: &&AuditRow| {
            row.action == "PHASE_UNAVAILABLE"
                && row.detail["error"]["code"].as_str().is_some_and(|code| code.contains(dependency))
        };
        if log.iter().filter(down).count() >= 2 {
            return;
        }
        assert!(began.elapsed() < Duration::from_mins(3), "no run parked for {dependency}, but {log:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_parks_every_run_and_rolls_nobody_back() {
    RegionWorld::run(
        |_| {},
        |world| async move {
            let cluster = Proxy::to(&api_server()).await;
            let mut platform = world.platform.clone();
            let region = platform.regions.get_mut("eastus").unwrap();
            let tenant_api = Proxy::to(region.tenant_api_url.trim_start_matches("http://")).await;
            region.tenant_api_url = format!("http://{}", tenant_api.address());
            let server = format!("https://{}", cluster.address());
            let worker =
                Worker::start(env!("CARGO_BIN_EXE_worker"), &world, &platform, Some(server), &slug("outage"));

            let mut forward = Vec::new();
            for (phase, operation) in HELD {
                let slug = slug("outage");
                worker.failpoints.set(&slug, [phase, "apply", operation, "before"], "hold");
                let tenant = world.provision_through(&slug, Tier::Professional, true, phase).await;
                forward.push((slug, tenant, phase));
            }
            // And one on its way back.
            let back = slug("outage");
            worker.failpoints.set(
                &back,
                ["SETUP_DATABASE", "apply", "verify connectivity", "after"],
                "fatal",
            );
            worker.failpoints.set(&back, ["SETUP_DATABASE", "revert", "drop database", "before"], "hold");
            let failing = world.provision_through(&back, Tier::Professional, false, "SETUP_DATABASE").await;
            for (_, tenant, phase) in &forward {
                world.working_at(*tenant, phase).await;
            }
            world
                .settled_row(failing, "rolling back", |row| {
                    row.run.direction == "backward" && row.run.claimed && is_at(row, "SETUP_DATABASE")
                })
                .await;

            tenant_api.cut().await;
            worker.failpoints.lift(&forward[1].0, &[]);
            worker.failpoints.lift(&back, &["SETUP_DATABASE", "revert"]);
            parks(&world, forward[1].1, "tenant_api").await;
            parks(&world, failing, "tenant_api").await;
            cluster.cut().await;
            for (slug, ..) in &forward {
                worker.failpoints.lift(slug, &[]);
            }
            join_all(forward.iter().map(|(_, tenant, _)| parks(&world, *tenant, "cluster"))).await;
            for (_, tenant, _) in &forward {
                let row = world.status(*tenant).await;
                assert_eq!((row.run.direction.as_str(), row.run.status.as_str()), ("forward", "running"));
            }
            cluster.open().await;
            tenant_api.open().await;

            world.settled(failing, "FAILED").await;
            world.gone(&back, failing).await;
            for (_, tenant, phase) in &forward {
                let row = world.settled(*tenant, "ACTIVE").await;
                let charged: i32 = row.phases.iter().map(|phase| phase.total_failures).sum();
                let actions = world.actions(*tenant).await;
                assert_eq!(charged, 0, "{phase}: {actions:?}");
                assert!(!actions.iter().any(|action| action == "RUN_ROLLING_BACK"), "{phase}: {actions:?}");
            }
            join_all(forward.iter().map(|(slug, tenant, _)| world.take_out(slug, *tenant))).await;
            worker.kill().await;
        },
    )
    .await;
}
