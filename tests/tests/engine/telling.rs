//! What the operators are told of runs that wait for one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::decide::verbs::Verb;
use engine::phase::{Error, Job, Progress};
use model::{Change, OnFailure, TenantId, Tier};
use queue::Publisher;
use serde_json::{Value, json};
use tenants::StatusRow;
use tests::{World, eventually, seconds};

/// What the operators were told of the tenant's runs that wait, in order. Nobody else is told.
pub async fn told(world: &World, tenant: TenantId) -> Vec<Value> {
    let rows: Vec<(String, Value)> = sqlx::query_as(
        "SELECT sink, payload FROM outbox WHERE tenant_id = $1 AND type = 'tenant.run_waiting' ORDER BY number",
    )
    .bind(tenant.0)
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert!(rows.iter().all(|(sink, _)| sink == "operators"), "{rows:?}");
    rows.into_iter().map(|(_, payload)| payload).collect()
}

async fn halted(world: &World, tenant: TenantId, status: &str, after: i64) -> StatusRow {
    world.until_row(tenant, status, |row| row.run.status == status && row.run.seq > after).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_is_stuck_is_told_once_however_often_it_is_looked_at_and_again_when_it_is_stuck_again() {
    World::run(|world| async move {
        let publisher = Publisher::new(&world.broker());
        let dispatcher = world.dispatch(vec![
            world
                .phase("ONE")
                .on_revert(|attempt| async move {
                    if attempt.entered <= 6 {
                        return Err(Error::retryable("held", "something holds it").next("Let it go."));
                    }
                    Ok(Progress::Done(()))
                })
                .arc(),
            world.phase("TWO").on_apply(|_| async { Err(Error::fatal("no", "never")) }).arc(),
        ]);
        let tenant = world.tenant("stuck", &["ONE", "TWO"]).await;
        let row = halted(&world, tenant, "stuck", 0).await;
        let once = told(&world, tenant).await;
        let expected = json!({
            "tenantId": tenant, "slug": "stuck", "name": "stuck", "tier": "professional", "region": "eastus",
            "adminEmail": "admin@stuck.example", "runId": row.run.id, "seq": row.run.seq, "phase": "ONE",
            "runStatus": "stuck", "situation": "stuck while rolling back",
            "allowedActions": ["retry", "skip", "abandon", "delete"],
            "error": { "code": "held", "message": "something holds it", "nextAction": "Let it go.", "kind": "retryable" },
        });
        assert_eq!(once, [expected]);

        // Messages of the transition before and of this one, which are through before the next one's.
        let own = world.job(tenant, 0).await;
        for job in [Job { seq: own.seq - 1, ..own.clone() }, own] {
            for _ in 0..10 {
                publisher.publish(&job).await.unwrap();
            }
        }
        world.ask(tenant, Verb::Retry).await.unwrap();
        let again = halted(&world, tenant, "stuck", row.run.seq).await;
        let twice = told(&world, tenant).await;
        let at: Vec<&Value> = twice.iter().map(|told| &told["seq"]).collect();
        assert_eq!(at, [&json!(row.run.seq), &json!(again.run.seq)]);

        world.ask(tenant, Verb::Retry).await.unwrap();
        world.until(tenant, "FAILED").await;
        assert_eq!(told(&world, tenant).await, twice, "it waits no more");
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_pauses_on_failure_is_told_and_one_that_an_operator_pauses_is_not() {
    World::run(|world| async move {
        let dispatcher = world.dispatch(vec![
            world
                .phase("ONE")
                .on_apply(|attempt| async move {
                    if attempt.slug == "wanted" {
                        return Ok(Progress::wait(std::time::Duration::from_hours(1), "the test"));
                    }
                    Err(Error::fatal("no_chart", "no chart").next("Publish the chart."))
                })
                .arc(),
        ]);
        let pausing =
            |slug: &'static str| world.tenant_as(slug, &["ONE"], |new| new.on_failure = OnFailure::Pause);
        let failed = pausing("failed").await;
        let row = halted(&world, failed, "paused", 0).await;
        let told_of = told(&world, failed).await;
        assert_eq!(told_of.len(), 1, "{told_of:?}");
        let of = |key: &str| told_of[0][key].clone();
        assert_eq!(
            (of("phase"), of("runStatus"), of("seq")),
            (json!("ONE"), json!("paused"), json!(row.run.seq))
        );
        assert_eq!(of("situation"), "paused while being provisioned");
        assert_eq!(of("allowedActions"), json!(["retry", "rollback", "resume", "abandon", "delete"]));
        assert_eq!(
            (&of("error")["code"], &of("error")["nextAction"]),
            (&json!("no_chart"), &json!("Publish the chart."))
        );

        let wanted = pausing("wanted").await;
        world.until_row(wanted, "parked", |row| row.phases[1].waiting_on.is_some()).await;
        world.ask(wanted, Verb::Pause).await.unwrap();
        halted(&world, wanted, "paused", 0).await;
        assert_eq!(told(&world, wanted).await, [json!(null); 0]);
        dispatcher.stop().await.unwrap();
    })
    .await;
}

/// Told and paused is one transaction: the one without the other is never written.
#[tokio::test(flavor = "multi_thread")]
async fn no_run_waits_for_operators_who_could_not_be_told() {
    World::run(|mut world| async move {
        world.platform.engine.lease = seconds(2.0);
        world.platform.engine.sweep_cap = seconds(1.0);
        sqlx::raw_sql(
            "CREATE SEQUENCE denied;
             CREATE FUNCTION deny() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM nextval('denied'); RAISE 'the outbox is denied on purpose'; END $$;
             CREATE TRIGGER deny BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION deny()",
        )
        .execute(&world.pool)
        .await
        .unwrap();
        let dispatcher = world.dispatch(vec![
            world.phase("ONE").on_apply(|_| async { Err(Error::fatal("no", "never")) }).arc(),
        ]);
        let tenant = world.tenant_as("untold", &["ONE"], |new| new.on_failure = OnFailure::Pause).await;
        let seq = world.status(tenant).await.run.seq;
        eventually("tried again", || async {
            let denied: i64 =
                sqlx::query_scalar("SELECT last_value FROM denied").fetch_one(&world.pool).await.unwrap();
            denied > 1
        })
        .await;
        let row = world.status(tenant).await;
        assert_eq!((row.run.status.as_str(), row.run.seq), ("running", seq));
        sqlx::raw_sql("DROP TRIGGER deny ON outbox").execute(&world.pool).await.unwrap();
        halted(&world, tenant, "paused", seq).await;
        assert_eq!(told(&world, tenant).await.len(), 1);
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_can_neither_be_made_nor_taken_back_is_told() {
    World::run(|world| async move {
        let broken = Arc::new(AtomicBool::new(false));
        let breaking = broken.clone();
        let dispatcher = world.dispatch(vec![
            world
                .phase("DEPLOY_DATA_SERVICES")
                .on_apply(move |_| {
                    let broken = breaking.load(Ordering::SeqCst);
                    async move {
                        if broken {
                            Err(Error::fatal("refused", "not possible"))
                        } else {
                            Ok(Progress::Done(()))
                        }
                    }
                })
                .arc(),
        ]);
        let tenant = world.tenant("between", &["DEPLOY_DATA_SERVICES"]).await;
        world.until(tenant, "ACTIVE").await;
        broken.store(true, Ordering::SeqCst);
        world.change(tenant, &Change { tier: Some(Tier::Free), ..Change::default() }).await.unwrap();
        halted(&world, tenant, "stuck", 0).await;
        let told = told(&world, tenant).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["situation"], "stuck while being set back after a change");
        assert_eq!(told[0]["error"]["code"], "refused");
        dispatcher.stop().await.unwrap();
    })
    .await;
}
