//! What `drop` takes away, and what neither it nor `initialize` touches.

use crate::world::{SHARED, Strategy, Tenant, World, number, run, with_tenants};
use serde_json::{Value, json};
use uuid::Uuid;

fn nothing() -> Value {
    json!({ "role": false, "database": false, "schema": false })
}

#[tokio::test]
async fn a_second_drop_finds_nothing() {
    for strategy in [Strategy::Schema, Strategy::Database] {
        with_tenants([strategy], async move |world, [tenant]| {
            world.ok("initialize", &tenant.initialize(&world)).await;
            let own = strategy == Strategy::Database;
            let kind = if own { "database" } else { "schema" };
            let mut there = world.inventory(&tenant).await;
            there.sort();
            let mut expected =
                vec![(kind.to_owned(), tenant.name.clone()), ("role".to_owned(), tenant.name.clone())];
            expected.sort();
            assert_eq!(there, expected);

            // Open sessions and large objects do not stand in the way.
            let mut session = tenant.login(&world).await.unwrap();
            run(&mut session, "SELECT lo_create(0)").await.unwrap();
            let first = world.ok("drop", &tenant.drop(&world, Some(tenant.run))).await;
            assert_eq!(first["dropped"], json!({ "role": true, "database": own, "schema": !own }));
            assert!(run(&mut session, "SELECT 1").await.is_err());
            assert_eq!(world.inventory(&tenant).await, []);
            let second = world.ok("drop", &tenant.drop(&world, Some(tenant.run))).await;
            assert_eq!(second["dropped"], nothing());
            assert!(tenant.login(&world).await.is_err());
        })
        .await;
    }
}

#[tokio::test]
async fn ten_drops_at_once_have_one_effect() {
    for strategy in [Strategy::Schema, Strategy::Database] {
        with_tenants([strategy], async |world, [tenant]| {
            world.ok("initialize", &tenant.initialize(&world)).await;
            let calls: Vec<_> = (0..10)
                .map(|_| {
                    let (world, body) = (world.clone(), tenant.drop(&world, None));
                    tokio::spawn(async move { world.ok("drop", &body).await })
                })
                .collect();
            let mut dropped = 0;
            for call in calls {
                dropped += i32::from(call.await.unwrap()["dropped"]["role"] == true);
            }
            assert_eq!(dropped, 1);
        })
        .await;
    }
}

#[tokio::test]
async fn what_another_run_made_is_kept() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        world.ok("initialize", &tenant.initialize(&world)).await;
        let answer = world.ok("drop", &tenant.drop(&world, Some(Uuid::new_v4()))).await;
        assert_eq!(answer["dropped"], nothing());
        assert_eq!(answer["kept"], json!(format!("made by run {}", tenant.run)));
        let mut conn = tenant.login(&world).await.unwrap();
        assert_eq!(number(&mut conn, "SELECT count(*) FROM system_roles").await, 4);
    })
    .await;
}

#[tokio::test]
async fn a_drop_that_died_half_way_is_completed_or_taken_back() {
    with_tenants([Strategy::Schema, Strategy::Schema], async |world, [one, other]| {
        for tenant in [&one, &other] {
            world.ok("initialize", &tenant.initialize(&world)).await;
            let name = &tenant.name;
            world
                .sql(
                    SHARED,
                    &[
                        format!("ALTER ROLE \"{name}\" NOLOGIN"),
                        format!("GRANT \"{name}\" TO CURRENT_USER"),
                        format!("DROP SCHEMA \"{name}\" CASCADE"),
                    ],
                )
                .await;
        }
        let answer = world.ok("drop", &one.drop(&world, Some(one.run))).await;
        assert_eq!(answer["dropped"], json!({ "role": true, "database": false, "schema": false }));
        let answer = world.ok("initialize", &other.initialize(&world)).await;
        assert_eq!(answer["created"], json!({ "role": false, "database": false, "schema": true }));
        let mut conn = other.login(&world).await.unwrap();
        assert_eq!(number(&mut conn, "SELECT count(*) FROM dashboard_templates").await, 3);
    })
    .await;
}

