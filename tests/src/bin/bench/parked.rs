//! Runs that wait: rows as the service writes them, due never, so that the bench decides when they go.

use std::collections::HashSet;

use engine::phase::{Job, queue_name};
use model::{PhaseName, RunId, TenantId};
use sqlx::{Executor as _, PgPool};
use uuid::Uuid;

/// The phases of one run that are measured.
pub const STEPS: usize = 5;

/// The phase behind them, at which the invoker stops: the run stays, and so does its queue.
pub const END: &str = "END";

/// The name of a measured phase.
pub fn step(nth: usize) -> String {
    format!("NOTHING_{nth}")
}

/// Writes `count` tenants, each with a run that is never due; returns the names of their queues.
pub async fn write(pool: &PgPool, group: &str, count: usize) -> HashSet<String> {
    let names: Vec<String> = (1..=STEPS).map(step).chain([END.to_owned()]).collect();
    sqlx::query(
        "WITH tenant AS (
             INSERT INTO tenants (id, slug, name, tier, region, admin_email, deployment_strategy, deployment_reason,
                                  status, created_by)
             SELECT gen_random_uuid(), $1 || '-' || nth, 'Bench', 'professional', 'eastus', 'admin@bench.example',
                    'container_per_tenant', 'bench', 'PENDING', 'bench'
             FROM generate_series(1, $2) AS nth RETURNING id
         ), numbered AS (
             INSERT INTO tenant_audit_numbers SELECT id, 0 FROM tenant
         ), run AS (
             INSERT INTO provisioning_runs (id, tenant_id, kind, status, direction, phases, cursor, actor,
                                            next_attempt_at, sweep_at)
             SELECT gen_random_uuid(), id, 'provision', 'running', 'forward', $3, 0, 'bench', 'infinity', 'infinity'
             FROM tenant RETURNING id
         )
         INSERT INTO provisioning_phases (run_id, position, name)
         SELECT run.id, p.nth - 1, p.name FROM run, unnest($3) WITH ORDINALITY AS p (name, nth)
         UNION ALL SELECT id, -1, 'TAKE_INVENTORY' FROM run",
    )
    .bind(group)
    .bind(i64::try_from(count).unwrap())
    .bind(&names)
    .execute(pool)
    .await
    .expect("parked runs");
    pool.execute("ANALYZE tenants, provisioning_runs, provisioning_phases").await.expect("statistics");
    let tenants: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM tenants WHERE slug LIKE $1 || '-%'")
        .bind(group)
        .fetch_all(pool)
        .await
        .expect("parked runs");
    tenants.into_iter().map(|tenant| queue_name(TenantId(tenant))).collect()
}

/// How many runs are not finished.
pub async fn live(pool: &PgPool) -> usize {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM provisioning_runs WHERE finished_at IS NULL")
        .fetch_one(pool)
        .await
        .expect("runs");
    usize::try_from(count).unwrap()
}

/// Brings the runs of a group to their beginning and makes them due; returns their first messages.
pub async fn release(pool: &PgPool, group: &str) -> Vec<Job> {
    sqlx::query(
        "DELETE FROM tenant_phases h USING tenants t WHERE h.tenant_id = t.id AND t.slug LIKE $1 || '-%'",
    )
    .bind(group)
    .execute(pool)
    .await
    .expect("released");
    sqlx::query(
        "UPDATE provisioning_phases p SET state = 'pending', plan = NULL, checkpoint = NULL, started_at = NULL,
                finished_at = NULL, operations = '[]'
         FROM provisioning_runs r, tenants t
         WHERE p.run_id = r.id AND r.tenant_id = t.id AND t.slug LIKE $1 || '-%' AND p.state <> 'pending'",
    )
    .bind(group)
    .execute(pool)
    .await
    .expect("released");
    let rows: Vec<(Uuid, Uuid, i64)> = sqlx::query_as(
        "UPDATE provisioning_runs r SET cursor = 0, next_attempt_at = clock_timestamp(),
                sweep_at = clock_timestamp() + interval '1 hour'
         FROM tenants t WHERE r.tenant_id = t.id AND t.slug LIKE $1 || '-%' RETURNING r.tenant_id, r.id, r.seq",
    )
    .bind(group)
    .fetch_all(pool)
    .await
    .expect("released");
    let job = |(tenant, run, seq)| Job::new(TenantId(tenant), RunId(run), PhaseName::from(step(1)), seq);
    rows.into_iter().map(job).collect()
}

/// Takes the runs of a group out of the sweeper's sight.
pub async fn settle(pool: &PgPool, group: &str) {
    sqlx::query(
        "UPDATE provisioning_runs r SET sweep_at = 'infinity' FROM tenants t
         WHERE r.tenant_id = t.id AND t.slug LIKE $1 || '-%'",
    )
    .bind(group)
    .execute(pool)
    .await
    .expect("settled");
}
