//! Changes of living tenants: new plans, the plans of before when one fails, one change at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::decide::verbs::{Situation, Verb};
use engine::phase::{Error, Progress};
use futures::future::join_all;
use model::{Change, Container, TenantId, TenantStatus, Tier};
use queue::Dispatcher;
use tenants::{ChangeError, ChangeOutcome, StatusRow};
use tests::World;

const PHASES: [&str; 3] = ["CREATE_NAMESPACE", "DEPLOY_CORE_SERVICES", "DEPLOY_DATA_SERVICES"];

/// The world's phases; the one in the middle fails for good while `failing`.
fn dispatch(world: &World, failing: &Arc<AtomicBool>) -> Dispatcher {
    let [first, middle, last] = PHASES;
    let failing = failing.clone();
    world.dispatch(vec![
        world.phase(first).telling().arc(),
        world
            .phase(middle)
            .telling()
            .on_apply(move |_| {
                let fails = failing.swap(false, Ordering::SeqCst);
                async move {
                    if fails { Err(Error::fatal("refused", "not possible")) } else { Ok(Progress::Done(())) }
                }
            })
            .arc(),
        world.phase(last).telling().arc(),
    ])
}

fn to(tier: Tier) -> Change {
    Change { tier: Some(tier), ..Change::default() }
}

fn becoming(status: TenantStatus) -> Change {
    Change { status: Some(status), ..Change::default() }
}

/// What was made, phase and shape, in order.
async fn made(world: &World, slug: &str) -> Vec<String> {
    let effects = world.effects(slug).await;
    effects.into_iter().filter(|effect| effect.contains(" as ")).collect()
}

/// The names and plans that hold for the tenant, by position.
async fn held(world: &World, tenant: TenantId) -> Vec<(String, serde_json::Value, serde_json::Value)> {
    sqlx::query_as("SELECT name, plan, checkpoint FROM tenant_phases WHERE tenant_id = $1 ORDER BY position")
        .bind(tenant.0)
        .fetch_all(&world.pool)
        .await
        .unwrap()
}

