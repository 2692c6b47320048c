//! Refreshing the tenants' own instances: nothing of a tenant changes, and its phase is planned and done again all the same.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::phase::{Error, Progress};
use model::{Change, DeploymentType, TenantId, TenantStatus};
use queue::Dispatcher;
use serde_json::{Value, json};
use tenants::{ChangeError, ChangeOutcome, RefreshSummary, StatusRow};
use tests::World;
use tokio::process::Command;

const PHASES: [&str; 3] = ["CREATE_NAMESPACE", "PROVISION_DEPLOYMENT", "ISSUE_LICENSE"];

fn refresh() -> Change {
    Change { refreshes_deployment: true, ..Change::default() }
}

/// The world's phases; PROVISION_DEPLOYMENT fails for good while `failing`.
fn dispatch(world: &World, failing: &Arc<AtomicBool>) -> Dispatcher {
    let failing = failing.clone();
    let own = world.phase("PROVISION_DEPLOYMENT").on_apply(move |_| {
        let fails = failing.swap(false, Ordering::SeqCst);
        async move { if fails { Err(Error::fatal("not_ready", "no")) } else { Ok(Progress::Done(())) } }
    });
    world.dispatch(vec![world.phase("CREATE_NAMESPACE").arc(), own.arc(), world.phase("ISSUE_LICENSE").arc()])
}

async fn ended(world: &World, tenant: TenantId, run: ChangeOutcome) -> StatusRow {
    let ChangeOutcome::Run { id, .. } = run else { panic!("no run: {run:?}") };
    world.until_row(tenant, "its end", |row| row.run.id == id.0 && row.run.finished_at.is_some()).await
}

