//! The state of an export: a row of the tenant's own.

use super::{Job, Storage};
use crate::problem::{self, Problem};
use crate::tables::{Acting, Tables};
use crate::users::commit;
use chrono::{DateTime, Utc};
use model::TenantId;
use serde_json::{Value, json};
use sqlx::postgres::types::PgInterval;
use std::time::Duration;
use uuid::Uuid;

#[derive(Debug, sqlx::FromRow)]
pub(super) struct Record {
    tenant_id: Uuid,
    id: Uuid,
    state: String,
    requested_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    attempts: i32,
    row_count: Option<i64>,
    byte_count: Option<i64>,
    sha256: Option<Vec<u8>>,
    error_code: Option<String>,
    error: Option<String>,
}

/// What a finished export is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) rows: i64,
    pub(super) bytes: i64,
    pub(super) sha256: [u8; 32],
}

/// What there is to do for an export.
#[derive(Clone, Copy, Debug)]
pub(super) enum NextAttempt {
    /// Its work, for this many times.
    Attempt(i32),
    /// Nothing: it is done, or failed.
    Finished,
    /// Nothing: it is not there.
    Unknown,
}

impl Record {
    pub(super) fn is_queued(&self) -> bool {
        self.state == "queued"
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == "done"
    }

    pub(super) fn state(&self) -> &str {
        &self.state
    }

    /// As a caller sees it.
    pub(super) fn shown(&self, storage: &Storage) -> Value {
        let hash = self.sha256.as_ref().map(hex::encode);
        let error = self.error_code.as_ref().map(|code| json!({ "code": code, "detail": self.error }));
        let stored = self.is_done().then(|| storage.name(TenantId(self.tenant_id), self.id));
        json!({
            "id": self.id,
            "tenantId": self.tenant_id,
            "state": self.state,
            "requestedAt": self.requested_at,
            "startedAt": self.started_at,
            "finishedAt": self.finished_at,
            "attempts": self.attempts,
            "rows": self.row_count,
            "bytes": self.byte_count,
            "sha256": hash,
            "storage": stored,
            "error": error,
        })
    }
}

/// Makes the export's row, unless it is there. Says beside it whether its job was given to the broker so long ago that it
/// may have lost it, although somebody has begun with it.
pub(super) async fn make(tables: &Tables, job: Job, after: Duration) -> Result<(Record, bool), Problem> {
    let mut acting = acting(tables, job.tenant_id).await?;
    sqlx::query("INSERT INTO exports (tenant_id, id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(job.tenant_id.0)
        .bind(job.export_id)
        .execute(&mut *acting)
        .await
        .map_err(failed("making the export's row"))?;
    let row = select(&mut acting, job).await?;
    let overdue: bool = sqlx::query_scalar(
        "SELECT state = 'running' AND queued_at < now() - $3 FROM exports WHERE tenant_id = $1 AND id = $2",
    )
    .bind(job.tenant_id.0)
    .bind(job.export_id)
    .bind(interval(after))
    .fetch_one(&mut *acting)
    .await
    .map_err(failed("reading the export's row"))?;
    commit(acting).await?;
    Ok((row, overdue))
}

/// Says that the export's job was given to the broker now.
pub(super) async fn given(tables: &Tables, job: Job) -> Result<(), Problem> {
    let mut acting = acting(tables, job.tenant_id).await?;
    sqlx::query("UPDATE exports SET queued_at = now() WHERE tenant_id = $1 AND id = $2")
        .bind(job.tenant_id.0)
        .bind(job.export_id)
        .execute(&mut *acting)
        .await
        .map_err(failed("writing that the export's job was given"))?;
    commit(acting).await
}

fn interval(after: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(after.as_micros()).unwrap_or(i64::MAX) }
}

/// The export's row.
pub(super) async fn find(tables: &Tables, job: Job) -> Result<Record, Problem> {
    select(&mut acting(tables, job.tenant_id).await?, job).await
}

