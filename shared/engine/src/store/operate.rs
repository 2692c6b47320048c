//! Operators' verbs.

use chrono::{DateTime, Utc};
use model::platform::{Engine, Seconds};
use model::{Change, DeploymentType, PhaseName, RunId, TenantId, TenantStatus};
use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection};

use super::audit::audit;
use super::change::{self, ChangeError, Changing};
use super::create::{insert_deprovisioning, insert_provisioning};
use super::take_over::{RunView, load, lose, transition};
use super::{Store, StoreError, deletion};
use crate::decide::machine::Event;
use crate::decide::run::{Direction, INVENTORY, RunKind};
use crate::decide::verbs::{self, Effect, Request, Situation, Verb};
use crate::decide::{phases, phases::PhaseFacts};

/// What a verb led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operated {
    /// The run concerned; a new one for `retry` of a failed tenant and for `DELETE`.
    pub run_id: RunId,
    /// Its sequence number now.
    pub seq: i64,
    /// Recorded with the run and not yet in effect, since a worker is at it.
    pub pending: bool,
    /// When the tenant is taken out, for a `DELETE` of one that was in use.
    pub delete_at: Option<DateTime<Utc>>,
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
pub struct Asked {
    /// Which, by whom, why.
    pub request: Request,
    /// The sequence number it was decided on; a `DELETE` may come without.
    pub seq: Option<i64>,
    /// Skip an undo that guards another.
    pub force: bool,
    /// How long a tenant that was in use is kept after a `DELETE`.
    pub retention: Seconds,
}

impl Store {
    /// Does what an operator asks, or records it with the run until its worker is done. A second click carries a sequence
    /// number that is no longer, or meets the first one's record, and is refused.
    pub async fn operate(
        &self,
        tenant: TenantId,
        asked: &Asked,
        engine: &Engine,
    ) -> Result<Operated, OperateError> {
        loop {
            let mut connection = self.pool.get().await?;
            let mut transaction = connection.begin().await?;
            let run_id = sqlx::query_scalar!(
                "SELECT id FROM provisioning_runs WHERE tenant_id = $1 AND finished_at IS NULL FOR UPDATE",
                tenant.0
            )
            .fetch_optional(&mut *transaction)
            .await?;
            let operated = match run_id {
                Some(run_id) => {
                    let view = load(&mut transaction, RunId(run_id), engine).await?;
                    let view = view.ok_or_else(|| StoreError::unreadable("a run without phases"))?;
                    Some(on_run(&mut transaction, view, asked, engine).await?)
                }
                None => on_tenant(&mut transaction, tenant, asked).await?,
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

/// A verb on an unfinished run.
async fn on_run(
    connection: &mut PgConnection,
    view: RunView,
    asked: &Asked,
    engine: &Engine,
) -> Result<Operated, OperateError> {
    let verb = asked.request.verb;
    let run = &view.run;
    if verb == Verb::Delete && run.kind == RunKind::Change && asked.retention.0 > 0.0 {
        // The tenant is in use. What is under way goes on; then it is suspended.
        let (hold, tenant) = (view.hold, view.tenant.id);
        let (retention, request) = (asked.retention, &asked.request);
        let delete_at = deletion::schedule(connection, tenant, Some(hold.run_id), retention, request).await?;
        return Ok(Operated {
            run_id: hold.run_id,
            seq: hold.seq,
            pending: true,
            delete_at: Some(delete_at),
        });
    }
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
        may_skip(&view, asked.force)?;
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
    let seq = transition(connection, &view, &Event::Requested, &asked.request.actor, engine).await?;
    Ok(at(&view, seq, false))
}

fn at(view: &RunView, seq: i64, pending: bool) -> Operated {
    Operated { run_id: view.hold.run_id, seq, pending, delete_at: None }
}

fn may_skip(view: &RunView, force: bool) -> Result<(), OperateError> {
    let facts: Option<&PhaseFacts> = phases::facts(&view.phase);
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

/// A verb on a tenant without an unfinished run; none if it has one by now.
async fn on_tenant(
    connection: &mut PgConnection,
    tenant: TenantId,
    asked: &Asked,
) -> Result<Option<Operated>, OperateError> {
    let verb = asked.request.verb;
    let row = sqlx::query!(
        "SELECT status, deployment_strategy, tier FROM tenants WHERE id = $1 FOR UPDATE",
        tenant.0
    )
    .fetch_optional(&mut *connection)
    .await?
    .ok_or(OperateError::Unknown)?;
    let status: TenantStatus = row.status.parse().map_err(StoreError::unreadable)?;
    let situation = Situation::of(status, None);
    let last = sqlx::query!(
        r#"SELECT id, seq, phases, kind, finished_at IS NULL AS "unfinished!" FROM provisioning_runs
           WHERE tenant_id = $1 ORDER BY created_at DESC LIMIT 1"#,
        tenant.0
    )
    .fetch_optional(&mut *connection)
    .await?;
    if last.as_ref().is_some_and(|last| last.unfinished) {
        return Ok(None);
    }
    if let (Some(given), Some(last)) = (asked.seq, &last)
        && given != last.seq
    {
        return Err(OperateError::Stale { given, current: last.seq });
    }
    let actor = &asked.request.actor;
    if verb == Verb::Delete && situation == Situation::Active && asked.retention.0 > 0.0 {
        let delete_at = deletion::schedule(connection, tenant, None, asked.retention, &asked.request).await?;
        let suspend = Change { status: Some(TenantStatus::Suspended), ..Change::default() };
        let (run_id, seq) = match change::begin(connection, tenant, &suspend, actor).await {
            Ok(Changing::Run { id, seq }) => (id, seq),
            // Suspended already, or nothing of it runs.
            Ok(Changing::Already) | Err(ChangeError::Unmade) => match last {
                Some(last) => (RunId(last.id), last.seq),
                None => return Err(StoreError::unreadable("a tenant without a run").into()),
            },
            Err(ChangeError::Store(error)) => return Err(error.into()),
            Err(ChangeError::Unknown | ChangeError::NotNow(_)) => return Ok(None),
        };
        return Ok(Some(Operated { run_id, seq, pending: false, delete_at: Some(delete_at) }));
    }
    let run_id = match verbs::effect(verb, situation) {
        Some(Effect::NewRun) => {
            let deployment: DeploymentType =
                row.deployment_strategy.parse().map_err(StoreError::unreadable)?;
            // The list as it was frozen, where the last run was of the same kind; else as it would be today.
            let list = match last {
                Some(last) if last.kind == "provision" => {
                    last.phases.into_iter().map(PhaseName::from).collect()
                }
                _ => phases::plan(deployment, row.tier.parse().map_err(StoreError::unreadable)?),
            };
            sqlx::query!(
                r#"UPDATE tenants SET status = 'PENDING', provisioning_completed_at = NULL, delete_at = NULL,
                          updated_at = clock_timestamp()
                   WHERE id = $1"#,
                tenant.0
            )
            .execute(&mut *connection)
            .await?;
            insert_provisioning(connection, tenant, &list, actor, "RUN_RETRIED").await?
        }
        Some(Effect::NewDeprovisioning) => insert_deprovisioning(connection, tenant, actor).await?,
        _ => return Err(OperateError::Invalid { verb, situation }),
    };
    Ok(Some(Operated { run_id, seq: 1, pending: false, delete_at: None }))
}
