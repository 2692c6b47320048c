//! Migrations of a control plane's database that holds something already.

use engine::store::StoreError;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, PgPool, SqlSafeStr as _};
use tenants::Store;
use tests::World;

/// A later version's migrations: this one's, and one more.
fn later() -> Migrator {
    let more = "ALTER TABLE tenants ADD COLUMN later integer NOT NULL DEFAULT 7".into_sql_str();
    let more = Migration::new(i64::MAX, "later".into(), MigrationType::Simple, more, false);
    let known = sqlx::migrate!("../shared/engine/migrations");
    Migrator::with_migrations(known.iter().cloned().chain([more]).collect())
}

/// Every table with all its rows, the migrator's own too.
async fn everything(pool: &PgPool) -> Vec<(String, String)> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut all = Vec::new();
    for table in tables {
        let rows =
            format!("SELECT coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '') FROM {table} t");
        let rows = sqlx::query_scalar(AssertSqlSafe(rows)).fetch_one(pool).await.unwrap();
        all.push((table, rows));
    }
    all
}

async fn run(pool: &PgPool, text: &'static str) {
    sqlx::raw_sql(text).execute(pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_call_changes_nothing() {
    World::run(|world| async move {
        world.tenant("acme", &["FIRST"]).await;
        let before = everything(&world.pool).await;
        world.store.migrate().await.unwrap();
        assert_eq!(everything(&world.pool).await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_make_the_schema_once() {
    World::run(|world| async move {
        run(&world.pool, "DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
        let calls = (0..8).map(|_| world.store.migrate());
        futures::future::try_join_all(calls).await.unwrap();
        world.store.ready().await.unwrap();
        world.tenant("acme", &["FIRST"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_migration_keeps_what_is_there_and_the_version_before_it_does_not_undo_it() {
    World::run(|world| async move {
        let tenant = world.tenant("acme", &["FIRST"]).await;
        let before = everything(&world.pool).await;
        later().run(&world.pool).await.unwrap();
        let after = everything(&world.pool).await;
        for ((table, rows), (_, now)) in before.iter().zip(&after) {
            match table.as_str() {
                "_sqlx_migrations" => assert!(now.starts_with(rows), "{now}"),
                "tenants" => assert_eq!(*now, rows.replace(')', ",7)")),
                _ => assert_eq!(now, rows, "{table}"),
            }
        }
        // The version before works on, as it must while it is replaced; asked to migrate, it refuses.
        world.store.ready().await.unwrap();
        assert_eq!(world.status(tenant).await.tenant.slug, "acme");
        let refused = world.store.migrate().await.unwrap_err();
        assert!(matches!(refused, StoreError::Migrate(MigrateError::VersionMissing(i64::MAX))), "{refused}");
        assert_eq!(everything(&world.pool).await, after);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_a_foreign_table_is_left_as_it_is() {
    World::run(|world| async move {
        // The last one that is made, so that all the others were made before.
        run(
            &world.pool,
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public; \
             CREATE TABLE dispatching (theirs text); INSERT INTO dispatching VALUES ('kept')",
        )
        .await;
        let refused = world.store.migrate().await.unwrap_err();
        assert!(matches!(refused, StoreError::Migrate(MigrateError::ExecuteMigration(_, 1))), "{refused}");
        let left = [("_sqlx_migrations", ""), ("dispatching", "(kept)")];
        assert_eq!(
            everything(&world.pool).await,
            left.map(|(table, rows)| (table.to_owned(), rows.to_owned()))
        );
        // Without it, the next call makes everything. Another process's: the first still holds the migrator's lock.
        run(&world.pool, "DROP TABLE dispatching").await;
        world.store.close();
        let next = Store::connect_to(&world.database_url, 1).unwrap();
        next.migrate().await.unwrap();
        next.ready().await.unwrap();
        next.close();
    })
    .await;
}
