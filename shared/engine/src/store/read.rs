//! What operators read of runs. Never locks.

use chrono::{DateTime, Utc};
use model::{RunId, TenantId};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Store, StoreResult};

/// A run as it is stored.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns of `provisioning_runs`, which say it")]
pub struct RunRow {
    pub id: Uuid,
    pub kind: String,
    pub status: String,
    pub direction: String,
    pub cursor: i32,
    pub seq: i64,
    pub claimed: bool,
    pub next_attempt_at: DateTime<Utc>,
    pub request: Option<Value>,
    pub pause_reason: Option<Value>,
    pub leftovers: Option<Value>,
    pub change: Option<Value>,
    pub error: Option<Value>,
    pub actor: String,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// A phase of a run as it is stored. Position -1 is the inventory.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns of `provisioning_phases`, which say it")]
pub struct PhaseRow {
    pub position: i32,
    pub name: String,
    pub state: String,
    pub operations: Value,
    pub failures: i32,
    pub total_failures: i32,
    pub lost: i32,
    pub waits: i32,
    pub waiting_on: Option<String>,
    pub error: Option<Value>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub reverted_at: Option<DateTime<Utc>>,
}

/// One row of the audit log.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns of `provisioning_audit_logs`, which say it")]
pub struct AuditRow {
    pub number: i64,
    pub run_id: Option<Uuid>,
    pub seq: Option<i64>,
    pub action: String,
    pub phase: Option<String>,
    pub actor: String,
    pub detail: Value,
    pub at: DateTime<Utc>,
}

/// How long a phase has typically taken.
#[derive(Clone, Debug)]
pub struct Typical {
    /// The phase.
    pub phase: String,
    /// The median of the newest done ones, in seconds.
    pub seconds: f64,
    /// The median of how many operations they had.
    pub operations: f64,
}

/// A tenant's newest run and its phases, by position, the inventory first. Of one moment, if the transaction is.
pub async fn newest_run(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> StoreResult<Option<(RunRow, Vec<PhaseRow>)>> {
    let run = sqlx::query_as!(
        RunRow,
        r#"SELECT id, kind, status, direction, cursor, seq, claim IS NOT NULL AS "claimed!", next_attempt_at, request,
                  pause_reason, leftovers, change, error, actor, created_at, finished_at
           FROM provisioning_runs WHERE tenant_id = $1 ORDER BY created_at DESC LIMIT 1"#,
        tenant.0
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(run) = run else { return Ok(None) };
    let phases = sqlx::query_as!(
        PhaseRow,
        r#"SELECT position, name, state, operations, failures, total_failures, lost, waits, waiting_on, error,
                  started_at, finished_at, reverted_at
           FROM provisioning_phases WHERE run_id = $1 ORDER BY position"#,
        run.id
    )
    .fetch_all(&mut *connection)
    .await?;
    Ok(Some((run, phases)))
}

impl Store {
    /// Audit rows of a tenant after `after`, in order.
    pub async fn audit(&self, id: TenantId, after: i64, limit: i64) -> StoreResult<Vec<AuditRow>> {
        Ok(sqlx::query_as!(
            AuditRow,
            r#"SELECT number, run_id, seq, action, phase, actor, detail, at FROM provisioning_audit_logs
               WHERE tenant_id = $1 AND number > $2 ORDER BY number LIMIT $3"#,
            id.0,
            after,
            limit
        )
        .fetch_all(&mut *self.pool.get().await?)
        .await?)
    }

    /// The median time of each phase, and of how many operations it had, over its newest hundred done ones.
    pub async fn typical(&self) -> StoreResult<Vec<Typical>> {
        let rows = sqlx::query!(
            r#"SELECT name, percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS "seconds!",
                      percentile_cont(0.5) WITHIN GROUP (ORDER BY operations) AS "operations!" FROM (
                   SELECT p.name, EXTRACT(EPOCH FROM p.finished_at - p.started_at)::float8 AS seconds,
                          jsonb_array_length(p.operations) AS operations,
                          row_number() OVER (PARTITION BY p.name ORDER BY p.finished_at DESC) AS nth
                   FROM provisioning_phases p JOIN provisioning_runs r ON r.id = p.run_id
                   WHERE r.kind = 'provision' AND p.position >= 0
                     AND p.finished_at IS NOT NULL AND p.started_at IS NOT NULL
               ) newest WHERE nth <= 100 GROUP BY name"#
        )
        .fetch_all(&mut *self.pool.get().await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Typical { phase: row.name, seconds: row.seconds, operations: row.operations })
            .collect())
    }

    /// The newest run's id of a tenant, finished or not.
    pub async fn newest_run(&self, id: TenantId) -> StoreResult<Option<RunId>> {
        Ok(sqlx::query_scalar!(
            "SELECT id FROM provisioning_runs WHERE tenant_id = $1 ORDER BY created_at DESC LIMIT 1",
            id.0
        )
        .fetch_optional(&mut *self.pool.get().await?)
        .await?
        .map(RunId))
    }
}
