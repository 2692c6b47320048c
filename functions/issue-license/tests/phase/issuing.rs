//! Licences that are issued, kept, and followed by another.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use license::seal::{Purpose, Sealed};
use model::platform::Limits;
use model::{RunId, Tier};

use crate::world::World;

#[tokio::test]
async fn a_licence_is_issued_once_and_kept() {
    World::run(async |world| {
        let life = world.tenant().await;
        let first = world.apply(&life).await.unwrap();
        assert_eq!((first.created_by_run, first.instead_of), (life.run, None));
        assert_eq!((first.signing_key.as_str(), first.key_encryption_key.as_str()), ("s1", "k1"));
        let claims = world.claims(&life).await.unwrap();
        assert_eq!((claims.id, claims.tenant, claims.plan), (first.license_id, life.tenant.id, Tier::Free));
        assert_eq!(claims.limits, Limits { members: Some(500), monthly_api_calls: Some(1_000_000) });
        assert_eq!(claims.expires - claims.issued, 365 * 24 * 3600);
        // Again, and by a later run.
        assert_eq!(world.apply(&life).await.unwrap(), first);
        let later = world.apply_in(&life, RunId::generate(), Duration::ZERO).await.unwrap();
        assert_eq!(later, first);
        assert_eq!((world.licenses(&life).await, world.notices(&life).await), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn one_that_ends_soon_is_followed_by_another() {
    World::run(async |world| {
        let life = world.tenant().await;
        let first = world.apply(&life).await.unwrap();
        let days = |days: u64| Duration::from_hours(days * 24);
        let kept = world.apply_in(&life, RunId::generate(), days(334)).await.unwrap();
        assert_eq!(kept, first);
        let run = RunId::generate();
        let next = world.apply_in(&life, run, days(336)).await.unwrap();
        assert_eq!(next.instead_of, Some(first.license_id));
        assert!(next.expires_at > first.expires_at);
        let again = world.apply_in(&life, run, days(336)).await.unwrap();
        assert_eq!(again.license_id, next.license_id, "once");
        assert_eq!((world.licenses(&life).await, world.notices(&life).await), (2, 2));
    })
    .await;
}

#[tokio::test]
async fn what_is_stored_shows_neither_licence_nor_key() {
    World::run(async |world| {
        let life = world.tenant().await;
        let checkpoint = serde_json::to_string(&world.apply(&life).await.unwrap()).unwrap();
        let stored = world.store.license(life.tenant.id).await.unwrap().unwrap();
        let seals = license::seals(&world.platform.license).unwrap();
        let text = seals.open(Purpose::License, life.tenant.id, &Sealed::from(&stored)).unwrap();
        assert!(text.starts_with("tl1."));
        let rows: Vec<String> = sqlx::query_scalar(
            "SELECT row_to_json(t)::text || encode(t.sealed, 'escape') || encode(t.wrapped_key, 'escape') \
             FROM tenant_licenses t UNION ALL SELECT row_to_json(o)::text FROM outbox o",
        )
        .fetch_all(&world.pool)
        .await
        .unwrap();
        assert_eq!(rows.len(), 2);
        let places = rows.join("\n") + &checkpoint;
        let claims = text.split('.').nth(1).unwrap();
        for secret in [text.as_str(), claims, "tl1.", &STANDARD.encode([b'1'; 32])] {
            assert!(!places.contains(secret), "{places}");
        }
    })
    .await;
}

#[tokio::test]
async fn one_that_no_longer_holds_is_followed_by_another() {
    World::run(async |world| {
        let (life, other) = (world.tenant().await, world.tenant().await);
        let mut last = world.apply(&life).await.unwrap();
        world.apply(&other).await.unwrap();
        let mut notices = 1;
        for case in ["expired", "limits", "signing key gone", "another tenant's", "altered"] {
            let mut later = Duration::ZERO;
            match case {
                "expired" => later = Duration::from_hours(366 * 24),
                "limits" => {
                    world.platform.license.limits.insert(Tier::Free, Limits::default());
                }
                "signing key gone" => {
                    world.sign_with("s2");
                    world.platform.license.signing_keys.remove("s1");
                }
                "another tenant's" => {
                    sqlx::query(
                        "UPDATE tenant_licenses t SET sealed = o.sealed, wrapped_key = o.wrapped_key \
                         FROM tenant_licenses o WHERE t.tenant_id = $1 AND o.tenant_id = $2",
                    )
                    .bind(life.tenant.id.0)
                    .bind(other.tenant.id.0)
                    .execute(&world.pool)
                    .await
                    .unwrap();
                }
                _ => {
                    let altered = "UPDATE tenant_licenses SET sealed = sealed || '\\x00'";
                    sqlx::query(altered).execute(&world.pool).await.unwrap();
                }
            }
            let next = world.apply_in(&life, life.run, later).await.unwrap();
            notices += 1;
            assert_ne!(next.license_id, last.license_id, "{case}");
            assert_eq!(next.instead_of, Some(last.license_id), "{case}");
            assert_eq!(world.notices(&life).await, notices, "{case}");
            if case == "expired" {
                // Back in the present, where that one is one of the future.
                sqlx::query("DELETE FROM tenant_licenses WHERE tenant_id = $1")
                    .bind(life.tenant.id.0)
                    .execute(&world.pool)
                    .await
                    .unwrap();
                last = world.apply(&life).await.unwrap();
                notices += 1;
            } else {
                last = next;
                assert_eq!(world.claims(&life).await.unwrap().id, last.license_id, "{case}");
            }
        }
    })
    .await;
}
