//! Locks under which a verb is decided: the tenant's unfinished run, or the tenant that has none.

use model::platform::Engine;
use model::{PhaseName, RunId, TenantId, TenantStatus};
use sqlx::PgConnection;

use super::operate::{OperateError, VerbRequest};
use super::take_over::{RunView, load};
use super::{StoreError, StoreResult};
use crate::decide::run::RunKind;
use crate::decide::verbs::Situation;

/// A tenant without an unfinished run, its row locked.
#[derive(Debug)]
pub struct IdleTenant {
    /// Which.
    pub tenant: TenantId,
    /// Where it is.
    pub situation: Situation,
    /// Its newest run and that run's sequence number, if it has had one.
    pub last: Option<(RunId, i64)>,
    /// The phases of its newest run, if that has provisioned it.
    pub(super) provisioned: Option<Vec<PhaseName>>,
}

/// Locks the tenant's unfinished run, if it has one. Runs are locked before tenants.
pub async fn lock_run(
    connection: &mut PgConnection,
    tenant: TenantId,
    engine: &Engine,
) -> StoreResult<Option<RunView>> {
    let run_id = sqlx::query_scalar!(
        "SELECT id FROM provisioning_runs WHERE tenant_id = $1 AND finished_at IS NULL FOR UPDATE",
        tenant.0
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(run_id) = run_id else { return Ok(None) };
    let view = load(connection, RunId(run_id), engine).await?;
    view.ok_or_else(|| StoreError::unreadable("a run without phases")).map(Some)
}

/// Locks a tenant without an unfinished run; none if it has one by now. Refuses what was decided on another run than its
/// newest.
pub async fn lock_idle(
    connection: &mut PgConnection,
    tenant: TenantId,
    asked: &VerbRequest,
) -> Result<Option<IdleTenant>, OperateError> {
    let status = sqlx::query_scalar!("SELECT status FROM tenants WHERE id = $1 FOR UPDATE", tenant.0)
        .fetch_optional(&mut *connection)
        .await?
        .ok_or(OperateError::Unknown)?;
    let status: TenantStatus = status.parse().map_err(StoreError::unreadable)?;
    let situation = Situation::of(status, None);
    let last = sqlx::query!(
        r#"SELECT id, seq, phases, kind, finished_at IS NULL AS "unfinished!" FROM provisioning_runs
           WHERE tenant_id = $1 ORDER BY created_at DESC LIMIT 1"#,
        tenant.0
    )
    .fetch_optional(connection)
    .await?;
    if last.as_ref().is_some_and(|last| last.unfinished) {
        return Ok(None);
    }
    if let (Some(given), Some(last)) = (asked.seq, &last)
        && given != last.seq
    {
        return Err(OperateError::Stale { given, current: last.seq });
    }
    Ok(Some(IdleTenant {
        tenant,
        situation,
        last: last.as_ref().map(|last| (RunId(last.id), last.seq)),
        provisioned: last
            .filter(|last| last.kind == RunKind::Provision.as_str())
            .map(|last| last.phases.into_iter().map(PhaseName::from).collect()),
    }))
}
