//! Upgrades of a control plane's database that holds something already.

use shared::model::TenantId;
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

#[tokio::test(flavor = "multi_thread")]
async fn domains_are_numbered_on_from_the_highest_ever_and_those_that_failed_are_served_anew() {
    World::run(|world| async move {
        let (pool, later) = at(&world, "upkeep").await;
        let mut wanted = Vec::new();
        // How many it has; those that a change was to serve; how that ended; the next one's number.
        for (slug, claimed, served, status, next) in [
            ("none", 0, None, "failed", 1),
            ("two", 2, None, "succeeded", 3),
            ("fewer", 1, Some(r#"{"domains": [{"number": 4, "domain": "d.example"}]}"#), "failed", 5),
            ("all", 0, Some(r#"{"domains": []}"#), "succeeded", 1),
            ("other", 1, Some(r#"{"tier": "free"}"#), "failed", 2),
        ] {
            let id = tenant(&pool, slug, "2026-01-01", false).await;
            for number in 1..=claimed {
                sqlx::query("INSERT INTO tenant_domains (tenant_id, domain, number) VALUES ($1, $2, $3)")
                    .bind(id)
                    .bind(format!("{number}.{slug}.example"))
                    .bind(number)
                    .execute(&pool)
                    .await
                    .unwrap();
            }
            sqlx::query(
                "INSERT INTO provisioning_runs (id, tenant_id, kind, status, direction, phases, cursor, actor, change) \
                 VALUES ($1, $1, 'change', $3, 'forward', '{}', 0, 'test', $2::jsonb)",
            )
            .bind(id)
            .bind(served)
            .bind(status)
            .execute(&pool)
            .await
            .unwrap();
            wanted.push((id, next));
        }
        for text in &later {
            run(&pool, text).await;
        }
        let anew: Vec<String> =
            sqlx::query_scalar("SELECT slug FROM tenants WHERE domains_changed").fetch_all(&pool).await.unwrap();
        assert_eq!(anew, ["fewer"], "what failed is to be done still");
        for (id, next) in wanted {
            let domain = format!("{id}.example");
            let rules = &world.platform.domains;
            let claimed = world.store.claim_domain(TenantId(id), &domain, rules, "test").await.unwrap();
            assert_eq!(claimed.number, next);
        }
    })
    .await;
}
