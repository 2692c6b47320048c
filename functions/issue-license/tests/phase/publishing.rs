//! The Secret that the pods of a tenant's own instance read: always the current licence, and nobody else's object.

use std::time::Duration;

use engine::phase::{Kind, Scope};
use model::platform::Limits;
use model::{RunId, Tier};
use serde_json::json;
use testing::kubectl;
use uuid::Uuid;

use crate::world::{Life, World};

impl World {
    /// From now on the tier allows something else, so that another licence is to be issued.
    fn allow(&mut self, members: u64) {
        let limits = Limits { members: Some(members), monthly_api_calls: None };
        self.platform.license.limits.insert(Tier::Free, limits);
    }

    /// Which licence a new pod would go by: one that holds by the public keys.
    fn published(&self, life: &Life) -> Option<Uuid> {
        let text = life.mounted()?;
        let public = license::signer(&self.platform.license).unwrap().public_keys();
        Some(public.verify(&text, life.tenant.id, chrono::Utc::now().timestamp()).unwrap().id)
    }
}

#[tokio::test]
async fn the_secret_holds_the_current_licence_and_follows_the_next_one() {
    World::run(async |world| {
        let life = world.own_tenant().await;
        let first = world.apply(&life).await.unwrap();
        assert_eq!(world.published(&life), Some(first.license_id));
        let secret = life.secret().unwrap();
        assert_eq!(secret["metadata"]["labels"]["matih.ai/tenant-id"], json!(life.tenant.id));
        // Again; and another licence, in the same object.
        world.apply(&life).await.unwrap();
        assert_eq!(world.published(&life), Some(first.license_id));
        world.allow(7);
        let next = world.apply_in(&life, RunId::generate(), Duration::ZERO).await.unwrap();
        assert_ne!(next.license_id, first.license_id);
        assert_eq!(world.published(&life), Some(next.license_id));
        assert_eq!(life.secret().unwrap()["metadata"]["uid"], secret["metadata"]["uid"]);
        // Removed by hand, it is made again with the licence that is kept.
        kubectl(&["delete", "secret", "tenant-api-license", "--namespace", &life.namespace()]);
        world.apply(&life).await.unwrap();
        assert_eq!(world.published(&life), Some(next.license_id));
    })
    .await;
}

#[tokio::test]
async fn after_a_rollback_the_secret_holds_the_former_licence_or_is_gone() {
    World::run(async |world| {
        let life = world.own_tenant().await;
        // Before anything was done.
        world.revert(&life, life.run, Scope::Run).await;
        let first = world.apply(&life).await.unwrap();
        world.allow(7);
        let later = RunId::generate();
        world.apply_in(&life, later, Duration::ZERO).await.unwrap();
        for _ in 0..2 {
            world.revert(&life, later, Scope::Run).await;
            assert_eq!(world.published(&life), Some(first.license_id));
        }
        for _ in 0..2 {
            world.revert(&life, life.run, Scope::Run).await;
            assert_eq!(life.secret(), None);
        }
        // A deprovisioning takes it, whoever made it.
        world.apply(&life).await.unwrap();
        world.revert(&life, RunId::generate(), Scope::Tenant).await;
        assert_eq!(life.secret(), None);
    })
    .await;
}

#[tokio::test]
async fn a_change_that_is_taken_back_leaves_no_licence_of_its_own_in_the_secret() {
    World::run(async |world| {
        let life = world.own_tenant().await;
        world.apply(&life).await.unwrap();
        let planned = world.plan(&life).await;
        world.allow(7);
        let run = RunId::generate();
        let changed = world.apply_in(&life, run, Duration::ZERO).await.unwrap();
        assert_eq!(world.published(&life), Some(changed.license_id));
        let back = world.take_back(&life, &planned, run).await;
        assert_ne!(back.license_id, changed.license_id);
        assert_eq!(world.published(&life), Some(back.license_id));
        assert_eq!(world.claims(&life).await.unwrap().limits.members, Some(500));
    })
    .await;
}

#[tokio::test]
async fn nothing_of_a_pooled_tenant_is_in_the_cluster() {
    World::run(async |world| {
        let life = world.tenant().await;
        world.apply(&life).await.unwrap();
        assert_eq!(life.objects(), "");
        world.revert(&life, life.run, Scope::Run).await;
        assert_eq!(life.objects(), "");
    })
    .await;
}

#[tokio::test]
async fn a_foreign_secret_is_fatal_and_left_as_it_is() {
    World::run(async |world| {
        let life = world.own_tenant().await;
        let theirs = life.foreign_secret();
        let error = world.apply(&life).await.unwrap_err();
        assert_eq!((&error.kind, error.code), (&Kind::Fatal, "foreign_object"), "{error}");
        assert_eq!(life.secret().unwrap(), theirs);
        for scope in [Scope::Run, Scope::Tenant] {
            world.revert(&life, life.run, scope).await;
            assert_eq!(life.secret().unwrap(), theirs);
        }
        assert_eq!(world.licenses(&life).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_tenant_whose_namespace_is_gone_gets_and_loses_its_licence_all_the_same() {
    World::run(async |world| {
        let life = world.own_tenant().await;
        let first = world.apply(&life).await.unwrap();
        // Begun while the namespace goes, ended when it is gone.
        kubectl(&["delete", "namespace", &life.namespace(), "--wait=false"]);
        world.allow(7);
        let later = RunId::generate();
        world.apply_in(&life, later, Duration::ZERO).await.unwrap();
        kubectl(&["wait", "--for=delete", &format!("namespace/{}", life.namespace()), "--timeout=60s"]);
        world.revert(&life, later, Scope::Run).await;
        assert_eq!(world.claims(&life).await.unwrap().id, first.license_id);
        world.revert(&life, RunId::generate(), Scope::Tenant).await;
        assert_eq!((world.licenses(&life).await, life.objects().as_str()), (0, ""));
    })
    .await;
}