async fn select(acting: &mut Acting, job: Job) -> Result<Record, Problem> {
    let found = sqlx::query_as(
        "SELECT tenant_id, id, state, requested_at, started_at, finished_at, attempts, row_count, byte_count, sha256, \
                error_code, error FROM exports WHERE tenant_id = $1 AND id = $2",
    )
    .bind(job.tenant_id.0)
    .bind(job.export_id)
    .fetch_optional(&mut **acting)
    .await
    .map_err(failed("reading the export's row"))?;
    found.ok_or_else(|| problem::no_export(job.export_id))
}

/// Counts an attempt and says that it is under way, if there is anything to do. By a session of its own, so that it is seen.
pub(super) async fn begin(tables: &Tables, job: Job) -> Result<NextAttempt, Problem> {
    let Some(mut acting) = tables.act(job.tenant_id).await? else { return Ok(NextAttempt::Unknown) };
    let attempts: Option<i32> = sqlx::query_scalar(
        "UPDATE exports SET state = 'running', started_at = now(), attempts = attempts + 1 \
         WHERE tenant_id = $1 AND id = $2 AND state IN ('queued', 'running') RETURNING attempts",
    )
    .bind(job.tenant_id.0)
    .bind(job.export_id)
    .fetch_optional(&mut *acting)
    .await
    .map_err(failed("beginning the export"))?;
    if let Some(attempts) = attempts {
        commit(acting).await?;
        return Ok(NextAttempt::Attempt(attempts));
    }
    match select(&mut acting, job).await {
        Ok(_) => Ok(NextAttempt::Finished),
        Err(problem) if problem.code() == "export_unknown" => Ok(NextAttempt::Unknown),
        Err(problem) => Err(problem),
    }
}

/// Says how it ended. A second call changes nothing.
pub(super) async fn finish(tables: &Tables, job: Job, end: &Result<Written, Problem>) -> Result<(), Problem> {
    let (written, problem) = (end.as_ref().ok(), end.as_ref().err());
    let mut acting = acting(tables, job.tenant_id).await?;
    sqlx::query(
        "UPDATE exports SET state = $3, finished_at = now(), row_count = $4, byte_count = $5, sha256 = $6, \
                            error_code = $7, error = $8 \
         WHERE tenant_id = $1 AND id = $2 AND state = 'running'",
    )
    .bind(job.tenant_id.0)
    .bind(job.export_id)
    .bind(if end.is_ok() { "done" } else { "failed" })
    .bind(written.map(|written| written.rows))
    .bind(written.map(|written| written.bytes))
    .bind(written.map(|written| written.sha256.to_vec()))
    .bind(problem.map(Problem::code))
    .bind(problem.map(Problem::detail))
    .execute(&mut *acting)
    .await
    .map_err(failed("finishing the export"))?;
    commit(acting).await
}

/// The exports whose jobs were given to the broker so long ago that it may have lost them; from now on they count as given.
pub(super) async fn overdue(tables: &Tables, tenant: TenantId, after: Duration) -> Result<Vec<Job>, Problem> {
    let Some(mut acting) = tables.act(tenant).await? else { return Ok(Vec::new()) };
    // Of an instance whose tenant has no such table yet, nobody has asked for an export.
    let there: bool = sqlx::query_scalar("SELECT to_regclass('exports') IS NOT NULL")
        .fetch_one(&mut *acting)
        .await
        .map_err(failed("looking for the table of exports"))?;
    if !there {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "UPDATE exports SET queued_at = now() \
         WHERE tenant_id = $1 AND state IN ('queued', 'running') AND queued_at < now() - $2 RETURNING id",
    )
    .bind(tenant.0)
    .bind(interval(after))
    .fetch_all(&mut *acting)
    .await
    .map_err(failed("looking for overdue exports"))?;
    commit(acting).await?;
    Ok(ids.into_iter().map(|export_id| Job { tenant_id: tenant, export_id }).collect())
}

async fn acting(tables: &Tables, tenant: TenantId) -> Result<Acting, Problem> {
    tables.act(tenant).await?.ok_or_else(|| problem::no_tables(tenant))
}

fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> Problem {
    move |error| match &error {
        // undefined_table: the tenant's tables are those of a version before.
        sqlx::Error::Database(answer) if answer.code().as_deref() == Some("42P01") => problem::outdated(),
        other => problem::from_sql(doing, other),
    }
}
