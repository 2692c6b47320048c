//! Verbs on real runs: every verb in every situation, in the middle of a step, on a stuck undo.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::decide::verbs::{Effect, Situation, Verb, effect};
use engine::phase::{Error, Progress, Result};
use engine::store::OperateError;
use futures::future::join_all;
use model::{Change, TenantId, Tier};
use queue::Dispatcher;
use tenants::StatusRow;
use tests::World;
use tokio::sync::watch;

/// The phase at which everything is held up. Nothing later needs it, so it may be skipped.
const HELD: &str = "DEPLOY_DATA_SERVICES";

const VERBS: [Verb; 7] =
    [Verb::Retry, Verb::Rollback, Verb::Pause, Verb::Resume, Verb::Skip, Verb::Abandon, Verb::Delete];

/// What a phase does in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Does {
    #[default]
    Succeeds,
    /// Parks for longer than any test lasts.
    Waits,
    /// Fails for good.
    Fails,
    /// Keeps its worker until told otherwise.
    Holds,
}

/// What [`HELD`] does for each tenant, forward and back.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<HashMap<String, (Does, Does)>>>, Arc<watch::Sender<()>>);

impl Script {
    fn set(&self, slug: &str, apply: Does, revert: Does) {
        self.0.lock().unwrap().insert(slug.to_owned(), (apply, revert));
        self.1.send_replace(());
    }

    fn of(&self, slug: &str, back: bool) -> Does {
        let (apply, revert) = self.0.lock().unwrap().get(slug).copied().unwrap_or_default();
        if back { revert } else { apply }
    }

    async fn play(self, slug: String, back: bool) -> Result<Progress<()>> {
        let mut changed = self.1.subscribe();
        loop {
            match self.of(&slug, back) {
                Does::Succeeds => return Ok(Progress::Done(())),
                Does::Waits => return Ok(Progress::wait(Duration::from_hours(1), "the test")),
                Does::Fails => return Err(Error::fatal("refused", "not possible")),
                Does::Holds => changed.changed().await.unwrap(),
            }
        }
    }

    fn dispatch(&self, world: &World) -> Dispatcher {
        let (forward, back) = (self.clone(), self.clone());
        world.dispatch(vec![
            world.phase("ONE").arc(),
            world
                .phase(HELD)
                .on_apply(move |attempt| forward.clone().play(attempt.slug.clone(), false))
                .on_revert(move |attempt| back.clone().play(attempt.slug.clone(), true))
                .arc(),
        ])
    }

    /// A tenant in this situation, with no worker at it.
    async fn reach(&self, world: &World, slug: &str, situation: Situation) -> TenantId {
        use Does::{Fails, Succeeds, Waits};
        use Situation as S;
        let backward = match situation {
            S::RollbackStuck | S::DeprovisioningStuck => Fails,
            S::RollingBack | S::RollbackPaused | S::Deprovisioning | S::DeprovisioningPaused => Waits,
            _ => Succeeds,
        };
        let changing = changes(situation);
        let provisioned = changing
            || matches!(
                situation,
                S::Deprovisioning | S::DeprovisioningPaused | S::DeprovisioningStuck | S::Active | S::Deleted
            );
        self.set(slug, if provisioned { Succeeds } else { Waits }, backward);
        let tenant = world.tenant(slug, &["ONE", HELD]).await;
        if provisioned {
            world.until(tenant, "ACTIVE").await;
            if changing {
                self.change(world, slug, tenant, situation).await;
            } else if situation != S::Active {
                world.ask(tenant, Verb::Delete).await.unwrap();
            }
        } else {
            self.waiting(world, tenant).await;
            if !matches!(situation, S::Forward | S::ForwardPaused) {
                world.ask(tenant, Verb::Rollback).await.unwrap();
            }
        }
        if matches!(situation, S::RollbackPaused | S::DeprovisioningPaused | S::RestoringPaused) {
            self.waiting(world, tenant).await;
        }
        if matches!(
            situation,
            S::ForwardPaused
                | S::RollbackPaused
                | S::DeprovisioningPaused
                | S::ChangingPaused
                | S::RestoringPaused
        ) {
            world.ask(tenant, Verb::Pause).await.unwrap();
        }
        world
            .until_row(tenant, &format!("{situation}, with nobody at it"), |row| {
                let wanted = situated(row) == situation && !row.run.claimed;
                let parked = row.phases.iter().any(|phase| phase.waiting_on.is_some());
                let moving = matches!(
                    situation,
                    S::Forward | S::RollingBack | S::Deprovisioning | S::Changing | S::Restoring
                );
                wanted && (parked || !moving)
            })
            .await;
        if matches!(situation, Situation::Active | Situation::Failed | Situation::Deleted) {
            world.settled(tenant).await;
        }
        tenant
    }

