//! Upgrades of a control plane's database that holds something already.

use sqlx::{AssertSqlSafe, PgPool};
use tests::World;
use uuid::Uuid;

/// A database of the world's server with the migrations up to this one, and the later ones.
async fn at(world: &World, last: &str) -> (PgPool, Vec<String>) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let texts: Vec<(String, String)> = files
        .iter()
        .map(|file| {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(file).unwrap())
        })
        .collect();
    let position = texts.iter().position(|(name, _)| name.contains(last)).unwrap();
    let (before, after) = texts.split_at(position + 1);
    // In the place of the schema that the world has made.
    run(&world.pool, "DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
    for (_, text) in before {
        run(&world.pool, text).await;
    }
    (world.pool.clone(), after.iter().map(|(_, text)| text.clone()).collect())
}

async fn run(pool: &PgPool, text: &str) {
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(pool).await.unwrap();
}

async fn tenant(pool: &PgPool, slug: &str, created: &str, deleted: bool) -> Uuid {
    let id = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO tenants (id, slug, name, tier, region, admin_email, deployment_strategy, deployment_reason, status, \
                              created_by, created_at, deleted_at) \
         VALUES ($1, $2, $2, 'free', 'eastus', 'a@b.example', 'container_per_tenant', 'test', 'ACTIVE', 'test', \
                 $3::timestamptz, CASE WHEN $4 THEN now() END)",
    )
    .bind(id)
    .bind(slug)
    .bind(created)
    .bind(deleted)
    .execute(pool)
    .await
    .unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_tenants_with_one_domain_the_first_living_one_keeps_it() {
    World::run(|world| async move {
        let (pool, later) = at(&world, "tenant_licenses").await;
        let mut named = Vec::new();
        for (slug, created, deleted) in
            [("gone", "2026-01-01", true), ("first", "2026-01-02", false), ("second", "2026-01-03", false)]
        {
            let id = tenant(&pool, slug, created, deleted).await;
            sqlx::query("INSERT INTO tenant_domains (tenant_id, domain, created_at) VALUES ($1, 'a.example', $2::timestamptz)")
                .bind(id)
                .bind(created)
                .execute(&pool)
                .await
                .unwrap();
            named.push(id);
        }
        for text in &later {
            run(&pool, text).await;
        }
        let keeps: Vec<Uuid> =
            sqlx::query_scalar("SELECT tenant_id FROM tenant_domains").fetch_all(&pool).await.unwrap();
        assert_eq!(keeps, [named[1]]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_rows_go_on_from_the_number_that_they_had() {
    World::run(|world| async move {
        let (pool, later) = at(&world, "changes").await;
        let id = tenant(&pool, "counted", "2026-01-01", false).await;
        run(&pool, "UPDATE tenants SET audit_number = 41").await;
        for text in &later {
            run(&pool, text).await;
        }
        let numbers: Vec<(Uuid, i64)> = sqlx::query_as("SELECT tenant_id, number FROM tenant_audit_numbers")
            .fetch_all(&pool)
            .await
            .unwrap();
        assert_eq!(numbers, [(id, 41)]);
    })
    .await;
}
