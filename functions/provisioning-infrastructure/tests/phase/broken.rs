//! What is killed, cut off or overtaken in the middle.

use std::path::Path;

use engine::phase::{Error, Kind, Progress, Scope};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use testing::required;

use crate::world::{World, admin, with_slow, with_tenant};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_apply_is_begun_again_and_takes_over_what_is_there() {
    with_slow(|world: World| async move {
        world.apply_to_the_middle().await;
        assert_eq!(world.made(), ["first", "hold"]);
        // tofu's group and its supervisor's, at once.
        let mut groups: Vec<_> =
            world.detached().into_iter().filter_map(|id| getpgid(Some(id)).ok()).collect();
        groups.sort();
        groups.dedup();
        assert!(groups.len() >= 2, "{groups:?}");
        for group in groups {
            let _ = killpg(group, Signal::SIGKILL);
        }
        world.until_none_runs().await;
        let state = world.stored().await.unwrap();
        world.go_on();
        let error = world.try_apply().await.unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Retryable, "terraform_killed"));
        assert_eq!(world.made(), ["first"], "what it made is there, and nothing begins by itself");
        assert_eq!(world.stored().await, Some(state), "and its state does not know");
        // The first step cannot be made twice: this succeeds only by taking it over.
        world.apply().await;
        assert_eq!(world.made(), ["first", "second"]);
        world.revert(Scope::Run).await;
        assert_eq!(world.left().await, [""; 0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_apply_has_made_is_taken_away_though_its_state_does_not_know_it() {
    with_slow(|world: World| async move {
        world.apply_to_the_middle().await;
        // Its supervisor alone, so that what it has started is left.
        let leader = world.detached().into_iter().find(|id| supervises(*id)).unwrap();
        kill(leader, Signal::SIGKILL).unwrap();
        let waits = world.revert_once(Scope::Run).await;
        assert!(
            matches!(&waits, Ok(Progress::Wait(_)) | Err(Error { kind: Kind::Parked(_), .. })),
            "{waits:?}"
        );
        world.go_on();
        world.revert(Scope::Run).await;
        assert_eq!(world.left().await, [""; 0]);
        world.revert(Scope::Run).await;
    })
    .await;
}

/// Whether it is run-terraform and not tofu. Their numbers do not tell: they begin anew at some time.
fn supervises(id: Pid) -> bool {
    let program = std::fs::read_link(format!("/proc/{id}/exe")).unwrap();
    program == Path::new(env!("CARGO_BIN_EXE_run-terraform"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_apply_may_have_made_is_not_given_up_when_it_cannot_be_looked_for() {
    with_slow(|world: World| async move {
        world.apply_to_the_middle().await;
        for id in world.detached() {
            let _ = kill(id, Signal::SIGKILL);
        }
        world.until_none_runs().await;
        world.go_on();
        world.refuse_plans(true);
        let error = world.try_revert(Scope::Run).await.unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Retryable, "terraform_unseen"));
        assert!(error.message.contains("The test refuses any plan."), "{}", error.message);
        assert_eq!(world.made(), ["first", "refuse"]);
        assert!(world.stored().await.is_some(), "by its workspace the inventory knows of it");
        world.refuse_plans(false);
        world.revert(Scope::Run).await;
        assert_eq!(world.left().await, [""; 0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_half_made_by_a_killed_apply_is_finished_by_the_next() {
    with_tenant(|world: World| async move {
        // Somewhere between initdb and the first answer of the server.
        world.apply_until(|_| world.instance().join("port").exists()).await;
        for id in world.detached() {
            let _ = kill(id, Signal::SIGKILL);
        }
        world.until_none_runs().await;
        assert_eq!(world.try_apply().await.unwrap_err().code, "terraform_killed");
        let made = world.apply().await;
        admin(&made, &world.password().await.unwrap()).await.unwrap().close().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroy_waits_for_a_living_apply() {
    with_slow(|world: World| async move {
        world.apply_to_the_middle().await;
        let leaders = || -> Vec<_> {
            world.detached().into_iter().filter(|id| getpgid(Some(*id)) == Ok(*id)).collect()
        };
        let running = leaders();
        for scope in [Scope::Run, Scope::Tenant] {
            for _ in 0..3 {
                match world.revert_once(scope).await {
                    Ok(Progress::Wait(wait)) | Err(Error { kind: Kind::Parked(wait), .. }) => {
                        assert!(wait.on.contains("(apply: 1 of 2"), "{}", wait.on);
                    }
                    other => panic!("it does not wait: {other:?}"),
                }
            }
        }
        assert_eq!(world.made(), ["first", "hold"]);
        assert!(running.len() >= 2 && leaders() == running, "it goes on undisturbed");
        world.go_on();
        world.revert(Scope::Run).await;
        assert_eq!(world.left().await, [""; 0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tofu_ends_with_the_lock_that_keeps_others_out() {
    with_slow(|world: World| async move {
        world.apply_to_the_middle().await;
        let lock = format!("hashtextextended('tenantry terraform tenant-{}', 0)", world.tenant.id);
        let mut session = PgConnection::connect(&required("TERRAFORM_STATE_URL")).await.unwrap();
        let cut = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_locks \
             WHERE locktype = 'advisory' AND (classid::bigint << 32) | objid::bigint = {lock}"
        );
        let cut: i64 = sqlx::query_scalar(AssertSqlSafe(cut)).fetch_one(&mut session).await.unwrap();
        assert_eq!(cut, 1, "our own session");
        // Held as it is, it would go on for ever.
        world.until_none_runs().await;
        assert_eq!(world.made(), ["first", "hold"]);
        assert_eq!(world.try_apply().await.unwrap_err().code, "terraform_fence_lost");
        // While another holds the lock, nothing is begun.
        let take = format!("SELECT pg_advisory_lock({lock})");
        sqlx::query(AssertSqlSafe(take)).execute(&mut session).await.unwrap();
        assert_eq!(world.try_apply().await.unwrap_err().code, "terraform_locked");
        session.close().await.unwrap();
        world.go_on();
        world.apply().await;
        assert_eq!(world.made(), ["first", "second"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_made_as_soon_as_nobody_else_makes_one() {
    with_slow(|world: World| async move {
        // tofu's own number for that: minus the FNV-1 hash of its schema and table.
        let hash = b"terraform_remote_state\0states"
            .iter()
            .fold(0x811c_9dc5_u32, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(*byte));
        let mut session = PgConnection::connect(&required("TERRAFORM_STATE_URL")).await.unwrap();
        let take = "SELECT pg_advisory_lock($1)";
        sqlx::query(take).bind(-i64::from(hash)).execute(&mut session).await.unwrap();
        world.apply_until(|on| on.contains("waiting for tofu's lock")).await;
        session.close().await.unwrap();
        world.apply().await;
        assert_eq!(world.made(), ["first", "second"]);
    })
    .await;
}
