//! What becomes due by itself: deletions after the retention, licences that end soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::phase::{Error, Progress};
use futures::future::join_all;
use model::platform::Seconds;
use model::{Change, TenantId, TenantStatus, Tier};
use queue::Dispatcher;
use tenants::{ChangeOutcome, Duty, ScheduledRun};
use tests::World;

const PHASES: [&str; 3] = ["CREATE_NAMESPACE", "ISSUE_LICENSE", "DEPLOY_CORE_SERVICES"];
const WEEK: f64 = 7.0 * 24.0 * 3600.0;

/// The world's phases; the licence's fails while `failing`.
fn dispatch(world: &World, failing: &Arc<AtomicBool>) -> Dispatcher {
    let [namespace, license, services] = PHASES;
    let failing = failing.clone();
    world.dispatch(vec![
        world.phase(namespace).telling().arc(),
        world
            .phase(license)
            .telling()
            .on_apply(move |_| {
                let fails = failing.swap(false, Ordering::SeqCst);
                async move {
                    if fails { Err(Error::fatal("license_key", "no key")) } else { Ok(Progress::Done(())) }
                }
            })
            .arc(),
        world.phase(services).telling().arc(),
    ])
}

async fn upkeep(world: &World) -> Vec<(TenantId, Duty)> {
    let begun = world.store.upkeep(&world.platform).await.unwrap();
    world.store.notify().await.unwrap();
    begun.into_iter().map(|ScheduledRun { tenant, duty, .. }| (tenant, duty)).collect()
}