/// Types and sinks of what the world is told of changes, in order.
async fn told(world: &World, tenant: TenantId) -> Vec<(String, String)> {
    sqlx::query_as(
        "SELECT type, sink FROM outbox WHERE tenant_id = $1 AND type LIKE 'tenant.change%' ORDER BY number",
    )
    .bind(tenant.0)
    .fetch_all(&world.pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_does_the_instances_phase_again_each_time_and_one_that_fails_is_taken_back() {
    World::run(|world| async move {
        let failing = Arc::new(AtomicBool::new(false));
        let dispatcher = dispatch(&world, &failing);
        let tenant = world.tenant("fresh", &PHASES).await;
        world.until(tenant, "ACTIVE").await;
        dispatcher.stop().await.unwrap();
        // Asked twice while nobody works at it, it is one run; nothing else is begun beside it.
        let first = world.change(tenant, &refresh()).await.unwrap();
        assert_eq!(world.change(tenant, &refresh()).await.unwrap(), first);
        let suspend = Change { status: Some(TenantStatus::Suspended), ..Change::default() };
        assert!(matches!(world.change(tenant, &suspend).await, Err(ChangeError::NotNow(_))));
        let dispatcher = dispatch(&world, &failing);
        let row = ended(&world, tenant, first).await;
        assert_eq!((row.run.status.as_str(), row.tenant.status.as_str()), ("succeeded", "ACTIVE"));
        let second = world.change(tenant, &refresh()).await.unwrap();
        assert_ne!(second, first, "it may be asked for again at any time");
        ended(&world, tenant, second).await;
        let effects = ["CREATE_NAMESPACE", "PROVISION_DEPLOYMENT", "ISSUE_LICENSE"]
            .into_iter()
            .chain(["PROVISION_DEPLOYMENT"; 2])
            .map(|phase| format!("{phase} apply"));
        assert_eq!(world.effects("fresh").await, effects.collect::<Vec<_>>());
        let changed = || ("tenant.changed".to_owned(), "kafka".to_owned());
        assert_eq!(told(&world, tenant).await, [changed(), changed()], "nobody gets a letter");

        failing.store(true, Ordering::SeqCst);
        let third = world.change(tenant, &refresh()).await.unwrap();
        let row = ended(&world, tenant, third).await;
        assert_eq!((row.run.status.as_str(), row.tenant.status.as_str()), ("failed", "ACTIVE"));
        assert_eq!(row.run.error.unwrap()["code"], "not_ready");
        // What was before was made again, and nothing taken away.
        assert!(world.effects("fresh").await.iter().all(|effect| !effect.ends_with("revert")));
        let mut failed = told(&world, tenant).await.split_off(2);
        failed.sort();
        let of = |sink: &str| ("tenant.change_failed".to_owned(), sink.to_owned());
        assert_eq!(failed, [of("kafka"), of("operators")]);
        dispatcher.stop().await.unwrap();
    })
    .await;
}

/// Records an instance as PROVISION_DEPLOYMENT does.
async fn record(world: &World, tenant: TenantId) {
    sqlx::query(
        "INSERT INTO tenant_deployments (tenant_id, container_id, namespace, name, endpoint, url, image, size, resources, \
             replicas, created_by_run) \
         SELECT $1, 'uid', 'n', 'tenant-api', 'http://n', 'https://n', 'image', 'small', '{}', 1, id \
         FROM provisioning_runs WHERE tenant_id = $1",
    )
    .bind(tenant.0)
    .execute(&world.pool)
    .await
    .unwrap();
}

/// Runs `dispatcher deployments refresh` with this more; what it prints, if it succeeds.
async fn command(world: &World, more: &[&str]) -> Result<Value, String> {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("platform.toml");
    std::fs::write(&config, toml::to_string(&world.platform).unwrap()).unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_worker"))
        .args(["deployments", "refresh"])
        .args(more)
        .env("DATABASE_URL", &world.database_url)
        .env("TENANTRY_CONFIG", config)
        .env_remove("DATABASE_DIRECT_URL")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    if ran.status.success() {
        // Its log may be in the same place.
        let line = said.lines().find(|line| line.contains("begun")).unwrap();
        return Ok(serde_json::from_str(line).unwrap());
    }
    Err(format!("{said}{}", String::from_utf8_lossy(&ran.stderr)))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_refreshes_every_own_instance_and_counts_those_it_has_to_leave() {
    World::run(|world| async move {
        let dispatcher = dispatch(&world, &Arc::default());
        let mut tenants = HashMap::new();
        for slug in ["active", "asleep", "elsewhere", "busy", "pooled", "unmade"] {
            let tenant = world
                .tenant_as(slug, &PHASES, |new| {
                    if slug == "elsewhere" {
                        new.region = "za-north".into();
                    }
                    if slug == "pooled" {
                        new.deployment_type = DeploymentType::Shared;
                        new.has_dedicated_database = false;
                        new.phases.remove(1);
                    }
                })
                .await;
            world.until(tenant, "ACTIVE").await;
            if slug != "pooled" {
                record(&world, tenant).await;
            }
            tenants.insert(slug, tenant);
        }
        let suspend = Change { status: Some(TenantStatus::Suspended), ..Change::default() };
        world.change(tenants["asleep"], &suspend).await.unwrap();
        world.until(tenants["asleep"], "SUSPENDED").await;
        dispatcher.stop().await.unwrap();
        sqlx::query("UPDATE tenants SET status = 'FAILED' WHERE slug = 'unmade'")
            .execute(&world.pool)
            .await
            .unwrap();
        world.change(tenants["busy"], &suspend).await.unwrap();
        let region = serde_json::from_value(json!({
            "tenant_api_url": "http://pooled", "internal_secret": "env:NONE",
            "database": { "host": "db", "port": 5432, "shared_database": "region", "admin_user": "admin",
                          "admin_password": "env:NONE" },
        }))
        .unwrap();
        world.store.make_region("eastus", &region, "tester").await.unwrap();

        let unknown = command(&world, &["--region", "mars"]).await.unwrap_err();
        assert!(unknown.contains("'mars'"), "{unknown}");
        let here = command(&world, &["--region", "eastus"]).await.unwrap();
        assert_eq!(here, json!({ "begun": 2, "underWay": 1 }));
        // Again, of all regions: what the first call began is under way.
        assert_eq!(command(&world, &[]).await.unwrap(), json!({ "begun": 1, "underWay": 3 }));
        for (slug, refreshed) in [("active", true), ("asleep", true), ("elsewhere", true), ("busy", false)] {
            let change = world.status(tenants[slug]).await.run.change.unwrap();
            assert_eq!(change["refreshesDeployment"] == json!(true), refreshed, "{slug}: {change}");
        }
        for slug in ["pooled", "unmade"] {
            assert_eq!(world.status(tenants[slug]).await.run.kind, "provision", "{slug}");
        }
        let dispatcher = dispatch(&world, &Arc::default());
        for slug in ["active", "elsewhere", "busy"] {
            world.until_row(tenants[slug], "its end", |row| row.run.finished_at.is_some()).await;
        }
        let row = world.until_row(tenants["asleep"], "its end", |row| row.run.finished_at.is_some()).await;
        assert_eq!(row.tenant.status, "SUSPENDED", "a refresh wakes nobody");
        let again = world.store.refresh_deployments(None, "tester").await.unwrap();
        assert_eq!(again, RefreshSummary { begun: 4, under_way: 0 });
        dispatcher.stop().await.unwrap();
    })
    .await;
}