/// Both calls must refuse with `code`, and `query` must answer the same before and after.
async fn both_refuse(world: &World, tenant: &Tenant, code: &str, query: &str) {
    let mut eye = world.look(SHARED).await;
    let before = text(&mut eye, query).await;
    world.refused("initialize", &tenant.initialize(world), 409, code).await;
    assert_eq!(text(&mut eye, query).await, before, "initialize changed what is not ours");
    world.refused("drop", &tenant.drop(world, None), 409, code).await;
    assert_eq!(text(&mut eye, query).await, before, "drop changed what is not ours");
}

async fn text(conn: &mut sqlx::PgConnection, query: &str) -> String {
    let query = format!("SELECT coalesce((SELECT row_to_json(f)::text FROM ({query}) f), 'none')");
    sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(conn).await.unwrap()
}

#[tokio::test]
async fn a_foreign_role_is_left_alone() {
    for comment in
        ["NULL".to_owned(), format!(r#"'tenantry {{"tenant":"{0}","run":"{0}"}}'"#, Uuid::new_v4())]
    {
        for strategy in [Strategy::Schema, Strategy::Database] {
            let comment = comment.clone();
            with_tenants([strategy], async move |world, [tenant]| {
                let name = &tenant.name;
                world
                    .sql(
                        SHARED,
                        &[
                            format!("CREATE ROLE \"{name}\""),
                            format!("COMMENT ON ROLE \"{name}\" IS {comment}"),
                        ],
                    )
                    .await;
                let query = format!(
                    "SELECT r.*, shobj_description(oid, 'pg_authid'), \
                     (SELECT count(*) FROM pg_database WHERE datname = '{name}') \
                     FROM pg_roles r WHERE rolname = '{name}'"
                );
                both_refuse(&world, &tenant, "foreign_role", &query).await;
                world.sql(SHARED, &[format!("DROP ROLE \"{name}\"")]).await;
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_foreign_schema_is_left_alone() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        let name = tenant.name.clone();
        world
            .sql(
                SHARED,
                &[format!("CREATE SCHEMA \"{name}\""), format!("CREATE TABLE \"{name}\".precious (id int)")],
            )
            .await;
        world.refused("initialize", &tenant.initialize(&world), 409, "foreign_schema").await;
        assert_eq!(world.inventory(&tenant).await, [], "nothing was made before the refusal");
        let answer = world.ok("drop", &tenant.drop(&world, None)).await;
        assert_eq!(answer["dropped"], nothing(), "nothing of it is the tenant's");

        let role = mark_role(&world, &tenant).await;
        let query = format!(
            "SELECT *, (SELECT rolcanlogin FROM pg_roles WHERE rolname = '{name}'), \
             to_regclass('\"{name}\".precious')::text FROM pg_namespace WHERE nspname = '{name}'"
        );
        both_refuse(&world, &tenant, "foreign_schema", &query).await;
        world.sql(SHARED, &[format!("DROP SCHEMA \"{name}\" CASCADE"), role]).await;
    })
    .await;
}

#[tokio::test]
async fn a_foreign_database_is_left_alone() {
    with_tenants([Strategy::Database], async |world, [tenant]| {
        let name = tenant.name.clone();
        world.sql(SHARED, &[format!("CREATE DATABASE \"{name}\"")]).await;
        world.refused("initialize", &tenant.initialize(&world), 409, "foreign_database").await;
        assert_eq!(world.inventory(&tenant).await, [], "nothing was made before the refusal");
        let answer = world.ok("drop", &tenant.drop(&world, None)).await;
        assert_eq!(answer["dropped"], nothing(), "nothing of it is the tenant's");

        let role = mark_role(&world, &tenant).await;
        let query = format!(
            "SELECT oid, datdba, (SELECT rolcanlogin FROM pg_roles WHERE rolname = '{name}') \
             FROM pg_database WHERE datname = '{name}'"
        );
        both_refuse(&world, &tenant, "foreign_database", &query).await;
        world.sql(SHARED, &[format!("DROP DATABASE \"{name}\""), role]).await;
    })
    .await;
}

/// Makes the tenant's role by hand; answers with the statement that drops it.
async fn mark_role(world: &World, tenant: &Tenant) -> String {
    let mark = json!({ "tenant": tenant.id, "run": tenant.run });
    let name = &tenant.name;
    world
        .sql(
            SHARED,
            &[
                format!("CREATE ROLE \"{name}\" LOGIN"),
                format!("COMMENT ON ROLE \"{name}\" IS 'tenantry {mark}'"),
            ],
        )
        .await;
    format!("DROP ROLE \"{name}\"")
}
