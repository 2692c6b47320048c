//! The administrator, and the invitation that waits.

use engine::phase::Scope;
use model::{RunId, TenantId};

use crate::world::{World, failure, pooled, serve_own};

#[tokio::test]
async fn a_tenant_gets_one_administrator_and_one_invitation_however_often_it_runs() {
    World::run(async |world| {
        let life = world.tenant().await;
        let first = world.apply(&life).await.unwrap();
        assert_eq!(first.user.created_by_run, Some(life.run));
        let (local, domain) = life.tenant.admin_email.split_once('@').unwrap();
        let address = format!("{local}@{}", domain.to_lowercase());
        assert_eq!(world.users(&life).await, [(address, "owner".to_owned())]);
        let token = world.token(&life).await;
        assert_eq!(token.tenant(), life.tenant.id);
        // As after a crash between effect and record, and in a later run.
        assert_eq!(world.apply(&life).await.unwrap(), first);
        assert_eq!(world.apply_in(&life, RunId::generate()).await.unwrap(), first);
        assert_eq!(world.invitations(&life).await, [first.invitation_id]);
        assert_eq!(world.token(&life).await.hash(), token.hash(), "the link stays the one that is sealed");
        assert_eq!(world.users(&life).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_tenants_own_instance_is_asked_by_its_own_secret_and_holds_no_undo_up() {
    World::run(async |world| {
        let life = world.tenant().await;
        world.own = Some(serve_own(life.tenant.id, pooled()).await);
        world.apply(&life).await.unwrap();
        assert_eq!(world.users(&life).await.len(), 1);
        world.revert(&life, life.run, Scope::Run).await.unwrap();
        assert_eq!(world.users(&life).await, []);

        // Another tenant's own instance lets nobody in for this one.
        world.own = Some(serve_own(TenantId::generate(), pooled()).await);
        let refused = failure(world.apply(&life).await);
        assert_eq!(refused.code, "tenant_api_unauthorized", "{refused}");
        // One that never came up is waited for, and may be why all is undone.
        world.own = Some("http://127.0.0.1:1".into());
        let down = failure(world.apply(&life).await);
        assert_eq!(down.code, "tenant_api_unavailable", "{down}");
        world.revert(&life, life.run, Scope::Run).await.unwrap();
        assert!(world.invitations(&life).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn many_at_once_make_one_administrator() {
    World::run(async |world| {
        let life = world.tenant().await;
        let done = futures::future::join_all((0..6).map(|_| world.apply(&life))).await;
        let ended = done.iter().filter(|done| done.is_ok()).count();
        for error in done.into_iter().filter_map(Result::err) {
            assert_eq!(error.code, "invitation_overtaken", "{error}");
        }
        assert!(ended >= 1);
        assert_eq!((world.users(&life).await.len(), world.invitations(&life).await.len()), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn the_token_is_in_no_table_and_no_checkpoint() {
    World::run(async |world| {
        let life = world.tenant().await;
        let done = world.apply(&life).await.unwrap();
        let token = world.token(&life).await;
        let rows: Vec<String> = sqlx::query_scalar(
            "SELECT row_to_json(o)::text || encode(o.sealed, 'escape') || encode(o.wrapped_key, 'escape') FROM outbox o",
        )
        .fetch_all(&world.pool)
        .await
        .unwrap();
        let places = rows.join("\n") + &serde_json::to_string(&done).unwrap();
        assert!(places.contains("adminEmail"), "{places}");
        // The first third is the tenant's id, which is no secret.
        for secret in [token.expose(), &token.expose()[22..], &token.expose()[40..]] {
            assert!(!places.contains(secret), "{places}");
        }
    })
    .await;
}

#[tokio::test]
async fn two_tenants_have_an_administrator_each_with_one_address() {
    World::run(async |world| {
        let (one, mut other) = (world.tenant().await, world.tenant().await);
        other.tenant.admin_email.clone_from(&one.tenant.admin_email);
        let made = [world.apply(&one).await.unwrap(), world.apply(&other).await.unwrap()];
        assert_ne!(made[0].user.user_id, made[1].user.user_id);
        assert_eq!((world.users(&one).await.len(), world.users(&other).await.len()), (1, 1));
    })
    .await;
}
