//! Keys that are not there, workers that are no longer wanted, a data plane that cannot.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::phase::{Kind, Scope};
use model::platform::License;
use model::secret::SecretRef;

use crate::world::{World, failure, serve};

#[tokio::test]
async fn a_key_that_is_missing_or_wrong_is_named_and_nothing_is_stored() {
    World::run(async |world| {
        let life = world.tenant().await;
        let good = world.platform.license.clone();
        let short = STANDARD.encode([42; 16]);
        for reference in [
            SecretRef::Env("TENANTRY_NO_SUCH_KEY".into()),
            world.file("short", &short),
            SecretRef::File("/nowhere/at/all".into()),
        ] {
            world.platform.license.key_encryption_keys.insert("k1".into(), reference);
            let error = failure(world.apply(&life).await);
            assert_eq!((&error.kind, error.code), (&Kind::Fatal, "license_key"), "{error}");
            assert!(error.message.contains("license.key_encryption_keys.k1"), "{error}");
            assert!(!error.message.contains(&short), "{error}");
        }
        world.platform.license = License::default();
        let error = failure(world.apply(&life).await);
        assert!(error.message.contains("license.seal_with is not set"), "{error}");
        assert_eq!((world.users(&life).await.len(), world.invitations(&life).await.len()), (0, 0));
        // Put right, the same run goes on.
        world.platform.license = good;
        let first = world.apply(&life).await.unwrap();
        // Sealed by a key that is gone since, it would never be sent: another takes its place.
        world.seal_with("k2");
        world.platform.license.key_encryption_keys.remove("k1");
        let second = world.apply(&life).await.unwrap();
        assert_ne!(second.invitation_id, first.invitation_id);
        assert_eq!(world.invitations(&life).await, [second.invitation_id]);
        world.token(&life).await;
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_lost_its_run_stores_and_withdraws_nothing() {
    World::run(async |world| {
        let (life, kept) = (world.tenant().await, world.tenant().await);
        world.apply(&kept).await.unwrap();
        // As when control is taken from a worker.
        sqlx::query("UPDATE provisioning_runs SET epoch = epoch + 1").execute(&world.pool).await.unwrap();
        let error = failure(world.apply(&life).await);
        assert_eq!(error.code, "invitation_overtaken", "{error}");
        assert_eq!((world.users(&life).await.len(), world.invitations(&life).await.len()), (0, 0));
        let error = world.revert(&kept, kept.run, Scope::Run).await.unwrap_err();
        assert_eq!(error.code, "invitation_overtaken", "{error}");
        assert_eq!((world.users(&kept).await.len(), world.invitations(&kept).await.len()), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn a_data_plane_without_a_login_parks_the_run_and_another_administrator_ends_it() {
    World::run(async |world| {
        let mut life = world.tenant().await;
        let good = world.platform.regions.clone();
        world.region(serve(tenant_api::Tables::default()).await);
        let error = failure(world.apply(&life).await);
        assert!(matches!(error.kind, Kind::Unavailable { .. }), "{error}");
        assert!(error.message.contains("POOL_DATABASE_URL"), "{error}");
        world.revert(&life, life.run, Scope::Run).await.unwrap();

        world.platform.regions = good;
        world.apply(&life).await.unwrap();
        life.tenant.admin_email = "somebody@else.example".into();
        let error = failure(world.apply(&life).await);
        assert_eq!((&error.kind, error.code), (&Kind::Fatal, "bootstrap_user_exists"), "{error}");
        assert_eq!(world.users(&life).await.len(), 1);
    })
    .await;
}
