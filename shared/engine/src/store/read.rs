//! What operators read: tenants, status, audit log. Never locks.

use chrono::{DateTime, Utc};
use model::{RunId, TenantId};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{Store, StoreResult};

/// A tenant as it is stored.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns of `tenants`, which say it")]
pub struct TenantRow {
    pub id: Uuid,
    pub slug: String,
    pub name: String,
    pub tier: String,
    pub region: String,
    pub admin_email: String,
    pub domain: Option<String>,
    pub compliance_required: bool,
    pub member_count: i64,
    pub monthly_api_calls: i64,
    pub deployment_strategy: String,
    pub deployment_reason: String,
    pub has_dedicated_database: bool,
    pub cost_center: Option<String>,
    pub alerting: Option<Value>,
    pub on_failure: String,
    pub status: String,
    pub provisioning_error: Option<Value>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub provisioning_started_at: Option<DateTime<Utc>>,
    pub provisioning_completed_at: Option<DateTime<Utc>>,
    pub delete_at: Option<DateTime<Utc>>,
    pub deleted_at: Option<DateTime<Utc>>,
}

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

/// A tenant with its newest run.
#[derive(Clone, Debug)]
pub struct StatusRow {
    /// The tenant.
    pub tenant: TenantRow,
    /// Its newest run.
    pub run: RunRow,
    /// That run's phases, by position, the inventory first.
    pub phases: Vec<PhaseRow>,
    /// The database's clock at the reading.
    pub now: DateTime<Utc>,
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

/// Which tenants to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct TenantFilter {
    /// Only this status.
    pub status: Option<String>,
    /// Only tenants made before this one.
    pub before: Option<TenantId>,
    /// At most so many.
    pub limit: i64,
}

/// One tenant by id.
pub(super) async fn tenant(connection: &mut PgConnection, id: TenantId) -> StoreResult<Option<TenantRow>> {
    Ok(sqlx::query_as!(
        TenantRow,
        r#"SELECT t.id, t.slug, t.name, t.tier, t.region, t.admin_email,
                  (SELECT d.domain FROM tenant_domains d WHERE d.tenant_id = t.id AND d.is_primary) AS domain,
                  t.compliance_required, t.member_count, t.monthly_api_calls, t.deployment_strategy, t.deployment_reason,
                  t.has_dedicated_database, t.cost_center, t.alerting, t.on_failure, t.status, t.provisioning_error,
                  t.created_by, t.created_at, t.updated_at, t.provisioning_started_at, t.provisioning_completed_at,
                  t.delete_at, t.deleted_at
           FROM tenants t WHERE t.id = $1"#,
        id.0
    )
    .fetch_optional(connection)
    .await?)
}

impl Store {
    /// The tenant that `{id}` means: by UUID, or the newest of a slug.
    pub async fn find_tenant(&self, id_or_slug: &str) -> StoreResult<Option<TenantId>> {
        if let Ok(id) = id_or_slug.parse::<TenantId>() {
            return Ok(sqlx::query_scalar!("SELECT id FROM tenants WHERE id = $1", id.0)
                .fetch_optional(&mut *self.pool.get().await?)
                .await?
                .map(TenantId));
        }
        Ok(sqlx::query_scalar!(
            "SELECT id FROM tenants WHERE slug = $1 ORDER BY created_at DESC LIMIT 1",
            id_or_slug
        )
        .fetch_optional(&mut *self.pool.get().await?)
        .await?
        .map(TenantId))
    }

    /// One tenant.
    pub async fn tenant(&self, id: TenantId) -> StoreResult<Option<TenantRow>> {
        let mut connection = self.pool.get().await?;
        tenant(&mut connection, id).await
    }

    /// Tenants, newest first.
    pub async fn tenants(&self, filter: &TenantFilter) -> StoreResult<Vec<TenantRow>> {
        Ok(sqlx::query_as!(
            TenantRow,
            r#"SELECT t.id, t.slug, t.name, t.tier, t.region, t.admin_email,
                      (SELECT d.domain FROM tenant_domains d WHERE d.tenant_id = t.id AND d.is_primary) AS domain,
                      t.compliance_required, t.member_count, t.monthly_api_calls, t.deployment_strategy,
                      t.deployment_reason, t.has_dedicated_database, t.cost_center, t.alerting, t.on_failure, t.status,
                      t.provisioning_error, t.created_by, t.created_at, t.updated_at, t.provisioning_started_at,
                      t.provisioning_completed_at, t.delete_at, t.deleted_at
               FROM tenants t
               WHERE ($1::text IS NULL OR t.status = $1) AND ($2::uuid IS NULL OR t.id < $2)
               ORDER BY t.id DESC LIMIT $3"#,
            filter.status,
            filter.before.map(|id| id.0),
            filter.limit
        )
        .fetch_all(&mut *self.pool.get().await?)
        .await?)
    }

    /// A tenant with its newest run and that run's phases, all of one moment.
    pub async fn status(&self, id: TenantId) -> StoreResult<Option<StatusRow>> {
        let mut connection = self.pool.get().await?;
        let mut transaction = connection.begin().await?;
        sqlx::query!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            .execute(&mut *transaction)
            .await?;
        let Some(tenant) = tenant(&mut transaction, id).await? else { return Ok(None) };
        let run = sqlx::query_as!(
            RunRow,
            r#"SELECT id, kind, status, direction, cursor, seq, claim IS NOT NULL AS "claimed!", next_attempt_at, request,
                      pause_reason, leftovers, change, error, actor, created_at, finished_at
               FROM provisioning_runs WHERE tenant_id = $1 ORDER BY created_at DESC LIMIT 1"#,
            id.0
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(run) = run else { return Ok(None) };
        let phases = sqlx::query_as!(
            PhaseRow,
            r#"SELECT position, name, state, operations, failures, total_failures, lost, waits, waiting_on, error,
                      started_at, finished_at, reverted_at
               FROM provisioning_phases WHERE run_id = $1 ORDER BY position"#,
            run.id
        )
        .fetch_all(&mut *transaction)
        .await?;
        let now =
            sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Some(StatusRow { tenant, run, phases, now }))
    }

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

    /// How many tenants have each status; one that nobody has is left out.
    pub async fn tenant_counts(&self) -> StoreResult<Vec<(String, i64)>> {
        let rows = sqlx::query!(r#"SELECT status, count(*) AS "count!" FROM tenants GROUP BY status"#)
            .fetch_all(&mut *self.pool.get().await?)
            .await?;
        Ok(rows.into_iter().map(|row| (row.status, row.count)).collect())
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
