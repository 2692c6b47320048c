//! A step's transition with all that follows from it, in one transaction: what holds for a tenant that is changed, what the end
//! of a run means, and who is told of it.

use model::TenantStatus;
use model::platform::Engine;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::create::insert_deprovisioning;
use super::types::{Applied, Cause, Hold, Left, Written};
use super::{Store, StoreResult, change, outbox, transition};
use crate::decide::machine::Transition;
use crate::decide::run::{RunKind, RunStatus};

impl Store {
    /// Writes what a worker's step came to. Nothing is written unless the hold is still the worker's.
    pub async fn complete(
        &self,
        hold: &Hold,
        cause: &Cause<'_>,
        to: &Transition,
        left: &Left<'_>,
        engine: &Engine,
        hand_over: bool,
    ) -> StoreResult<Applied> {
        let mut connection = self.pool.get().await?;
        // A step in the middle of a run is one statement, and so one exchange with the server; the end of a run is more, and
        // a run that halts or changes a living tenant is seldom.
        let written = if to.finished() || to.halted_by().is_some() || cause.kind == RunKind::Change {
            let mut transaction = connection.begin().await?;
            let written = write_in(&mut transaction, hold, cause, to, left, engine, hand_over).await?;
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
pub(super) async fn write_in(
    connection: &mut PgConnection,
    hold: &Hold,
    cause: &Cause<'_>,
    to: &Transition,
    left: &Left<'_>,
    engine: &Engine,
    hand_over: bool,
) -> StoreResult<Option<i64>> {
    let written = transition::write(&mut *connection, hold, cause, to, left, engine, hand_over).await?;
    let Some(written) = written else { return Ok(None) };
    follow(connection, &written).await?;
    Ok(Some(written.seq))
}

/// What follows from a transition, beside the run itself.
async fn follow(connection: &mut PgConnection, written: &Written<'_>) -> StoreResult<()> {
    let Written { cause, to, .. } = *written;
    if cause.kind == RunKind::Change {
        change::hold(&mut *connection, written).await?;
    }
    if to.finished() {
        finish(&mut *connection, written).await?;
    }
    if let Some(error) = to.halted_by() {
        outbox::tell_halted(&mut *connection, written, error).await?;
    }
    if to.deprovision_next {
        insert_deprovisioning(connection, cause.tenant.id, cause.actor).await?;
    }
    Ok(())
}

/// What the end of a run changes besides: who is told, and that nothing is left to be undone.
async fn finish(connection: &mut PgConnection, written: &Written<'_>) -> StoreResult<()> {
    let Written { run_id, cause, to, .. } = *written;
    // Until nothing is left, what was planned for the tenant stays known: a rollback leaves what an earlier run created, an
    // abandoned run leaves anything, and only a deprovisioning over these rows takes it away.
    let nothing_left = match cause.kind {
        RunKind::Provision => to.status == RunStatus::Failed,
        RunKind::Deprovision => to.status == RunStatus::Succeeded,
        RunKind::Change => false,
    };
    if nothing_left {
        sqlx::query!("DELETE FROM tenant_phases WHERE tenant_id = $1", cause.tenant.id.0)
            .execute(&mut *connection)
            .await?;
    }
    let events = events(cause, to);
    sqlx::query!(
        // The error is the tenant's, or the change's, as it is stored: a rollback has written it when it began, many
        // transitions ago.
        r#"INSERT INTO outbox (id, tenant_id, sink, type, payload)
           SELECT e.id, t.id, e.sink, e.type,
                  CASE WHEN r.error IS NOT NULL THEN e.payload || jsonb_build_object('error', r.error)
                       WHEN t.status = 'FAILED' THEN e.payload || jsonb_build_object('error', t.provisioning_error)
                       ELSE e.payload END
           FROM tenants t JOIN provisioning_runs r ON r.id = $6
                CROSS JOIN unnest($2::uuid[], $3::text[], $4::text[], $5::jsonb[]) AS e (id, sink, type, payload)
           WHERE t.id = $1"#,
        cause.tenant.id.0,
        &events.ids,
        &events.sinks,
        &events.types,
        &events.payloads,
        run_id.0,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Outbox rows, one for each event and sink, as columns.
#[derive(Default)]
struct Events {
    ids: Vec<Uuid>,
    sinks: Vec<String>,
    types: Vec<String>,
    payloads: Vec<Value>,
}

/// Who is told that a run has ended.
fn events(cause: &Cause<'_>, to: &Transition) -> Events {
    let (kind, sinks): (_, &[&str]) = match to.tenant {
        Some(TenantStatus::Suspended) => ("tenant.suspended", &["kafka"]),
        Some(TenantStatus::Active) if cause.kind == RunKind::Change => ("tenant.resumed", &["kafka"]),
        None if cause.kind == RunKind::Change && to.status == RunStatus::Succeeded => {
            ("tenant.changed", &["kafka"])
        }
        // Those who use the tenant notice nothing of it; those who asked for the change do.
        None if cause.kind == RunKind::Change => ("tenant.change_failed", &["kafka", "operators"]),
        Some(TenantStatus::Active) => ("tenant.provisioned", &["kafka", "email"]),
        // Who uses a tenant that was to go has nothing to do about what is left of it.
        Some(TenantStatus::Failed) if cause.kind == RunKind::Deprovision => {
            ("tenant.deprovisioning_failed", &["kafka", "operators"])
        }
        Some(TenantStatus::Failed) => ("tenant.provisioning_failed", &["kafka", "email", "operators"]),
        Some(TenantStatus::Deleted) => ("tenant.deprovisioned", &["kafka"]),
        _ => return Events::default(),
    };
    let mut events = Events::default();
    for sink in sinks {
        events.ids.push(Uuid::now_v7());
        events.sinks.push((*sink).to_owned());
        events.types.push(kind.to_owned());
        events.payloads.push(outbox::about(cause.tenant));
    }
    events
}
