//! What is made, made again, and taken away.

use engine::phase::Scope;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use testing::required;

use crate::secrets;
use crate::world::{World, admin, with_slow, with_tenant};

async fn identifier(session: &mut PgConnection) -> String {
    let question = "SELECT system_identifier::text FROM pg_control_system()";
    sqlx::query_scalar(AssertSqlSafe(question)).fetch_one(session).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_of_the_tenants_own_is_made_once_and_taken_away() {
    with_tenant(|world: World| async move {
        // Undone before anything was done.
        world.revert(Scope::Run).await;
        world.revert(Scope::Tenant).await;
        assert_eq!(world.left().await, [""; 0]);

        let (made, waits) = world.try_apply().await.unwrap();
        let name = format!("tf-{} (apply: ", world.tenant.id);
        assert!(waits.iter().any(|wait| wait.starts_with(&name) && wait.contains("resources")), "{waits:?}");
        let password = world.password().await.unwrap();
        let mut session = admin(&made, &password).await.unwrap();
        let own = identifier(&mut session).await;
        let mut region = sqlx::postgres::PgConnectOptions::new_without_pgpass()
            .host(&required("REGION_DATABASE_HOST"))
            .port(required("REGION_DATABASE_PORT").parse().unwrap())
            .username(&required("REGION_DATABASE_ADMIN_USER"))
            .password(&required("REGION_DATABASE_ADMIN_PASSWORD"))
            .database("region_eastus")
            .connect()
            .await
            .unwrap();
        assert_ne!(identifier(&mut region).await, own, "another server");
        assert_eq!(made.database, format!("tenant_{}", world.tenant.id));
        assert_eq!(made.created_by, Some(world.run));
        secrets::nowhere_in_the_state(&world, &password).await;

        // Done again by the same run, and by a later one, whose rollback takes nothing of what was there before it.
        assert_eq!(world.apply().await, made);
        let later = world.later_run();
        assert_eq!(later.apply().await, made);
        later.revert(Scope::Run).await;
        assert_eq!(identifier(&mut admin(&made, &password).await.unwrap()).await, own, "the same instance");
        assert_eq!(world.password().await.as_ref(), Some(&password));
        session.close().await.unwrap();

        // Undone twice.
        world.revert(Scope::Run).await;
        assert_eq!(world.left().await, [""; 0]);
        assert!(admin(&made, &password).await.is_err());
        world.revert(Scope::Run).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_was_lost_is_made_anew_on_the_instance_too() {
    with_tenant(|world: World| async move {
        let made = world.apply().await;
        let lost = world.password().await.unwrap();
        let own = identifier(&mut admin(&made, &lost).await.unwrap()).await;
        world.lose_password().await;
        let later = world.later_run();
        later.apply().await;
        let password = world.password().await.unwrap();
        assert_ne!(password, lost);
        assert_eq!(identifier(&mut admin(&made, &password).await.unwrap()).await, own, "with the same data");
        assert!(admin(&made, &lost).await.is_err());
        secrets::nowhere_in_the_state(&world, &password).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_are_made_at_the_same_moment() {
    let one = || {
        with_slow(|world: World| async move {
            world.apply().await;
            assert_eq!(world.made(), ["first", "second"]);
        })
    };
    tokio::join!(one(), one(), one());
}
