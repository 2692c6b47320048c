//! What `initialize` makes, once however often it is asked.

use crate::world::{SHARED, Strategy, Tenant, World, number, run, sqlstate, with_tenants};
use postgres_protocol::password::scram_sha_256;
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::time::Duration;

#[tokio::test]
async fn a_second_call_changes_nothing() {
    for strategy in [Strategy::Schema, Strategy::Database] {
        with_tenants([strategy], async move |world, [tenant]| {
            let first = world.ok("initialize", &tenant.initialize(&world)).await;
            let own = strategy == Strategy::Database;
            assert_eq!(first["created"], json!({ "role": true, "database": own, "schema": !own }));
            assert_eq!(
                first["seeded"],
                json!({ "dashboardTemplates": 3, "systemRoles": 4, "configuration": 5 })
            );
            let versions: Vec<_> =
                first["migrations"].as_array().unwrap().iter().map(|m| m["version"].clone()).collect();
            assert_eq!(versions, [1]);
            assert!(first["migrations"].as_array().unwrap().iter().all(|m| m["applied"] == true));

            let mut again = tenant.initialize(&world);
            again["runId"] = json!(uuid::Uuid::new_v4());
            let second = world.ok("initialize", &again).await;
            assert_eq!(second["created"], json!({ "role": false, "database": false, "schema": false }));
            assert_eq!(
                second["seeded"],
                json!({ "dashboardTemplates": 0, "systemRoles": 0, "configuration": 0 })
            );
            assert!(second["migrations"].as_array().unwrap().iter().all(|m| m["applied"] == false));
            assert_eq!(
                second["createdByRun"],
                json!(tenant.run),
                "the mark names the run that made the role"
            );

            let mut conn = tenant.login(&world).await.unwrap();
            assert_eq!(number(&mut conn, "SELECT count(*) FROM dashboard_templates").await, 3);
            assert_eq!(number(&mut conn, "SELECT count(*) FROM _sqlx_migrations WHERE success").await, 1);
            let foreign = format!(
                "SELECT count(*) FROM pg_class WHERE relnamespace = '\"{}\"'::regnamespace \
                 AND pg_get_userbyid(relowner) <> '{}'",
                tenant.schema(),
                tenant.name
            );
            assert_eq!(number(&mut conn, &foreign).await, 0, "all objects belong to the tenant's role");
        })
        .await;
    }
}

#[tokio::test]
async fn ten_calls_at_once_have_one_effect() {
    for strategy in [Strategy::Schema, Strategy::Database] {
        with_tenants([strategy], async move |world, [tenant]| {
            let body = tenant.initialize(&world);
            let calls: Vec<_> = (0..10)
                .map(|_| {
                    let (world, body) = (world.clone(), body.clone());
                    tokio::spawn(async move { world.ok("initialize", &body).await })
                })
                .collect();
            let mut made = 0;
            for call in calls {
                let answer = call.await.unwrap();
                made += i32::from(answer["created"]["role"] == true);
                assert_eq!(answer["createdByRun"], json!(tenant.run));
            }
            assert_eq!(made, 1);
            assert_eq!(world.inventory(&tenant).await.len(), 2);
        })
        .await;
    }
}