/// The tenant's time has come.
async fn let_time_pass(world: &World, tenant: TenantId) {
    sqlx::query("UPDATE tenants SET delete_at = clock_timestamp() WHERE id = $1 AND delete_at IS NOT NULL")
        .bind(tenant.0)
        .execute(&world.pool)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_tenant_is_suspended_and_goes_when_its_retention_is_over() {
    World::run(|world| async move {
        let dispatcher = dispatch(&world, &Arc::default());
        let tenant = world.tenant("leaving", &PHASES).await;
        world.until(tenant, "ACTIVE").await;
        let first = world.delete_after(tenant, WEEK).await;
        let row = world.until(tenant, "SUSPENDED").await;
        assert!(first.delete_at.is_some());
        assert_eq!(row.tenant.delete_at, first.delete_at);
        let left = (row.tenant.delete_at.unwrap() - row.now).as_seconds_f64();
        assert!((WEEK - 120.0..=WEEK).contains(&left), "{left}");
        assert_eq!(world.delete_after(tenant, WEEK).await.delete_at, first.delete_at, "the first time holds");
        assert_eq!(upkeep(&world).await, []);
        let undone = |effects: &[String]| effects.iter().any(|effect| effect.ends_with(" revert"));
        assert!(!undone(&world.effects("leaving").await), "nothing is taken away before");
        let_time_pass(&world, tenant).await;
        // However many look at once.
        let begun = join_all((0..8).map(|_| upkeep(&world))).await.concat();
        assert_eq!(begun, [(tenant, Duty::Deletion)]);
        world.until(tenant, "DELETED").await;
        assert!(undone(&world.effects("leaving").await));
        assert_eq!(upkeep(&world).await, []);
        let actions: Vec<String> = sqlx::query_scalar(
            "SELECT action FROM provisioning_audit_logs WHERE tenant_id = $1 AND action LIKE 'DELETION%'",
        )
        .bind(tenant.0)
        .fetch_all(&world.pool)
        .await
        .unwrap();
        assert_eq!(actions, ["DELETION_SCHEDULED"]);
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_resumed_stays() {
    World::run(|world| async move {
        let dispatcher = dispatch(&world, &Arc::default());
        let tenant = world.tenant("staying", &PHASES).await;
        world.until(tenant, "ACTIVE").await;
        world.delete_after(tenant, WEEK).await;
        world.until(tenant, "SUSPENDED").await;
        let resume = Change { status: Some(TenantStatus::Active), ..Change::default() };
        world.change(tenant, &resume).await.unwrap();
        let_time_pass(&world, tenant).await;
        let row = world.until(tenant, "ACTIVE").await;
        assert_eq!(row.tenant.delete_at, None);
        assert_eq!(upkeep(&world).await, []);
        // At once where that is asked for, from SUSPENDED too.
        world.delete_after(tenant, WEEK).await;
        world.until(tenant, "SUSPENDED").await;
        world.delete_after(tenant, 0.0).await;
        world.until(tenant, "DELETED").await;
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_in_the_middle_of_a_change_lets_it_end_and_keeps_the_data() {
    World::run(|world| async move {
        let dispatcher = dispatch(&world, &Arc::default());
        let tenant = world.tenant("changing", &PHASES).await;
        world.until(tenant, "ACTIVE").await;
        dispatcher.stop().await.unwrap();
        let free = Change { tier: Some(Tier::Free), ..Change::default() };
        let ChangeOutcome::Run { id, .. } = world.change(tenant, &free).await.unwrap() else {
            panic!("a run")
        };
        let deletion = world.delete_after(tenant, WEEK).await;
        assert_eq!((deletion.run_id, deletion.pending), (id, true));
        assert_eq!(upkeep(&world).await, [], "one run at a time");
        let dispatcher = dispatch(&world, &Arc::default());
        let changed = |row: &tenants::StatusRow| {
            row.tenant.tier == "free" && row.run.finished_at.is_some() && row.tenant.status == "ACTIVE"
        };
        world.until_row(tenant, "changed", changed).await;
        assert_eq!(upkeep(&world).await, [(tenant, Duty::Suspension)]);
        world.until(tenant, "SUSPENDED").await;
        let_time_pass(&world, tenant).await;
        assert_eq!(upkeep(&world).await, [(tenant, Duty::Deletion)]);
        world.until(tenant, "DELETED").await;
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_licence_that_ends_soon_is_issued_anew_and_a_failure_is_not_begun_again_at_once() {
    World::run(|mut world| async move {
        let failing = Arc::new(AtomicBool::new(false));
        let dispatcher = dispatch(&world, &failing);
        let tenant = world.tenant("licensed", &PHASES).await;
        let row = world.until(tenant, "ACTIVE").await;
        let ends_in = async |days: i32| {
            sqlx::query(
                "INSERT INTO tenant_licenses (id, tenant_id, sealed, wrapped_key, kek_id, signing_key_id, issued_at, \
                 expires_at, created_by_run) VALUES ($1, $2, '', '', '', '', now(), now() + make_interval(days => $3), $4) \
                 ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at",
            )
            .bind(tenant.0)
            .bind(tenant.0)
            .bind(days)
            .bind(row.run.id)
            .execute(&world.pool)
            .await
            .unwrap();
        };
        ends_in(31).await;
        assert_eq!(upkeep(&world).await, []);
        ends_in(29).await;
        failing.store(true, Ordering::SeqCst);
        assert_eq!(upkeep(&world).await, [(tenant, Duty::Renewal)]);
        let failed = world.until_row(tenant, "failed", |row| row.run.status == "failed").await;
        assert_eq!(failed.run.error.unwrap()["code"], "license_key");
        let phases: Vec<&str> = failed.phases.iter().map(|phase| phase.name.as_str()).collect();
        assert_eq!(phases, ["ISSUE_LICENSE"], "nothing else is touched");
        assert_eq!(upkeep(&world).await, [], "not before again_after");
        world.platform.lifecycle.again_after = Seconds(0.001);
        assert_eq!(upkeep(&world).await, [(tenant, Duty::Renewal)]);
        world.until_row(tenant, "renewed", |row| row.run.status == "succeeded").await;
        dispatcher.stop().await.unwrap();
    })
    .await;
}

/// The domains that the tenant's newest run is to serve.
async fn begun_domains(world: &World, tenant: TenantId) -> Vec<String> {
    let change: sqlx::types::Json<Change> = sqlx::query_scalar(
        "SELECT change FROM provisioning_runs WHERE tenant_id = $1 ORDER BY created_at DESC LIMIT 1",
    )
    .bind(tenant.0)
    .fetch_one(&world.pool)
    .await
    .unwrap();
    change.0.domains.unwrap().into_iter().map(|own| own.domain).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_whose_serving_has_failed_are_served_anew_after_a_while() {
    World::run(|world| async move {
        const SERVE: &str = "SERVE_DOMAINS";
        let failing = Arc::new(AtomicBool::new(false));
        let fails = failing.clone();
        let serve = world.phase(SERVE).on_apply(move |_| {
            // Once: the undo applies what was before.
            let fails = fails.swap(false, Ordering::SeqCst);
            async move { if fails { Err(Error::fatal("cluster", "no")) } else { Ok(Progress::Done(())) } }
        });
        let dispatcher = world.dispatch(vec![world.phase(PHASES[0]).arc(), serve.arc()]);
        let tenant = world.tenant("served", &PHASES[..1]).await;
        world.until(tenant, "ACTIVE").await;
        for domain in ["a.example", "b.example"] {
            world.store.claim_domain(tenant, domain, &world.platform.domains, "tester").await.unwrap();
            world.store.domain_verified(tenant, domain, "tester").await.unwrap().unwrap();
        }
        let ended = async |status: &str| {
            let run = world.status(tenant).await.run.id;
            world.until_row(tenant, status, |row| row.run.id == run && row.run.status == status).await;
        };
        let served = async || {
            let effects = world.effects("served").await;
            effects.iter().filter(|effect| **effect == format!("{SERVE} apply")).count()
        };
        let mut soon = world.platform.clone();
        soon.lifecycle.again_after = Seconds(0.001);
        let begin = async || {
            let begun = world.store.upkeep(&soon).await.unwrap();
            world.store.notify().await.unwrap();
            begun.into_iter().map(|ScheduledRun { duty, .. }| duty).collect::<Vec<_>>()
        };
        // The first time, and when one is given up.
        for (given_up, left) in [(None, &["a.example", "b.example"][..]), (Some("a.example"), &["b.example"])]
        {
            if let Some(domain) = given_up {
                assert!(world.store.give_up_domain(tenant, domain, "tester").await.unwrap());
            }
            failing.store(true, Ordering::SeqCst);
            assert_eq!(begin().await, [Duty::Domains]);
            ended("failed").await;
            assert_eq!(upkeep(&world).await, [], "not before again_after");
            let before = served().await;
            assert_eq!(begin().await, [Duty::Domains]);
            ended("succeeded").await;
            assert_eq!(served().await, before + 1);
            assert_eq!(begun_domains(&world, tenant).await, left);
            assert_eq!(begin().await, [], "all is served");
        }
        dispatcher.stop().await.unwrap();
    })
    .await;
}
