//! A step's transition with all that follows from it, in one transaction: what holds for a tenant that is changed, and what
//! the end of a run means.

use model::platform::Engine;
use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection};

use super::runs::start_deprovisioning;
use super::tenancy::Tenancy;
use super::types::{Applied, Hold, RunTransition, StepOutput, TransitionContext};
use super::{Store, StoreResult, transition};
use crate::decide::machine::Transition;
use crate::decide::run::{Direction, PhaseState, RunKind, RunStatus};

impl Store {
    /// Writes what a worker's step came to. Nothing is written unless the hold is still the worker's.
    pub async fn complete(
        &self,
        hold: &Hold,
        cause: &TransitionContext<'_>,
        to: &Transition,
        left: &StepOutput<'_>,
        engine: &Engine,
        hand_over: bool,
    ) -> StoreResult<Applied> {
        let mut connection = self.pool.get().await?;
        // A step in the middle of a run is one statement, and so one exchange with the server; the end of a run is more, and
        // a run that halts or changes a living tenant is seldom.
        let written = if to.finished() || to.halted_by().is_some() || cause.kind == RunKind::Change {
            let mut transaction = connection.begin().await?;
            let written =
                write_in(&mut transaction, &*self.tenancy, hold, cause, to, left, engine, hand_over).await?;
            let committed = transaction.commit().await;
            connection.ended(committed)?;
            written
        } else {
            let written = transition::write(&mut connection, hold, cause, to, left, engine, hand_over).await;
            connection.ended(written)?.map(|written| written.seq)
        };
        match written {
            Some(seq) => Ok(Applied::Written(seq)),
            None => self.refused(hold).await,
        }
    }

    async fn refused(&self, hold: &Hold) -> StoreResult<Applied> {
        let ours = sqlx::query_scalar!(
            r#"SELECT 1 AS "one!" FROM provisioning_runs
               WHERE id = $1 AND seq = $2 AND epoch = $3 AND claim = $4 AND request IS NOT NULL"#,
            hold.run_id.0,
            hold.seq,
            hold.epoch,
            hold.claim.map(|claim| claim.0),
        )
        .fetch_optional(&mut *self.pool.get().await?)
        .await?;
        Ok(if ours.is_some() { Applied::Requested } else { Applied::Fenced })
    }
}

/// As [`Store::complete`], in a transaction of the caller's, which may hold the run's row. Returns the new sequence
/// number, or none if the hold did not match.
#[expect(clippy::too_many_arguments, reason = "all of a transition, and where it is written")]
pub(super) async fn write_in(
    connection: &mut PgConnection,
    tenancy: &dyn Tenancy,
    hold: &Hold,
    cause: &TransitionContext<'_>,
    to: &Transition,
    left: &StepOutput<'_>,
    engine: &Engine,
    hand_over: bool,
) -> StoreResult<Option<i64>> {
    let written = transition::write(&mut *connection, hold, cause, to, left, engine, hand_over).await?;
    let Some(written) = written else { return Ok(None) };
    follow(connection, &written, tenancy).await?;
    Ok(Some(written.seq))
}

/// What follows from a transition, beside the run itself.
async fn follow(
    connection: &mut PgConnection,
    written: &RunTransition<'_>,
    tenancy: &dyn Tenancy,
) -> StoreResult<()> {
    let RunTransition { cause, to, .. } = *written;
    if cause.kind == RunKind::Change {
        hold(&mut *connection, written).await?;
    }
    if to.finished() {
        forget(&mut *connection, written).await?;
        tenancy.ended(&mut *connection, written).await?;
    }
    if let Some(error) = to.halted_by() {
        tenancy.halted(&mut *connection, written, error).await?;
    }
    if to.deprovision_next {
        start_deprovisioning(connection, cause.tenant.id, cause.actor).await?;
    }
    Ok(())
}

/// Until nothing is left, what was planned for the tenant stays known: a rollback leaves what an earlier run created, an
/// abandoned run leaves anything, and only a deprovisioning over these rows takes it away.
async fn forget(connection: &mut PgConnection, written: &RunTransition<'_>) -> StoreResult<()> {
    let RunTransition { cause, to, .. } = *written;
    let nothing_left = match cause.kind {
        RunKind::Provision => to.status == RunStatus::Failed,
        RunKind::Deprovision => to.status == RunStatus::Succeeded,
        RunKind::Change => false,
    };
    if nothing_left {
        sqlx::query!("DELETE FROM tenant_phases WHERE tenant_id = $1", cause.tenant.id.0)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// What a transition of a change means for what holds for the tenant; and why it is undone, if it is from now on.
async fn hold(connection: &mut PgConnection, written: &RunTransition<'_>) -> StoreResult<()> {
    let RunTransition { run_id, cause, to, .. } = *written;
    let tenant = cause.tenant.id.0;
    match (cause.direction, to.phase.state) {
        (Direction::Forward, Some(PhaseState::Done)) => {
            sqlx::query!(
                r#"INSERT INTO tenant_phases (tenant_id, position, name, plan, checkpoint)
                   SELECT $1, 1000 + position, name, plan, checkpoint FROM provisioning_phases
                   WHERE run_id = $2 AND position = $3 AND plan IS NOT NULL
                   ON CONFLICT (tenant_id, name) DO UPDATE
                   SET plan = excluded.plan, checkpoint = excluded.checkpoint, updated_at = clock_timestamp()"#,
                tenant,
                run_id.0,
                cause.position
            )
            .execute(&mut *connection)
            .await?;
        }
        (Direction::Backward, Some(PhaseState::Reverted | PhaseState::Skipped)) => {
            sqlx::query!(
                r#"WITH phase AS (
                       SELECT name, before_plan, before_checkpoint FROM provisioning_phases
                       WHERE run_id = $2 AND position = $3
                   ), gone AS (
                       DELETE FROM tenant_phases h USING phase
                       WHERE h.tenant_id = $1 AND h.name = phase.name AND phase.before_plan IS NULL
                   )
                   UPDATE tenant_phases h
                   SET plan = phase.before_plan, checkpoint = phase.before_checkpoint, updated_at = clock_timestamp()
                   FROM phase
                   WHERE h.tenant_id = $1 AND h.name = phase.name AND phase.before_plan IS NOT NULL"#,
                tenant,
                run_id.0,
                cause.position
            )
            .execute(&mut *connection)
            .await?;
        }
        _ => {}
    }
    if let Some(error) = &to.tenant_error {
        sqlx::query!("UPDATE provisioning_runs SET error = $2 WHERE id = $1", run_id.0, Json(error) as _)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
