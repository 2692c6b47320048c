//! Operators' verbs.

use model::platform::Engine;
use model::{PhaseName, RunId, TenantId};
use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection};

use super::audit::audit;
use super::lock::{IdleTenant, lock_idle, lock_run};
use super::runs::{start_deprovisioning, start_provisioning};
use super::take_over::{RunView, lose, transition};
use super::tenancy::Tenancy;
use super::{Store, StoreError};
use crate::decide::machine::Event;
use crate::decide::run::{Direction, INVENTORY};
use crate::decide::verbs::{self, Effect, Request, Situation, Verb};

/// What a verb led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerbOutcome {
    /// The run concerned; a new one for `retry` of a failed tenant and for `DELETE`.
    pub run_id: RunId,
    /// Its sequence number now.
    pub seq: i64,
    /// Recorded with the run and not yet in effect, since a worker is at it.
    pub pending: bool,
}

/// Why a verb was refused. Nothing is written then.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// No such tenant.
    #[error("no such tenant")]
    Unknown,
    /// The table says no.
    #[error("{verb} is not possible while the tenant is {situation}")]
    Invalid {
        /// The verb.
        verb: Verb,
        /// Where the tenant is.
        situation: Situation,
    },
    /// Decided on a state that is no longer.
    #[error(
        "the request refers to seq {given}, but the run is now at seq {current}; reload the status and retry"
    )]
    Stale {
        /// What the verb carries.
        given: i64,
        /// Where the run is.
        current: i64,
    },
    /// Another verb waits to take effect.
    #[error("{0} was asked for and has not taken effect yet")]
    Pending(Verb),
    /// The phase may not be skipped.
    #[error("{0} cannot be skipped: later phases need it")]
    NotSkippable(PhaseName),
    /// The undo guards another.
    #[error(
        "skipping the undo of {0} leaves what it guards unprotected; say force if you have done it by hand"
    )]
    NeedsForce(PhaseName),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for OperateError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A verb as it was sent.
#[derive(Clone, Debug)]
pub struct VerbRequest {
    /// Which, by whom, why.
    pub request: Request,
    /// The sequence number it was decided on; a `DELETE` may come without.
    pub seq: Option<i64>,
    /// Skip an undo that guards another.
    pub force: bool,
}

