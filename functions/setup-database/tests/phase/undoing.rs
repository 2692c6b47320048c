//! What the rollback and the deprovisioning take away, and what they leave.

use engine::phase::{Kind, Phase, Scope};

use crate::world::{Watch, with_both};

#[tokio::test]
async fn undone_once_or_twice_nothing_is_left() {
    with_both(|world| async move {
        for scope in [Scope::Run, Scope::Tenant] {
            world.apply().await.unwrap();
            world.apply().await.unwrap();
            // A session of the tenant's does not hold it up.
            let _session = world.login().await;
            for _ in 0..2 {
                world.revert(scope).await.unwrap();
                assert!(world.names().await.is_empty());
                assert!(world.secret().await.is_none());
            }
        }
    })
    .await;
}

#[tokio::test]
async fn undoing_what_was_never_done_changes_nothing() {
    with_both(|world| async move {
        for scope in [Scope::Run, Scope::Tenant] {
            world.revert(scope).await.unwrap();
        }
        assert!(world.names().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_half_done_apply_is_undone() {
    with_both(|world| async move {
        for lost_at in ["initialize database", "verify connectivity"] {
            let (step, _) = world.step_with(Scope::Run, Watch { lost_at: Some(lost_at), ..Watch::default() });
            let lost = world.phase().apply(&world.plan(), &step).await.unwrap_err();
            assert!(matches!(lost.kind, Kind::Interrupted(_)), "{lost}");
            world.revert(Scope::Run).await.unwrap();
            assert!(world.names().await.is_empty() && world.secret().await.is_none());
        }
    })
    .await;
}

#[tokio::test]
async fn an_undo_lost_between_database_and_secret_is_continued() {
    with_both(|world| async move {
        world.apply().await.unwrap();
        let (step, _) =
            world.step_with(Scope::Run, Watch { lost_at: Some("delete Secret"), ..Watch::default() });
        world.phase().revert(&world.plan(), None, &step).await.unwrap_err();
        assert!(world.names().await.is_empty() && world.secret().await.is_some());
        world.revert(Scope::Run).await.unwrap();
        assert!(world.secret().await.is_none());
    })
    .await;
}

#[tokio::test]
async fn a_rollback_keeps_what_another_run_made() {
    with_both(|world| async move {
        world.apply().await.unwrap();
        let (values, names) = (world.values().await, world.names().await);
        let later = world.later_run();
        later.apply().await.unwrap();
        later.revert(Scope::Run).await.unwrap();
        assert_eq!(world.values().await, values);
        assert_eq!(world.names().await, names);
        world.login().await;

        later.revert(Scope::Tenant).await.unwrap();
        assert!(world.names().await.is_empty() && world.secret().await.is_none());
    })
    .await;
}
