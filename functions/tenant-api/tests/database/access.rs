//! What a tenant's role can reach with its own password.

use crate::world::{OTHER_REGION, SHARED, Strategy, number, run, sqlstate, with_tenants};
use serde_json::json;

const DENIED: &str = "42501";

#[tokio::test]
async fn a_tenant_reads_and_writes_its_own_tables() {
    for strategy in [Strategy::Schema, Strategy::Database] {
        with_tenants([strategy], async |world, [tenant]| {
            world.ok("initialize", &tenant.initialize(&world)).await;
            let mut conn = tenant.login(&world).await.unwrap();
            let insert = format!(
                "INSERT INTO users (tenant_id, email, role) VALUES ('{}', 'a@example.org', 'owner')",
                tenant.id
            );
            run(&mut conn, &insert).await.unwrap();
            assert_eq!(
                sqlstate(run(&mut conn, &insert.replace("a@", "A@")).await),
                "23505",
                "one person, one user"
            );
            assert_eq!(number(&mut conn, "SELECT count(*) FROM users").await, 1);
            run(&mut conn, "CREATE TABLE own (id int); DROP TABLE own").await.unwrap();
        })
        .await;
    }
}

#[tokio::test]
async fn a_tenant_connects_to_no_other_database() {
    use Strategy::{Database, Schema};
    with_tenants([Schema, Database, Database], async |world, tenants| {
        world.ok("initialize", &tenants[0].initialize(&world)).await;
        world.ok("initialize", &tenants[1].initialize(&world)).await;
        let mut databases: Vec<String> = sqlx::query_scalar(
            "SELECT datname::text FROM pg_database WHERE datallowconn AND datconnlimit <> -2",
        )
        .fetch_all(&mut world.look(SHARED).await)
        .await
        .unwrap();
        databases.push(tenants[2].name.clone());
        let answer = world.ok("initialize", &tenants[2].initialize(&world)).await;
        let unprotected = answer["unprotected"].as_array().unwrap();
        for name in [SHARED, OTHER_REGION, &tenants[1].name, &tenants[2].name] {
            assert!(!unprotected.contains(&json!(name)), "{name} stays open: {unprotected:?}");
        }
        databases.retain(|name| !unprotected.contains(&json!(name)));
        for tenant in &tenants {
            for database in databases.iter().filter(|name| *name != tenant.database()) {
                let state = sqlstate(world.connect_as(&tenant.name, &tenant.password, database).await);
                // Other tests drop their databases meanwhile: one that is gone cannot be reached either.
                assert!(state == DENIED || state == "3D000", "{database}: {state}");
            }
            tenant.login(&world).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_tenant_of_a_shared_database_reaches_its_own_schema_only() {
    with_tenants([Strategy::Schema, Strategy::Schema], async |world, [one, other]| {
        world.ok("initialize", &one.initialize(&world)).await;
        world.ok("initialize", &other.initialize(&world)).await;
        let mut conn = one.login(&world).await.unwrap();
        for statement in [
            format!("SELECT * FROM \"{}\".users", other.name),
            format!("CREATE TABLE \"{}\".intruder (id int)", other.name),
            format!("DROP SCHEMA \"{}\" CASCADE", other.name),
            format!("SET ROLE \"{}\"", other.name),
            format!("ALTER ROLE \"{}\" PASSWORD 'x'", other.name),
            format!("COMMENT ON ROLE \"{}\" IS 'mine'", one.name),
            "CREATE TABLE public.intruder (id int)".to_owned(),
            "CREATE SCHEMA intruder".to_owned(),
            "CREATE DATABASE intruder".to_owned(),
            "CREATE ROLE intruder".to_owned(),
        ] {
            assert_eq!(sqlstate(run(&mut conn, &statement).await), DENIED, "{statement}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_administrator_stays_no_member_of_the_tenants_role() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        world.ok("initialize", &tenant.initialize(&world)).await;
        let query = format!(
            "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid \
             WHERE r.rolname = '{}' AND pg_has_role(current_user, r.oid, 'USAGE')",
            tenant.name
        );
        assert_eq!(number(&mut world.look(SHARED).await, &query).await, 0);
    })
    .await;
}