async fn ended(world: &World, tenant: TenantId, how: &str) -> StatusRow {
    world.until_row(tenant, how, |row| row.run.kind == "change" && row.run.status == how).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_tier_is_made_from_the_quota_on_and_a_smaller_one_the_other_way() {
    World::run(|world| async move {
        let dispatcher = dispatch(&world, &Arc::default());
        let tenant = world.tenant("sizes", &PHASES).await;
        let first = world.until(tenant, "ACTIVE").await;
        world.change(tenant, &to(Tier::Free)).await.unwrap();
        ended(&world, tenant, "succeeded").await;
        world.change(tenant, &to(Tier::Professional)).await.unwrap();
        let row = world
            .until_row(tenant, "professional", |row| {
                row.tenant.tier == "professional" && row.run.finished_at.is_some()
            })
            .await;
        let shape = |tier: &'static str| move |phase: &&str| format!("{phase} as {tier}");
        let expected: Vec<String> = PHASES
            .iter()
            .map(shape("professional"))
            .chain(PHASES.iter().rev().map(shape("free")))
            .chain(PHASES.iter().map(shape("professional")))
            .collect();
        assert_eq!(made(&world, "sizes").await, expected);
        assert_eq!(row.tenant.status, "ACTIVE");
        assert_eq!(
            row.tenant.provisioning_completed_at, first.tenant.provisioning_completed_at,
            "a change is no second birth"
        );
        assert!(matches!(world.change(tenant, &to(Tier::Professional)).await, Ok(ChangeOutcome::Already)));
        let kinds: Vec<String> = sqlx::query_scalar(
            "SELECT type FROM outbox WHERE tenant_id = $1 AND sink = 'kafka' ORDER BY number",
        )
        .bind(tenant.0)
        .fetch_all(&world.pool)
        .await
        .unwrap();
        assert_eq!(kinds, ["tenant.provisioned", "tenant.changed", "tenant.changed"]);
        // What holds is what a deprovisioning undoes, in the order in which it was made.
        world.ask(tenant, Verb::Delete).await.unwrap();
        world.until(tenant, "DELETED").await;
        let undone: Vec<String> = PHASES.iter().rev().map(|phase| format!("{phase} revert")).collect();
        assert!(world.effects("sizes").await.ends_with(&undone));
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_fails_leaves_everything_as_it_was_and_the_tenant_active() {
    World::run(|world| async move {
        let failing = Arc::new(AtomicBool::new(false));
        let dispatcher = dispatch(&world, &failing);
        let tenant = world.tenant("kept", &PHASES).await;
        world.until(tenant, "ACTIVE").await;
        let before = held(&world, tenant).await;
        failing.store(true, Ordering::SeqCst);
        world.change(tenant, &to(Tier::Free)).await.unwrap();
        let row = ended(&world, tenant, "failed").await;
        assert_eq!((row.tenant.status.as_str(), row.tenant.tier.as_str()), ("ACTIVE", "professional"));
        assert!(row.tenant.provisioning_error.is_none(), "the tenant is whole");
        assert_eq!(row.run.error.unwrap()["code"], "refused", "the run says why");
        assert_eq!(held(&world, tenant).await, before);
        let [first, middle, last] = PHASES;
        let made = made(&world, "kept").await;
        // The smaller tier begins with the last phase; the middle one failed before its effect; both were made again.
        assert_eq!(
            made[PHASES.len()..],
            [format!("{last} as free"), format!("{middle} as professional"), format!("{last} as professional")]
        );
        assert!(!world.effects("kept").await.contains(&format!("{first} revert")), "nothing is taken away");
        let told: Vec<(String, String)> = sqlx::query_as(
            "SELECT sink, payload->'error'->>'code' FROM outbox WHERE tenant_id = $1 AND type = 'tenant.change_failed' \
             ORDER BY sink",
        )
        .bind(tenant.0)
        .fetch_all(&world.pool)
        .await
        .unwrap();
        let refused = |sink: &str| (sink.to_owned(), "refused".to_owned());
        assert_eq!(told, [refused("kafka"), refused("operators")]);
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_tenant_can_be_resumed_and_deleted() {
    World::run(|world| async move {
        let dispatcher = dispatch(&world, &Arc::default());
        for slug in ["resumed", "removed"] {
            let tenant = world.tenant(slug, &PHASES).await;
            world.until(tenant, "ACTIVE").await;
            world.change(tenant, &becoming(TenantStatus::Suspended)).await.unwrap();
            world.until(tenant, "SUSPENDED").await;
            let made = made(&world, slug).await;
            let [_, middle, last] = PHASES;
            assert_eq!(
                made[PHASES.len()..],
                [
                    format!("{last} as professional, suspended"),
                    format!("{middle} as professional, suspended")
                ]
            );
            if slug == "removed" {
                world.ask(tenant, Verb::Delete).await.unwrap();
                world.until(tenant, "DELETED").await;
                continue;
            }
            // Another tier does not wake it.
            world.change(tenant, &to(Tier::Free)).await.unwrap();
            let row = ended(&world, tenant, "succeeded").await;
            assert_eq!(row.tenant.status, "SUSPENDED");
            assert!(self::made(&world, slug).await.contains(&format!("{last} as free, suspended")));
            world.change(tenant, &becoming(TenantStatus::Active)).await.unwrap();
            world.until(tenant, "ACTIVE").await;
            assert!(self::made(&world, slug).await.contains(&format!("{last} as free")));
        }
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_wishes_at_once_are_one_change_and_another_one_has_to_wait() {
    World::run(|world| async move {
        let dispatcher = dispatch(&world, &Arc::default());
        let tenant = world.tenant("wished", &PHASES).await;
        world.until(tenant, "ACTIVE").await;
        // Nobody works at it, so that all of them meet it where it begins.
        dispatcher.stop().await.unwrap();
        let free = to(Tier::Free);
        let begun = join_all((0..10).map(|_| world.change(tenant, &free))).await;
        let first = begun[0].as_ref().unwrap();
        assert!(begun.iter().all(|begun| begun.as_ref().unwrap() == first), "{begun:?}");
        let other = world.change(tenant, &becoming(TenantStatus::Suspended)).await;
        assert!(matches!(other, Err(ChangeError::NotNow(Situation::Changing))), "{other:?}");
        let dispatcher = dispatch(&world, &Arc::default());
        ended(&world, tenant, "succeeded").await;
        let runs: i64 = sqlx::query_scalar("SELECT count(*) FROM provisioning_runs WHERE tenant_id = $1")
            .bind(tenant.0)
            .fetch_one(&world.pool)
            .await
            .unwrap();
        assert_eq!(runs, 2);
        let failed = world.tenant("unmade", &["UNKNOWN"]).await;
        let refused = world.change(failed, &free).await;
        assert!(matches!(refused, Err(ChangeError::NotNow(Situation::Forward))), "{refused:?}");
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_change_can_be_made_or_taken_back_later() {
    World::run(|world| async move {
        let failing = Arc::new(AtomicBool::new(false));
        let dispatcher = dispatch(&world, &failing);
        let tenant = world.tenant("halved", &PHASES).await;
        world.until(tenant, "ACTIVE").await;
        dispatcher.stop().await.unwrap();
        world.change(tenant, &to(Tier::Free)).await.unwrap();
        world.ask(tenant, Verb::Abandon).await.unwrap();
        let row = ended(&world, tenant, "abandoned").await;
        assert_eq!((row.tenant.status.as_str(), row.tenant.tier.as_str()), ("ACTIVE", "professional"));
        assert_eq!(row.run.error.unwrap()["code"], "abandoned_by_operator");
        // What the tenant's row says need not be what its phases hold, so that it is made so once more.
        let again = world.change(tenant, &to(Tier::Professional)).await.unwrap();
        assert!(matches!(again, ChangeOutcome::Run { .. }), "{again:?}");
        let dispatcher = dispatch(&world, &failing);
        ended(&world, tenant, "succeeded").await;
        assert_eq!(made(&world, "halved").await.len(), 2 * PHASES.len());
        assert_eq!(world.change(tenant, &to(Tier::Professional)).await.unwrap(), ChangeOutcome::Already);
        // Nothing follows from it.
        let container = Container { image: Some("other".into()), size: None };
        let refused = world.change(tenant, &Change { container: Some(container), ..Change::default() }).await;
        assert!(matches!(refused, Err(ChangeError::Unmade)), "{refused:?}");
        dispatcher.stop().await.unwrap();
    })
    .await;
}
