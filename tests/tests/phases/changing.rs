//! A change of a living tenant while things go wrong: its worker is killed, the API server is down while it is taken back.

use model::{Change, Tier};
use tenants::StatusRow;
use tests::{Proxy, RegionWorld, Worker, api_server, eventually, slug};

use crate::living::shape;

const PHASES: [&str; 3] = ["CREATE_NAMESPACE", "ISSUE_LICENSE", "DEPLOY_CORE_SERVICES"];

fn ended(row: &StatusRow) -> bool {
    row.run.kind == "change" && row.run.finished_at.is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_survives_its_worker_and_an_outage_and_is_made_whole_or_not_at_all() {
    RegionWorld::run(
        |_| {},
        |world| async move {
            let cluster = Proxy::to(&api_server()).await;
            let server = || Some(format!("https://{}", cluster.address()));
            let start = || {
                Worker::start(
                    env!("CARGO_BIN_EXE_worker"),
                    &world,
                    &world.platform,
                    server(),
                    &slug("changer"),
                )
            };
            let worker = start();
            let slug = slug("changing");
            let namespace = format!("matih-{slug}");
            let tenant = world.provision_these(&slug, Tier::Free, false, &PHASES).await;
            world.settled(tenant, "ACTIVE").await;
            let free = shape(&namespace).await;
            let professional = Change { tier: Some(Tier::Professional), ..Change::default() };

            // Killed between two effects: the change is gone on with from there.
            let place = ["DEPLOY_CORE_SERVICES", "apply", "install catalog-service", "before"];
            worker.failpoints.set(&slug, place, "hold");
            world.change(tenant, &professional).await.unwrap();
            world.working_at(tenant, "DEPLOY_CORE_SERVICES").await;
            let half = |row: &StatusRow| {
                let phase = row.phases.iter().find(|phase| phase.name == "DEPLOY_CORE_SERVICES");
                let operations = phase.and_then(|phase| phase.operations.as_array());
                operations
                    .into_iter()
                    .flatten()
                    .any(|one| one["name"] == "install ai-service" && one["state"] == "done")
            };
            world.settled_row(tenant, "half made", half).await;
            worker.kill().await;
            let worker = start();
            let row = world.settled_row(tenant, "made", ended).await;
            assert_eq!((row.run.status.as_str(), row.tenant.tier.as_str()), ("succeeded", "professional"));
            let lost: i32 = row.phases.iter().map(|phase| phase.lost).sum();
            let failed: i32 = row.phases.iter().map(|phase| phase.total_failures).sum();
            assert_eq!((lost, failed), (1, 0), "{row:#?}");
            let large = shape(&namespace).await;
            assert_ne!(large, free);

            // It fails, and while it is taken back the API server is away.
            let to_free = Change { tier: Some(Tier::Free), ..Change::default() };
            worker.failpoints.set(&slug, ["CREATE_NAMESPACE", "apply", "quota", "before"], "fatal");
            worker.failpoints.set(
                &slug,
                ["DEPLOY_CORE_SERVICES", "revert", "install ai-service", "before"],
                "hold",
            );
            world.change(tenant, &to_free).await.unwrap();
            let back = |row: &StatusRow| {
                let at = row.phases.iter().find(|phase| phase.position == row.run.cursor);
                row.run.direction == "backward"
                    && row.run.claimed
                    && at.is_some_and(|phase| phase.name == "DEPLOY_CORE_SERVICES")
            };
            world.settled_row(tenant, "being taken back", back).await;
            cluster.cut().await;
            worker.failpoints.lift(&slug, &[]);
            eventually("the run waits for the cluster", || async {
                world.actions(tenant).await.iter().any(|action| action == "PHASE_UNAVAILABLE")
            })
            .await;
            assert_eq!(world.status(tenant).await.tenant.status, "ACTIVE");
            cluster.open().await;
            let row = world.settled_row(tenant, "taken back", ended).await;
            assert_eq!((row.run.status.as_str(), row.tenant.tier.as_str()), ("failed", "professional"));
            assert_eq!(row.run.error.unwrap()["code"], "failpoint");
            assert_eq!(shape(&namespace).await, large, "as it was before the change that failed");

            world.take_out(&slug, tenant).await;
            worker.kill().await;
        },
    )
    .await;
}