#[tokio::test]
async fn many_tenants_at_once_do_not_disturb_each_other() {
    use Strategy::{Database, Schema};
    let strategies = [Schema, Schema, Schema, Schema, Schema, Schema, Schema, Schema, Database, Database];
    with_tenants(strategies, async |world, tenants| {
        for path in ["initialize", "drop"] {
            let calls: Vec<_> = tenants
                .iter()
                .map(|tenant| {
                    let world = world.clone();
                    let body = if path == "drop" {
                        tenant.drop(&world, Some(tenant.run))
                    } else {
                        tenant.initialize(&world)
                    };
                    tokio::spawn(async move { world.ok(path, &body).await })
                })
                .collect();
            for call in calls {
                call.await.unwrap();
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_call_that_died_after_the_role_is_completed() {
    for strategy in [Strategy::Schema, Strategy::Database] {
        with_tenants([strategy], async |world, [tenant]| {
            let mark = json!({ "tenant": tenant.id, "run": tenant.run });
            world
                .sql(
                    SHARED,
                    &[
                        format!("CREATE ROLE \"{}\" NOLOGIN", tenant.name),
                        format!("COMMENT ON ROLE \"{}\" IS 'tenantry {mark}'", tenant.name),
                    ],
                )
                .await;
            let mut body = tenant.initialize(&world);
            body["runId"] = json!(uuid::Uuid::new_v4());
            let answer = world.ok("initialize", &body).await;
            assert_eq!(answer["created"]["role"], false);
            assert_eq!(answer["createdByRun"], json!(tenant.run));
            let mut conn = tenant.login(&world).await.unwrap();
            assert_eq!(number(&mut conn, "SELECT count(*) FROM system_roles").await, 4);
        })
        .await;
    }
}

#[tokio::test]
async fn a_call_that_died_between_two_migrations_is_completed() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        world.ok("initialize", &tenant.initialize(&world)).await;
        // To a later version it is as it was after the first migration: no seeds, no mark of completion.
        let mut conn = tenant.login(&world).await.unwrap();
        run(
            &mut conn,
            "DELETE FROM dashboard_templates; DELETE FROM system_roles; DELETE FROM configuration",
        )
        .await
        .unwrap();
        let mark = json!({ "tenant": tenant.id, "run": tenant.run });
        world
            .sql(
                SHARED,
                &[
                    format!("ALTER ROLE \"{}\" NOLOGIN", tenant.name),
                    format!("COMMENT ON ROLE \"{}\" IS 'tenantry {mark}'", tenant.name),
                ],
            )
            .await;

        let later = World::later().await;
        let answer = later.ok("initialize", &tenant.initialize(&later)).await;
        let applied: Vec<_> =
            answer["migrations"].as_array().unwrap().iter().map(|m| m["applied"].clone()).collect();
        assert_eq!(applied, [false, true]);
        assert_eq!(number(&mut tenant.login(&world).await.unwrap(), "SELECT count(*) FROM later").await, 0);
        assert_eq!(
            answer["seeded"],
            json!({ "dashboardTemplates": 3, "systemRoles": 4, "configuration": 5 })
        );
    })
    .await;
}

#[tokio::test]
async fn password_and_connection_limit_are_those_of_the_last_call() {
    with_tenants([Strategy::Schema], async |world, [mut tenant]| {
        world.ok("initialize", &tenant.initialize(&world)).await;
        let old = tenant.password.clone();
        tenant.password = "another".to_owned();
        let mut body = tenant.initialize(&world);
        body["connectionLimit"] = json!(null);
        world.ok("initialize", &body).await;
        tenant.login(&world).await.unwrap();
        tenant.password = old;
        assert!(tenant.login(&world).await.is_err());
        let limit = format!("SELECT rolconnlimit::bigint FROM pg_roles WHERE rolname = '{}'", tenant.name);
        assert_eq!(number(&mut world.look(SHARED).await, &limit).await, -1);
    })
    .await;
}

#[tokio::test]
async fn what_a_tenant_deleted_or_planted_is_left_alone() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        world.ok("initialize", &tenant.initialize(&world)).await;
        let mut conn = tenant.login(&world).await.unwrap();
        // A trigger that would run in the administrator's session, were rows to be added there again.
        run(
            &mut conn,
            "DELETE FROM dashboard_templates; \
             CREATE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               RESET ROLE; EXECUTE format('ALTER ROLE %I CREATEROLE', TG_TABLE_SCHEMA); RETURN NEW; END $$; \
             CREATE TRIGGER planted BEFORE INSERT ON dashboard_templates FOR EACH ROW EXECUTE FUNCTION planted()",
        )
        .await
        .unwrap();
        let answer = world.ok("initialize", &tenant.initialize(&world)).await;
        assert_eq!(answer["seeded"]["dashboardTemplates"], 0);
        assert_eq!(number(&mut conn, "SELECT count(*) FROM dashboard_templates").await, 0);
        assert_eq!(powers(&world, &tenant).await, 0);
    })
    .await;
}