impl Store {
    /// Does what an operator asks, or records it with the run until its worker is done. A second click carries a sequence
    /// number that is no longer, or meets the first one's record, and is refused.
    pub async fn operate(
        &self,
        tenant: TenantId,
        asked: &VerbRequest,
        engine: &Engine,
    ) -> Result<VerbOutcome, OperateError> {
        loop {
            let mut connection = self.pool.get().await?;
            let mut transaction = connection.begin().await?;
            let operated = match lock_run(&mut transaction, tenant, engine).await? {
                Some(view) => Some(self.operate_run(&mut transaction, view, asked, engine).await?),
                None => match lock_idle(&mut transaction, tenant, asked).await? {
                    Some(idle) => Some(self.operate_idle(&mut transaction, &idle, asked).await?),
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

    /// As [`Store::operate`], on a run of [`lock_run`] in the caller's transaction.
    pub async fn operate_run(
        &self,
        connection: &mut PgConnection,
        view: RunView,
        asked: &VerbRequest,
        engine: &Engine,
    ) -> Result<VerbOutcome, OperateError> {
        on_run(connection, &*self.tenancy, view, asked, engine).await
    }

    /// As [`Store::operate`], on a tenant of [`lock_idle`] in the caller's transaction.
    pub async fn operate_idle(
        &self,
        connection: &mut PgConnection,
        idle: &IdleTenant,
        asked: &VerbRequest,
    ) -> Result<VerbOutcome, OperateError> {
        on_idle(connection, &*self.tenancy, idle, asked).await
    }
}

/// A verb on an unfinished run.
async fn on_run(
    connection: &mut PgConnection,
    tenancy: &dyn Tenancy,
    view: RunView,
    asked: &VerbRequest,
    engine: &Engine,
) -> Result<VerbOutcome, OperateError> {
    let verb = asked.request.verb;
    let run = &view.run;
    let situation = Situation::of(view.tenant_status, Some((run.kind, run.direction, run.status)));
    if let Some(given) = asked.seq
        && given != view.hold.seq
    {
        return Err(OperateError::Stale { given, current: view.hold.seq });
    }
    match verbs::effect(verb, situation) {
        Some(Effect::Record) => {}
        Some(Effect::Already) => {
            return Ok(at(&view, view.hold.seq, false));
        }
        _ => return Err(OperateError::Invalid { verb, situation }),
    }
    if let Some(pending) = &run.request {
        return Err(OperateError::Pending(pending.verb));
    }
    if verb == Verb::Skip {
        may_skip(tenancy, &view, asked.force)?;
    }
    if view.hold.claim.is_some() && view.lease_lives {
        sqlx::query!(
            "UPDATE provisioning_runs SET request = $2 WHERE id = $1",
            view.hold.run_id.0,
            Json(&asked.request) as _
        )
        .execute(&mut *connection)
        .await?;
        let detail = serde_json::json!({ "verb": verb, "reason": asked.request.reason, "pending": true });
        audit(
            connection,
            view.tenant.id,
            Some(view.hold.run_id),
            "VERB_REQUESTED",
            &asked.request.actor,
            &detail,
        )
        .await?;
        return Ok(at(&view, view.hold.seq, true));
    }
    let mut view = if view.hold.claim.is_some() { lose(connection, view, engine).await? } else { view };
    view.run.request = Some(asked.request.clone());
    let seq = transition(connection, tenancy, &view, &Event::Requested, &asked.request.actor, engine).await?;
    Ok(at(&view, seq, false))
}

fn at(view: &RunView, seq: i64, pending: bool) -> VerbOutcome {
    VerbOutcome { run_id: view.hold.run_id, seq, pending }
}

fn may_skip(tenancy: &dyn Tenancy, view: &RunView, force: bool) -> Result<(), OperateError> {
    let facts = tenancy.phase(&view.phase);
    match view.run.direction {
        Direction::Forward if facts.is_some_and(|facts| facts.skippable) => Ok(()),
        Direction::Forward => Err(OperateError::NotSkippable(view.phase.clone())),
        // The inventory decides whether anything is left; nobody can say so in its place.
        Direction::Backward if view.run.cursor == INVENTORY => {
            Err(OperateError::NotSkippable(view.phase.clone()))
        }
        Direction::Backward if !force && facts.is_some_and(|facts| facts.undo_guards) => {
            Err(OperateError::NeedsForce(view.phase.clone()))
        }
        Direction::Backward => Ok(()),
    }
}

/// A verb on a tenant without an unfinished run.
async fn on_idle(
    connection: &mut PgConnection,
    tenancy: &dyn Tenancy,
    idle: &IdleTenant,
    asked: &VerbRequest,
) -> Result<VerbOutcome, OperateError> {
    let IdleTenant { tenant, situation, .. } = *idle;
    let (verb, actor) = (asked.request.verb, &asked.request.actor);
    let run_id = match verbs::effect(verb, situation) {
        Some(Effect::NewRun) => {
            // The list as it was frozen, where the last run was of the same kind; else as it would be today.
            let list = match &idle.provisioned {
                Some(list) => list.clone(),
                None => tenancy.phases(&mut *connection, tenant).await?,
            };
            sqlx::query!(
                r#"UPDATE tenants SET status = 'PENDING', provisioning_completed_at = NULL, delete_at = NULL,
                          updated_at = clock_timestamp()
                   WHERE id = $1"#,
                tenant.0
            )
            .execute(&mut *connection)
            .await?;
            start_provisioning(connection, tenant, &list, actor, "RUN_RETRIED").await?
        }
        Some(Effect::NewDeprovisioning) => start_deprovisioning(connection, tenant, actor).await?,
        _ => return Err(OperateError::Invalid { verb, situation }),
    };
    Ok(VerbOutcome { run_id, seq: 1, pending: false })
}
