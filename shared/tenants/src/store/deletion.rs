//! When a tenant is to be deleted: scheduled by `DELETE` of one that was in use, and taken back by a wish for it.

use chrono::{DateTime, Utc};
use engine::decide::run::RunKind;
use engine::decide::verbs::{Request, Situation, Verb};
use engine::store::transaction::{lock_idle, lock_run};
use engine::store::{IdleTenant, OperateError, StoreError, StoreResult, VerbRequest, transaction};
use model::platform::{Engine, Seconds};
use model::{Change, RunId, TenantId, TenantStatus};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use super::Store;
use super::change::{self, ChangeError, ChangeOutcome};

/// What a verb led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerbOutcome {
    /// The run concerned; a new one for `retry` of a failed tenant and for `DELETE`.
    pub run_id: RunId,
    /// Its sequence number now.
    pub seq: i64,
    /// Recorded with the run and not yet in effect, since a worker is at it.
    pub pending: bool,
    /// When the tenant is taken out, for a `DELETE` of one that was in use.
    pub delete_at: Option<DateTime<Utc>>,
}

impl From<engine::store::VerbOutcome> for VerbOutcome {
    fn from(of_run: engine::store::VerbOutcome) -> Self {
        Self { run_id: of_run.run_id, seq: of_run.seq, pending: of_run.pending, delete_at: None }
    }
}

impl Store {
    /// As the engine's [`operate`](engine::store::Store::operate); but a `DELETE` of a tenant in use, with a retention, first
    /// suspends the tenant, and takes it out when the retention is over.
    pub async fn operate(
        &self,
        tenant: TenantId,
        asked: &VerbRequest,
        retention: Seconds,
        engine: &Engine,
    ) -> Result<VerbOutcome, OperateError> {
        if asked.request.verb != Verb::Delete || retention.0 <= 0.0 {
            return Ok(self.runs().operate(tenant, asked, engine).await?.into());
        }
        loop {
            let mut connection = self.connection().await?;
            let mut transaction = connection.begin().await?;
            let operated = match lock_run(&mut transaction, tenant, engine).await? {
                // The tenant is in use. What is under way goes on; then it is suspended.
                Some(view) if view.run.kind == RunKind::Change => {
                    let (run_id, seq, request) = (view.hold.run_id, view.hold.seq, &asked.request);
                    let at = schedule(&mut transaction, tenant, Some(run_id), retention, request).await?;
                    Some(VerbOutcome { run_id, seq, pending: true, delete_at: Some(at) })
                }
                Some(view) => Some(self.operate_run(&mut transaction, view, asked, engine).await?.into()),
                None => match lock_idle(&mut transaction, tenant, asked).await? {
                    Some(idle) if idle.situation == Situation::Active => {
                        suspend(&mut transaction, &idle, retention, &asked.request).await?
                    }
                    Some(idle) => Some(self.operate_idle(&mut transaction, &idle, asked).await?.into()),
                    None => None,
                },
            };
            if let Some(operated) = operated {
                transaction.commit().await?;
                return Ok(operated);
            }
            // Another verb started a run in between. Runs are locked before tenants, so begin again.
            transaction.rollback().await?;
        }
    }
}

/// Suspends a tenant in use until it is deleted; none if it has a run by now.
async fn suspend(
    connection: &mut PgConnection,
    idle: &IdleTenant,
    retention: Seconds,
    request: &Request,
) -> Result<Option<VerbOutcome>, OperateError> {
    let delete_at = schedule(connection, idle.tenant, None, retention, request).await?;
    let suspended = Change { status: Some(TenantStatus::Suspended), ..Change::default() };
    let (run_id, seq) = match change::begin(connection, idle.tenant, &suspended, &request.actor).await {
        Ok(ChangeOutcome::Run { id, seq }) => (id, seq),
        // Suspended already, or nothing of it runs.
        Ok(ChangeOutcome::Already) | Err(ChangeError::Unmade) => match idle.last {
            Some(last) => last,
            None => return Err(StoreError::unreadable("a tenant without a run").into()),
        },
        Err(ChangeError::Store(error)) => return Err(error.into()),
        Err(ChangeError::Unknown | ChangeError::NotNow(_)) => return Ok(None),
    };
    Ok(Some(VerbOutcome { run_id, seq, pending: false, delete_at: Some(delete_at) }))
}

/// When the tenant is to be deleted. Its row is locked.
pub(super) async fn due_at(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> StoreResult<Option<DateTime<Utc>>> {
    let row = sqlx::query_scalar!("SELECT delete_at FROM tenants WHERE id = $1 FOR UPDATE", tenant.0)
        .fetch_optional(connection)
        .await?;
    Ok(row.flatten())
}

/// Writes when the tenant is to be deleted. Asked for again, the first time holds, unless the second is sooner.
pub(super) async fn schedule(
    connection: &mut PgConnection,
    tenant: TenantId,
    run: Option<RunId>,
    retention: Seconds,
    request: &Request,
) -> StoreResult<DateTime<Utc>> {
    let row = sqlx::query!(
        r#"UPDATE tenants t
           SET delete_at = LEAST(t.delete_at, clock_timestamp() + make_interval(secs => $2)),
               updated_at = clock_timestamp()
           FROM (SELECT id, delete_at FROM tenants WHERE id = $1 FOR UPDATE) before
           WHERE t.id = before.id
           RETURNING t.delete_at AS "at!", t.delete_at IS DISTINCT FROM before.delete_at AS "changed!""#,
        tenant.0,
        retention.0
    )
    .fetch_one(&mut *connection)
    .await?;
    if row.changed {
        let detail = json!({ "deleteAt": row.at, "reason": request.reason });
        transaction::audit(connection, tenant, run, "DELETION_SCHEDULED", &request.actor, &detail).await?;
    }
    Ok(row.at)
}

/// The tenant is wanted again.
pub(super) async fn take_back(
    connection: &mut PgConnection,
    tenant: TenantId,
    actor: &str,
) -> StoreResult<()> {
    let taken_back = sqlx::query!(
        "UPDATE tenants SET delete_at = NULL, updated_at = clock_timestamp() WHERE id = $1 AND delete_at IS NOT NULL",
        tenant.0
    )
    .execute(&mut *connection)
    .await?;
    if taken_back.rows_affected() == 1 {
        transaction::audit(connection, tenant, None, "DELETION_TAKEN_BACK", actor, &json!({})).await?;
    }
    Ok(())
}
