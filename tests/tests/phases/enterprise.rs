//! Enterprise tenants: data on a Postgres instance that is the tenant's alone.

use engine::phase::Checkpoints;
use model::{TenantId, Tier};
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use tenant_api_client::OwnPostgres;
use tests::{Outside, RegionWorld, kubectl, slug};

/// The instance, as the phase's checkpoint has it, and its administrator's session in a database.
async fn instance(world: &RegionWorld, tenant: TenantId) -> (OwnPostgres, String) {
    let name = "PROVISIONING_INFRASTRUCTURE";
    let checkpoint: Value =
        sqlx::query_scalar("SELECT checkpoint FROM tenant_phases WHERE tenant_id = $1 AND name = $2")
            .bind(tenant.0)
            .bind(name)
            .fetch_one(&world.pool)
            .await
            .unwrap();
    let earlier = Checkpoints::new([(name.to_owned(), checkpoint)].into());
    let own = OwnPostgres::of(&earlier).unwrap().unwrap();
    let secret = format!("infrastructure-{tenant}");
    let value = "-o=go-template={{.data.password | base64decode}}";
    let password = kubectl(&["get", "secret", &secret, "-n", "matih-system", value]).await;
    (own, password)
}

async fn session(own: &OwnPostgres, password: &str, database: &str) -> sqlx::Result<PgConnection> {
    let options =
        PgConnectOptions::new_without_pgpass().host(&own.host).port(own.port).username(&own.admin_user);
    options.password(password).database(database).connect().await
}

async fn text(session: &mut PgConnection, question: &str) -> String {
    sqlx::query_scalar(AssertSqlSafe(question.to_owned())).fetch_one(session).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enterprise_tenants_data_is_on_its_own_instance_and_goes_with_it() {
    RegionWorld::run(
        |_| {},
        |world| async move {
            let dispatcher = world.dispatch_all().await;
            let slug = slug("enterprise");
            let tenant = world.provision(&slug, Tier::Enterprise, true).await;
            let row = world.settled(tenant, "ACTIVE").await;
            assert_eq!(
                row.phases.iter().find(|phase| phase.position == 0).unwrap().name,
                "PROVISIONING_INFRASTRUCTURE"
            );

            let (own, password) = instance(&world, tenant).await;
            let database = format!("tenant_{tenant}");
            let mut session = session(&own, &password, &database).await.unwrap();
            assert_eq!(text(&mut session, "SELECT count(*)::text FROM users").await, "1");
            let there = Outside::look(&world.management).await;
            // Of the regions' Postgres it has neither role nor database nor schema.
            let lines = there.of(&slug, tenant);
            let of_kind = |kind: &str| lines.iter().filter(|line| line.starts_with(kind)).count();
            assert_eq!([of_kind("role "), of_kind("database "), of_kind("schema ")], [0, 0, 0], "{lines:#?}");
            assert_eq!([of_kind("workspace "), of_kind("instance ")], [1, 1], "{lines:#?}");
            // Its services are told of its own, and may reach no other.
            let namespace = format!("matih-{slug}");
            let credentials = ["get", "secret", "tenant-database-credentials", "-n", &namespace];
            let value = "-o=go-template={{.data.POSTGRES_PORT | base64decode}}";
            assert_eq!(kubectl(&[&credentials[..], &[value]].concat()).await, own.port.to_string());
            let policy = ["get", "networkpolicy", "allow-egress-database", "-n", &namespace, "-o=json"];
            let policy: Value = serde_json::from_str(&kubectl(&policy).await).unwrap();
            let rule = &policy["spec"]["egress"][0];
            assert_eq!(rule["to"], serde_json::json!([{ "ipBlock": { "cidr": "127.0.0.1/32" } }]));
            assert_eq!(rule["ports"][0]["port"], own.port);
            // Who administers it is nobody's business in there.
            let secrets = kubectl(&["get", "secrets", "-n", &namespace, "-o=json"]).await;
            let encoded = kubectl(&[
                "get",
                "secret",
                &format!("infrastructure-{tenant}"),
                "-n",
                "matih-system",
                "-o=jsonpath={.data.password}",
            ])
            .await;
            assert!(!secrets.contains(&encoded) && !encoded.is_empty());
            drop(session);

            world.take_out(&slug, tenant).await;
            assert!(self::session(&own, &password, "postgres").await.is_err());
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}