async fn powers(world: &World, tenant: &Tenant) -> i64 {
    let powers = format!(
        "SELECT count(*) FROM pg_roles WHERE rolname = '{}' \
         AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication)",
        tenant.name
    );
    number(&mut world.look(SHARED).await, &powers).await
}

/// Puts triggers where migrations and starting rows go, which write down in whose session they run, and take what that gives.
async fn plant(conn: &mut PgConnection, tenant: &Tenant) {
    let triggers = ["configuration", "_sqlx_migrations"].map(|table| {
        format!(
            "CREATE TRIGGER planted BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION planted('{}');",
            tenant.name
        )
    });
    let plant = format!(
        "DELETE FROM configuration; CREATE TABLE seen (who text); \
         CREATE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           INSERT INTO seen VALUES (session_user); \
           BEGIN RESET ROLE; EXECUTE format('ALTER ROLE %I CREATEROLE', TG_ARGV[0]); \
           EXCEPTION WHEN insufficient_privilege THEN NULL; END; \
           RETURN NEW; END $$; {}",
        triggers.concat()
    );
    run(conn, &plant).await.unwrap();
}

/// What the triggers have written down: in whose sessions, and how often.
async fn seen(conn: &mut PgConnection) -> Vec<(String, i64)> {
    let query = "SELECT who, count(*) FROM seen GROUP BY who ORDER BY who";
    sqlx::query_as(query).fetch_all(conn).await.unwrap()
}

#[tokio::test]
async fn a_migration_gives_a_tenant_no_rights_that_it_has_not() {
    for strategy in [Strategy::Schema, Strategy::Database] {
        with_tenants([strategy], async |world, [tenant]| {
            // Its one session is in use.
            let mut body = tenant.initialize(&world);
            body["connectionLimit"] = json!(1);
            world.ok("initialize", &body).await;
            let mut conn = tenant.login(&world).await.unwrap();
            plant(&mut conn, &tenant).await;

            let later = World::later().await;
            let answer = later.ok("initialize", &body).await;
            let applied: Vec<_> =
                answer["migrations"].as_array().unwrap().iter().map(|m| m["applied"].clone()).collect();
            assert_eq!(applied, [false, true]);
            assert_eq!(answer["seeded"]["configuration"], 5);
            assert_eq!(number(&mut conn, "SELECT count(*) FROM later").await, 0);
            assert_eq!(seen(&mut conn).await, [(tenant.name.clone(), 6)]);
            assert_eq!(powers(&world, &tenant).await, 0);

            // It logs in as before, as often as before.
            assert_eq!(sqlstate(tenant.login(&world).await), "53300");
            let backend = number(&mut conn, "SELECT pg_backend_pid()::bigint").await;
            drop(conn);
            let alive = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {backend}");
            until(&mut world.look(SHARED).await, &alive, 0).await;
            tenant.login(&world).await.unwrap();
            // And is complete again.
            let again = later.ok("initialize", &body).await;
            assert!(again["migrations"].as_array().unwrap().iter().all(|m| m["applied"] == false));
        })
        .await;
    }
}

