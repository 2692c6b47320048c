//! Keys that are not there, workers that are no longer wanted: nothing is stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::phase::Kind;
use model::secret::SecretRef;

use crate::world::World;

#[tokio::test]
async fn a_key_that_is_missing_or_wrong_is_named_and_nothing_is_stored() {
    World::run(async |world| {
        let life = world.tenant().await;
        let good = world.platform.license.clone();
        let short = STANDARD.encode([42; 16]);
        let wrong = [
            SecretRef::Env("TENANTRY_NO_SUCH_KEY".into()),
            world.file("short", &short),
            world.file("text", "hunter2-hunter2"),
            SecretRef::File("/nowhere/at/all".into()),
        ];
        for reference in wrong {
            for keys in ["signing_keys", "key_encryption_keys"] {
                let mut license = good.clone();
                let id = if keys == "signing_keys" {
                    license.signing_keys.insert("s1".into(), reference.clone());
                    "s1"
                } else {
                    license.key_encryption_keys.insert("k1".into(), reference.clone());
                    "k1"
                };
                world.platform.license = license;
                let error = world.apply(&life).await.unwrap_err();
                assert_eq!((&error.kind, error.code), (&Kind::Fatal, "license_key"), "{error}");
                assert!(error.message.contains(&format!("license.{keys}.{id}")), "{error}");
                assert!(!error.message.contains(&short) && !error.message.contains("hunter2"), "{error}");
                assert_eq!((world.licenses(&life).await, world.notices(&life).await), (0, 0), "{error}");
            }
        }
        world.platform.license = model::platform::License::default();
        let error = world.apply(&life).await.unwrap_err();
        assert!(error.message.contains("license.sign_with is not set"), "{error}");
        // Put right, the same run goes on.
        world.platform.license = good;
        world.apply(&life).await.unwrap();
        assert_eq!((world.licenses(&life).await, world.notices(&life).await), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_lost_its_run_stores_and_deletes_nothing() {
    World::run(async |world| {
        let (life, kept) = (world.tenant().await, world.tenant().await);
        world.apply(&kept).await.unwrap();
        // As when control is taken from a worker.
        sqlx::query("UPDATE provisioning_runs SET epoch = epoch + 1").execute(&world.pool).await.unwrap();
        let error = world.apply(&life).await.unwrap_err();
        assert_eq!(error.code, "license_overtaken", "{error}");
        assert_eq!((world.licenses(&life).await, world.notices(&life).await), (0, 0));
        let error = world.try_revert(&kept).await.unwrap_err();
        assert_eq!(error.code, "license_overtaken", "{error}");
        assert_eq!(world.licenses(&kept).await, 1);
    })
    .await;
}
