//! What an undo takes away, and what it leaves.

use engine::phase::Scope;
use model::RunId;

use crate::world::{World, owner};

#[tokio::test]
async fn an_undo_takes_what_its_run_made_however_often_it_is_called() {
    World::run(async |world| {
        let (life, bare) = (world.tenant().await, world.record().await);
        // Before anything was done, and where there are no tables.
        world.revert(&life, life.run, Scope::Run).await.unwrap();
        world.revert(&bare, bare.run, Scope::Run).await.unwrap();
        world.revert(&bare, bare.run, Scope::Tenant).await.unwrap();
        world.apply(&life).await.unwrap();
        // Another run's.
        world.revert(&life, RunId::generate(), Scope::Run).await.unwrap();
        assert_eq!((world.users(&life).await.len(), world.invitations(&life).await.len()), (1, 1));
        for _ in 0..2 {
            world.revert(&life, life.run, Scope::Run).await.unwrap();
            assert_eq!((world.users(&life).await.len(), world.invitations(&life).await.len()), (0, 0));
        }
        world.apply(&life).await.unwrap();
        // A deprovisioning withdraws whoever's; the people go with the tables.
        world.revert(&life, RunId::generate(), Scope::Tenant).await.unwrap();
        assert_eq!((world.users(&life).await.len(), world.invitations(&life).await.len()), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn somebody_who_was_there_before_stays() {
    World::run(async |world| {
        let life = world.tenant().await;
        let first = world.apply(&life).await.unwrap();
        // An earlier run's, whose record of it is gone.
        let later = RunId::generate();
        world.store.withdraw_invitations(&owner(&life, life.run, Scope::Run)).await.unwrap();
        let second = world.apply_in(&life, later).await.unwrap();
        assert_eq!(second.user, first.user);
        world.revert(&life, later, Scope::Run).await.unwrap();
        assert_eq!((world.users(&life).await.len(), world.invitations(&life).await.len()), (1, 0));
    })
    .await;
}