#[tokio::test]
async fn a_migration_of_a_pooled_tenant_runs_as_its_role_which_cannot_log_in_afterwards() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        let mut body = tenant.initialize(&world);
        body["verifier"] = Value::Null;
        world.ok("initialize", &body).await;
        let name = &tenant.name;
        world.sql(SHARED, &[format!("GRANT \"{name}\" TO CURRENT_USER")]).await;
        let mut conn = world.look(SHARED).await;
        run(&mut conn, &format!("SET ROLE \"{name}\"; SET search_path TO \"{name}\"")).await.unwrap();
        plant(&mut conn, &tenant).await;
        World::later().await.ok("initialize", &body).await;
        assert_eq!(seen(&mut conn).await, [(tenant.name.clone(), 6)]);
        assert_eq!(powers(&world, &tenant).await, 0);
        let open = format!(
            "SELECT count(*) FROM pg_roles WHERE rolname = '{name}' \
             AND (rolcanlogin OR has_database_privilege(oid, current_database(), 'CONNECT'))"
        );
        assert_eq!(number(&mut world.look(SHARED).await, &open).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_migration_that_fails_leaves_a_tenant_its_login() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        world.ok("initialize", &tenant.initialize(&world)).await;
        let mut conn = tenant.login(&world).await.unwrap();
        // The table that the migration would make is there.
        run(&mut conn, "CREATE TABLE later (theirs text)").await.unwrap();
        let later = World::later().await;
        later.refused("initialize", &tenant.initialize(&world), 500, "database_error").await;
        tenant.login(&world).await.unwrap();
        let limit = format!("SELECT rolconnlimit::bigint FROM pg_roles WHERE rolname = '{}'", tenant.name);
        assert_eq!(number(&mut conn, &limit).await, 20);
        run(&mut conn, "DROP TABLE later").await.unwrap();
        later.ok("initialize", &tenant.initialize(&world)).await;
        assert_eq!(number(&mut conn, "SELECT count(tenant_id) FROM later").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_no_lock() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        world.ok("initialize", &tenant.initialize(&world)).await;
        world.ok("drop", &tenant.drop(&world, None)).await;
        // A foreign session holds a lock that the call needs while it holds its own.
        let mark = json!({ "tenant": tenant.id, "run": tenant.run });
        let name = &tenant.name;
        world
            .sql(
                SHARED,
                &[
                    format!(
                        "CREATE ROLE \"{name}\" LOGIN PASSWORD '{}'",
                        scram_sha_256(tenant.password.as_bytes())
                    ),
                    format!("COMMENT ON ROLE \"{name}\" IS 'tenantry {mark}'"),
                    format!("GRANT \"{name}\" TO CURRENT_USER"),
                    format!("CREATE SCHEMA \"{name}\" AUTHORIZATION \"{name}\""),
                    format!("GRANT CONNECT ON DATABASE {SHARED} TO \"{name}\""),
                    format!("CREATE TABLE \"{name}\".configuration ()"),
                ],
            )
            .await;
        let mut holder = world.look(SHARED).await;
        run(&mut holder, &format!("DROP TABLE \"{name}\".configuration")).await.unwrap();
        run(&mut holder, "BEGIN").await.unwrap();
        run(&mut holder, &format!("CREATE TABLE \"{name}\".configuration ()")).await.unwrap();

        let call = world
            .client
            .post(format!("{}/internal/database/initialize", world.url))
            .header("x-internal-secret", crate::world::SECRET)
            .json(&tenant.initialize(&world))
            .send();
        let caller = tokio::spawn(call);
        let held = format!(
            "SELECT count(*) FROM pg_locks, hashtextextended('tenantry tenant {0}', 0) t, \
             hashtextextended('tenantry place {0}', 0) p WHERE locktype = 'advisory' \
             AND (classid::bigint << 32 | objid::bigint) IN (t, p)",
            tenant.id
        );
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tenant-api' \
             AND wait_event_type = 'Lock' AND {} = ANY(pg_blocking_pids(pid))",
            number(&mut holder, "SELECT pg_backend_pid()::bigint").await
        );
        let mut eye = world.look(SHARED).await;
        until(&mut eye, &waiting, 1).await;
        assert_eq!(number(&mut eye, &held).await, 2);
        caller.abort();
        until(&mut eye, &held, 0).await;
        run(&mut holder, "ROLLBACK").await.unwrap();
        world.ok("initialize", &tenant.initialize(&world)).await;
    })
    .await;
}

/// Waits, at most a minute, until `query` answers `wanted`.
async fn until(conn: &mut sqlx::PgConnection, query: &str, wanted: i64) {
    let reached = async {
        while number(conn, query).await != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let outcome = tokio::time::timeout(Duration::from_mins(1), reached).await;
    assert!(outcome.is_ok(), "{query} is never {wanted}");
}