    /// Begins a change that waits, and takes it back where the situation says so.
    async fn change(&self, world: &World, slug: &str, tenant: TenantId, situation: Situation) {
        use Situation as S;
        world.settled(tenant).await;
        self.set(slug, Does::Waits, Does::Succeeds);
        let smaller = Change { tier: Some(Tier::Free), ..Change::default() };
        world.change(tenant, &smaller).await.unwrap();
        world.until_row(tenant, "changing", |row| row.run.kind == "change").await;
        self.waiting(world, tenant).await;
        if matches!(situation, S::Changing | S::ChangingPaused) {
            return;
        }
        // Made again as it was before: by the same way forward.
        let stuck = situation == S::RestoringStuck;
        self.set(slug, if stuck { Does::Fails } else { Does::Waits }, Does::Succeeds);
        world.ask(tenant, Verb::Rollback).await.unwrap();
        world.until_row(tenant, "on its way back", |row| row.run.direction == "backward").await;
    }

    async fn waiting(&self, world: &World, tenant: TenantId) {
        world
            .until_row(tenant, "waiting", |row| {
                row.phases.iter().any(|phase| phase.waiting_on.is_some()) && !row.run.claimed
            })
            .await;
    }
}

/// Whether it is one of a change's.
fn changes(situation: Situation) -> bool {
    use Situation as S;
    matches!(
        situation,
        S::Changing | S::ChangingPaused | S::Restoring | S::RestoringPaused | S::RestoringStuck
    )
}

fn situated(row: &StatusRow) -> Situation {
    let run =
        (row.run.kind.parse().unwrap(), row.run.direction.parse().unwrap(), row.run.status.parse().unwrap());
    Situation::of(row.tenant.status.parse().unwrap(), row.run.finished_at.is_none().then_some(run))
}

/// Where a verb that is taken leads to once nothing is in the way: the tenant's status, and the run's.
fn leads_to(situation: Situation, verb: Verb) -> (&'static str, &'static str) {
    use Situation as S;
    let backward = match situation {
        S::Deprovisioning | S::DeprovisioningPaused | S::DeprovisioningStuck => ("DELETED", "succeeded"),
        _ => ("FAILED", "failed"),
    };
    let forward =
        matches!(situation, S::Forward | S::ForwardPaused | S::Failed | S::Changing | S::ChangingPaused);
    match verb {
        // A tenant that is changed, or not, stays whole.
        Verb::Abandon if changes(situation) => ("ACTIVE", "abandoned"),
        Verb::Rollback if changes(situation) => ("ACTIVE", "failed"),
        Verb::Abandon => ("FAILED", "abandoned"),
        Verb::Delete => ("DELETED", "succeeded"),
        Verb::Rollback => ("FAILED", "failed"),
        _ if forward => ("ACTIVE", "succeeded"),
        _ if changes(situation) => ("ACTIVE", "failed"),
        _ => backward,
    }
}

