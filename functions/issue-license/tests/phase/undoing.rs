//! What an undo takes away, and what it leaves.

use std::time::Duration;

use engine::phase::Scope;
use model::platform::Limits;
use model::{RunId, Tier};

use crate::world::World;

#[tokio::test]
async fn an_undo_takes_what_its_run_made_however_often_it_is_called() {
    World::run(async |world| {
        let (life, other) = (world.tenant().await, world.tenant().await);
        // Before anything was done.
        world.revert(&life, life.run, Scope::Run).await;
        world.revert(&life, life.run, Scope::Tenant).await;
        world.apply(&life).await.unwrap();
        world.apply(&other).await.unwrap();
        // Another run's.
        world.revert(&life, RunId::generate(), Scope::Run).await;
        assert_eq!(world.licenses(&life).await, 1);
        for _ in 0..2 {
            world.revert(&life, life.run, Scope::Run).await;
            assert_eq!((world.licenses(&life).await, world.licenses(&other).await), (0, 1));
        }
        // A deprovisioning takes all, whoever made it.
        world.revert(&other, RunId::generate(), Scope::Tenant).await;
        assert_eq!(world.licenses(&other).await, 0);
    })
    .await;
}

#[tokio::test]
async fn the_licence_that_a_run_took_the_place_of_is_current_again_after_its_rollback() {
    World::run(async |world| {
        let life = world.tenant().await;
        let first = world.apply(&life).await.unwrap();
        world
            .platform
            .license
            .limits
            .insert(Tier::Free, Limits { members: Some(7), monthly_api_calls: None });
        let later = RunId::generate();
        let second = world.apply_in(&life, later, Duration::ZERO).await.unwrap();
        assert_eq!(world.claims(&life).await.unwrap().id, second.license_id);
        world.revert(&life, later, Scope::Run).await;
        assert_eq!(world.claims(&life).await.unwrap().id, first.license_id);
        assert_eq!(
            (world.licenses(&life).await, world.notices(&life).await),
            (1, 3),
            "and the data plane is told"
        );
    })
    .await;
}
