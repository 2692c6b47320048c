//! Keys that change while licences are issued.

use std::time::Duration;

use engine::phase::Scope;
use license::rewrap;
use model::RunId;

use crate::world::World;

#[tokio::test]
async fn after_a_rewrap_every_licence_opens_without_the_old_key() {
    World::run(async |world| {
        let mut lives = Vec::new();
        for _ in 0..5 {
            let life = world.tenant().await;
            world.apply(&life).await.unwrap();
            lives.push(life);
        }
        // One that is no longer current, and is restored by a rollback.
        world.sign_with("s2");
        world.platform.license.signing_keys.remove("s1");
        let later = RunId::generate();
        let followed = &lives[0];
        world.apply_in(followed, later, Duration::ZERO).await.unwrap();
        world.sign_with("s1");
        assert_eq!(world.licenses(followed).await, 2);

        world.seal_with("k2");
        // Old ones open, the newest seals.
        for life in &lives {
            world.claims(life).await.unwrap();
        }
        let fresh = world.tenant().await;
        assert_eq!(world.apply(&fresh).await.unwrap().key_encryption_key, "k2");
        let seals = license::seals(&world.platform.license).unwrap();
        let done = rewrap(&world.store, &seals).await.unwrap();
        assert_eq!((done.rewrapped, done.changed, done.unopened.len()), (6, 0, 0));
        assert_eq!(
            rewrap(&world.store, &seals).await.unwrap(),
            license::Rewrapped::default(),
            "nothing is left"
        );

        world.platform.license.key_encryption_keys.remove("k1");
        for life in lives.iter().chain([&fresh]) {
            let before = world.claims(life).await.unwrap();
            // Kept, not made anew.
            assert_eq!(world.apply(life).await.unwrap().license_id, before.id);
        }
        world.revert(followed, later, Scope::Run).await;
        world.claims(followed).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn rewraps_run_beside_each_other_and_beside_runs() {
    World::run(async |world| {
        let mut lives = Vec::new();
        for _ in 0..40 {
            lives.push(world.tenant().await);
        }
        for life in &lives[..20] {
            world.apply(life).await.unwrap();
        }
        let old = world.platform.clone();
        world.seal_with("k2");
        let seals = license::seals(&world.platform.license).unwrap();
        let runs = async {
            for (nth, life) in lives.iter().enumerate() {
                match nth {
                    // Taken away.
                    0..5 => world.revert(life, life.run, Scope::Run).await,
                    // Issued, as by a process that has not been told of the new key yet.
                    20..30 => drop(world.apply_with(&old, life).await.unwrap()),
                    _ => drop(world.apply(life).await.unwrap()),
                }
            }
        };
        let ((), one, other) = tokio::join!(runs, rewrap(&world.store, &seals), rewrap(&world.store, &seals));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(one.unopened.is_empty() && other.unopened.is_empty());
        let rest = rewrap(&world.store, &seals).await.unwrap();
        let rewrapped = one.rewrapped + other.rewrapped + rest.rewrapped;
        assert!((25..=30).contains(&rewrapped), "each once: {one:?} {other:?} {rest:?}");
        world.platform.license.key_encryption_keys.remove("k1");
        for (nth, life) in lives.iter().enumerate() {
            assert_eq!(world.claims(life).await.is_some(), nth >= 5, "{nth}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_rewrap_that_comes_late_changes_nothing() {
    World::run(async |world| {
        let (life, gone) = (world.tenant().await, world.tenant().await);
        world.apply(&life).await.unwrap();
        world.apply(&gone).await.unwrap();
        let read = world.store.license(life.tenant.id).await.unwrap().unwrap();
        let read_of_gone = world.store.license(gone.tenant.id).await.unwrap().unwrap();
        world.seal_with("k2");
        rewrap(&world.store, &license::seals(&world.platform.license).unwrap()).await.unwrap();
        world.revert(&gone, gone.run, Scope::Run).await;
        for late in [&read, &read_of_gone] {
            assert!(!world.store.rewrap_license(late, &late.wrapped_key, "k1").await.unwrap());
        }
        world.platform.license.key_encryption_keys.remove("k1");
        world.claims(&life).await.unwrap();
        assert_eq!(world.licenses(&gone).await, 0);
    })
    .await;
}

#[tokio::test]
async fn what_does_not_open_is_named_and_stays_as_it_is() {
    World::run(async |world| {
        let (lost, good) = (world.tenant().await, world.tenant().await);
        world.apply(&lost).await.unwrap();
        world.seal_with("k2");
        world.apply(&good).await.unwrap();
        world.seal_with("k3");
        world.platform.license.key_encryption_keys.remove("k1");
        let seals = license::seals(&world.platform.license).unwrap();
        let before = world.store.license(lost.tenant.id).await.unwrap();
        let done = rewrap(&world.store, &seals).await.unwrap();
        assert_eq!((done.rewrapped, done.unopened.len()), (1, 1));
        let unopened = &done.unopened[0];
        assert_eq!((unopened.what, unopened.tenant_id), ("licence", lost.tenant.id));
        let why = &unopened.why;
        assert!(why.contains("'k1' is not among license.key_encryption_keys"), "{why}");
        assert_eq!(world.store.license(lost.tenant.id).await.unwrap(), before);
        world.claims(&good).await.unwrap();
    })
    .await;
}
