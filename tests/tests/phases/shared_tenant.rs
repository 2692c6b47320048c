//! A tenant of the pooled instance: rows in the region's shared database, and no object in the cluster.

use engine::decide::verbs::Verb;
use model::TenantId;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tests::{Failpoints, RegionWorld, required, slug};

/// What a question has for an answer, asked by the pooled instance's login in the tenant's role.
async fn as_pooled(tenant: TenantId, question: &str) -> sqlx::Result<String> {
    let mut session = PgConnection::connect(&required("POOL_DATABASE_URL")).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("SET ROLE \"tenant_{tenant}\""))).execute(&mut session).await?;
    sqlx::query_scalar(AssertSqlSafe(question.to_owned())).fetch_one(&mut session).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_tenant_has_a_schema_and_a_role_and_nothing_in_the_cluster() {
    let failpoints = Failpoints::of_this_process();
    RegionWorld::run(
        |_| {},
        |world| async move {
            let dispatcher = world.dispatch_all().await;
            let (slug, fails) = (slug("shared"), slug("shared"));
            failpoints.set(&fails, ["SETUP_DATABASE", "apply", "initialize database", "after"], "fatal");
            let tenant = world.provision_shared(&slug).await;
            let failing = world.provision_shared(&fails).await;

            world.settled(tenant, "ACTIVE").await;
            let outside = world.outside(&slug, tenant).await;
            let mut kinds: Vec<&str> = outside.iter().filter_map(|line| line.split(' ').next()).collect();
            // Its queue may still be there.
            kinds.retain(|kind| *kind != "queue");
            assert_eq!(kinds, ["role", "schema"], "{outside:?}");

            let row = world.settled(failing, "FAILED").await;
            assert_eq!(row.tenant.provisioning_error.unwrap_or_default()["code"], "failpoint");
            world.gone(&fails, failing).await;
            failpoints.lift(&fails, &[]);
            world.ask(failing, Verb::Retry).await.unwrap();
            world.settled(failing, "ACTIVE").await;
            // Each has its one administrator, and with its role nobody sees the other's rows.
            for (me, other) in [(tenant, failing), (failing, tenant)] {
                let seen = |of| format!("SELECT count(*)::text FROM \"tenant_{of}\".users");
                assert_eq!(as_pooled(me, &seen(me)).await.unwrap(), "1");
                let denied = as_pooled(me, &seen(other)).await.unwrap_err();
                assert_eq!(denied.as_database_error().unwrap().code().unwrap(), "42501", "{denied}");
            }

            world.take_out(&fails, failing).await;
            world.take_out(&slug, tenant).await;
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}