async fn one_of_the_table(world: &World, script: &Script, nth: usize, situation: Situation, verb: Verb) {
    let slug = format!("v{nth}-{verb}");
    let tenant = script.reach(world, &slug, situation).await;
    let before = world.rows(tenant).await;
    let seq = world.status(tenant).await.run.seq;
    let expected = effect(verb, situation);

    // Decided on what is no longer so: refused, whatever the verb.
    let stale = world.ask_at(tenant, verb, Some(seq - 1), true).await;
    assert!(matches!(stale, Err(OperateError::Stale { .. })), "{verb} while {situation}: {stale:?}");
    assert_eq!(world.rows(tenant).await, before, "{verb} while {situation}, with an old seq");

    // Nothing is in its way from here on; a run that waits does not notice by itself.
    script.set(&slug, Does::Succeeds, Does::Succeeds);
    if verb == Verb::Skip && matches!(situation, Situation::RollbackStuck | Situation::DeprovisioningStuck) {
        // "Done by hand", by the operator.
        sqlx::query("INSERT INTO effects (slug, phase, what) VALUES ($1, $2, 'revert')")
            .bind(&slug)
            .bind(HELD)
            .execute(&world.pool)
            .await
            .unwrap();
    }
    let asked = world.ask_at(tenant, verb, Some(seq), true).await;
    match expected {
        None => {
            assert!(
                matches!(asked, Err(OperateError::Invalid { .. })),
                "{verb} while {situation}: {asked:?}"
            );
            assert_eq!(world.rows(tenant).await, before, "{verb} while {situation} is refused");
            return;
        }
        Some(Effect::Already) => {
            assert_eq!(asked.unwrap().seq, seq, "{verb} while {situation}");
            assert_eq!(world.rows(tenant).await, before, "{verb} while {situation} is so already");
            return;
        }
        Some(Effect::Record) => {
            let asked = asked.unwrap();
            assert!(!asked.pending && asked.seq == seq + 1, "{verb} while {situation}: {asked:?}");
        }
        Some(Effect::NewRun | Effect::NewDeprovisioning) => assert_eq!(asked.unwrap().seq, 1),
    }
    // A second click carries the seq of the first.
    let again = world.ask_at(tenant, verb, Some(seq), true).await;
    assert!(again.is_err(), "{verb} while {situation}, clicked twice: {again:?}");
    if verb == Verb::Pause {
        world.until_row(tenant, "paused", |row| row.run.status == "paused").await;
        world.ask(tenant, Verb::Resume).await.unwrap();
    }
    let (status, run) = leads_to(situation, verb);
    world
        .until_row(tenant, &format!("{status} after {verb} while {situation}"), |row| {
            row.tenant.status == status && row.run.status == run
        })
        .await;
    // A change makes its phase again, and so does its undo.
    let effects = if changes(situation) { Vec::new() } else { world.effects(&slug).await };
    let twice = effects.iter().enumerate().any(|(nth, effect)| nth > 0 && effects[nth - 1] == *effect);
    assert!(!twice, "{verb} while {situation}: {effects:?}");
    world.actions(tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_in_every_situation_does_what_the_table_says() {
    World::run(|world| async move {
        let script = Script::default();
        let dispatcher = script.dispatch(&world);
        // A situation at a time, so that seven runs and not seventy-seven are under way.
        for (nth, situation) in Situation::ALL.into_iter().enumerate() {
            join_all(VERBS.map(|verb| one_of_the_table(&world, &script, nth, situation, verb))).await;
        }
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_in_the_middle_of_a_step_takes_effect_at_the_next_transition() {
    World::run(|mut world| async move {
        world.platform.engine.lease = tests::seconds(6.0);
        let script = Script::default();
        let dispatcher = script.dispatch(&world);
        let cases = [
            (Verb::Pause, "PROVISIONING", "paused"),
            (Verb::Rollback, "FAILED", "failed"),
            (Verb::Skip, "ACTIVE", "succeeded"),
            (Verb::Abandon, "FAILED", "abandoned"),
            (Verb::Delete, "DELETED", "succeeded"),
            (Verb::Retry, "ACTIVE", "succeeded"),
        ];
        join_all(cases.map(|(verb, status, run)| {
            let (world, script) = (&world, &script);
            async move {
                let slug = format!("middle-{verb}");
                script.set(&slug, Does::Holds, Does::Succeeds);
                let tenant = world.tenant(&slug, &["ONE", HELD]).await;
                let row = world
                    .until_row(tenant, "in the middle of an operation", |row| {
                        row.run.claimed && row.phases[2].operations[0]["state"] == "running"
                    })
                    .await;
                let asked = world.ask_at(tenant, verb, Some(row.run.seq), true).await.unwrap();
                assert!(asked.pending && asked.seq == row.run.seq, "{asked:?}");
                // The worker goes on undisturbed, for longer than a lease, and the second click is refused.
                tokio::time::sleep(world.platform.engine.lease.duration().mul_f64(1.5)).await;
                let again = world.ask_at(tenant, verb, Some(row.run.seq), true).await;
                assert!(matches!(again, Err(OperateError::Pending(_))), "{again:?}");
                let now = world.status(tenant).await.run;
                assert!(now.claimed && now.seq == row.run.seq && now.request.is_some(), "{now:?}");

                script.set(&slug, Does::Succeeds, Does::Succeeds);
                world
                    .until_row(tenant, &format!("{status} after {verb}"), |row| {
                        row.tenant.status == status && row.run.status == run
                    })
                    .await;
                if verb == Verb::Pause {
                    world.ask(tenant, Verb::Resume).await.unwrap();
                    world.until(tenant, "ACTIVE").await;
                }
                let effects = world.effects(&slug).await;
                // The step was stopped before its next operation, so its own effect came only where it ran again.
                let expected: &[&str] = match verb {
                    Verb::Pause | Verb::Retry => &["ONE apply", "DEPLOY_DATA_SERVICES apply"],
                    Verb::Skip | Verb::Abandon => &["ONE apply"],
                    _ => &["ONE apply", "DEPLOY_DATA_SERVICES revert", "ONE revert"],
                };
                let deprovisioned = verb == Verb::Delete;
                assert!(
                    effects == expected || deprovisioned && effects.starts_with(&["ONE apply".into()]),
                    "{verb}: {effects:?}"
                );
                let lost: i32 = world.status(tenant).await.phases.iter().map(|phase| phase.lost).sum();
                assert_eq!(lost, 0, "{verb} waited for no lease");
            }
        }))
        .await;
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_run_lists_what_is_left_and_delete_then_removes_it() {
    World::run(|world| async move {
        let script = Script::default();
        let dispatcher = script.dispatch(&world);
        script.set("leftover", Does::Succeeds, Does::Fails);
        let tenant = world.tenant("leftover", &["ONE", HELD]).await;
        world.until(tenant, "ACTIVE").await;
        world.ask(tenant, Verb::Delete).await.unwrap();
        world.until_row(tenant, "stuck", |row| row.run.status == "stuck").await;
        world.ask(tenant, Verb::Abandon).await.unwrap();
        let row = world.until(tenant, "FAILED").await;
        assert_eq!(row.run.status, "abandoned");
        assert_eq!(row.run.leftovers, Some(serde_json::json!([HELD, "ONE"])));
        // It was set up, and its administrator is told nothing else.
        let told: Vec<(String, String, Option<String>)> = sqlx::query_as(
            "SELECT sink, type, payload->'error'->>'code' FROM outbox WHERE tenant_id = $1 ORDER BY number",
        )
        .bind(tenant.0)
        .fetch_all(&world.pool)
        .await
        .unwrap();
        let row =
            |sink: &str, kind: &str, code: Option<&str>| (sink.into(), kind.into(), code.map(Into::into));
        assert_eq!(
            told,
            [
                row("kafka", "tenant.provisioned", None),
                row("email", "tenant.provisioned", None),
                row("operators", "tenant.run_waiting", Some("refused")),
                row("kafka", "tenant.deprovisioning_failed", Some("abandoned_by_operator")),
                row("operators", "tenant.deprovisioning_failed", Some("abandoned_by_operator")),
            ]
        );

        script.set("leftover", Does::Succeeds, Does::Succeeds);
        world.ask(tenant, Verb::Delete).await.unwrap();
        world.until(tenant, "DELETED").await;
        assert_eq!(
            world.effects("leftover").await,
            ["ONE apply", &format!("{HELD} apply"), &format!("{HELD} revert"), "ONE revert"]
        );
        dispatcher.stop().await.unwrap();
    })
    .await;
}

/// "Nothing is left" is for the inventory to say; and an undo that guards another is given up by `force` only.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_skipped_is_refused_and_changes_nothing() {
    World::run(|world| async move {
        let refuses = || async { Err(Error::fatal("refused", "not possible")) };
        let dispatcher = world.dispatch(vec![
            world.phase("CREATE_NAMESPACE").on_revert(move |_| refuses()).arc(),
            world.phase("ONE").on_apply(move |_| refuses()).arc(),
        ]);
        let tenant = world.tenant("guarded", &["CREATE_NAMESPACE", "ONE"]).await;
        let row = world.until_row(tenant, "stuck", |row| row.run.status == "stuck").await;
        let before = world.rows(tenant).await;
        let refused = world.ask_at(tenant, Verb::Skip, Some(row.run.seq), false).await;
        assert!(matches!(refused, Err(OperateError::NeedsForce(_))), "{refused:?}");
        assert_eq!(world.rows(tenant).await, before);

        // By force, and a lie: the inventory finds it.
        world.ask_at(tenant, Verb::Skip, Some(row.run.seq), true).await.unwrap();
        let row = world
            .until_row(tenant, "stuck at the inventory", |row| {
                row.run.status == "stuck" && row.run.cursor == -1
            })
            .await;
        assert_eq!(row.run.pause_reason.unwrap()["code"], "left_over");
        let before = world.rows(tenant).await;
        let refused = world.ask_at(tenant, Verb::Skip, Some(row.run.seq), true).await;
        assert!(matches!(refused, Err(OperateError::NotSkippable(_))), "{refused:?}");
        assert_eq!(world.rows(tenant).await, before);

        // Done by hand at last.
        sqlx::query(
            "INSERT INTO effects (slug, phase, what) VALUES ('guarded', 'CREATE_NAMESPACE', 'revert')",
        )
        .execute(&world.pool)
        .await
        .unwrap();
        let stuck = world.status(tenant).await.run.seq;
        world.ask_at(tenant, Verb::Abandon, Some(stuck), false).await.unwrap();
        let row = world.until(tenant, "FAILED").await;
        assert_eq!(row.run.leftovers, Some(serde_json::json!([])));
        dispatcher.stop().await.unwrap();
    })
    .await;
}
