//! Writing a transition: run, phase, what holds for the tenant and audit log in one statement; at the end of a run, and where
//! one waits for an operator, in the same transaction, the outbox too.

use serde_json::{Value, json};
use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{Hold, Store, StoreResult};
use crate::decide::machine::{Direction, PhaseState, RunKind, RunStatus, Transition};
use crate::model::{RunId, Tenant, TenantStatus};
use crate::phase::Operation;
use crate::platform::Engine;

/// What became of a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Written; the run's new sequence number.
    Written(i64),
    /// An operator's request came in between: decide again with it.
    Requested,
    /// The hold is no longer ours: nothing was written.
    Fenced,
}

/// What a step leaves with its transition.
#[derive(Debug, Default)]
pub struct Left<'a> {
    /// The operations of this attempt; none leaves what is stored.
    pub operations: Option<&'a [Operation]>,
    /// The plan, if no operation has stored it yet.
    pub plan: Option<Value>,
    /// The checkpoint of a phase that is done.
    pub checkpoint: Option<&'a Value>,
    /// What an inventory found.
    pub leftovers: Option<&'a Value>,
}

/// Who causes a transition and for which tenant.
#[derive(Debug)]
pub struct Cause<'a> {
    /// The tenant.
    pub tenant: &'a Tenant,
    /// What kind of run.
    pub kind: RunKind,
    /// Which way the run went until now.
    pub direction: Direction,
    /// The phase at the cursor until now.
    pub position: i32,
    /// For the audit log.
    pub actor: &'a str,
}

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
            let written = write(&mut connection, hold, cause, to, left, engine, hand_over).await;
            connection.ended(written)?
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
    let written = write(&mut *connection, hold, cause, to, left, engine, hand_over).await?;
    if written.is_some() && cause.kind == RunKind::Change {
        super::change::hold(&mut *connection, hold.run_id, cause, to).await?;
    }
    if written.is_some() && to.finished() {
        finish(&mut *connection, hold.run_id, cause, to).await?;
    }
    if let (Some(seq), Some(error)) = (written, to.halted_by()) {
        super::outbox::tell_halted(&mut *connection, hold.run_id, seq, cause, to, error).await?;
    }
    if written.is_some() && to.deprovision_next {
        super::create::insert_deprovisioning(connection, cause.tenant.id, cause.actor).await?;
    }
    Ok(written)
}

/// What the end of a run changes besides: who is told, and that nothing is left to be undone.
async fn finish(
    connection: &mut PgConnection,
    run_id: RunId,
    cause: &Cause<'_>,
    to: &Transition,
) -> StoreResult<()> {
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

/// `hand_over` makes the run due for the sweeper at once, for when nobody else will publish what comes next.
async fn write(
    connection: &mut PgConnection,
    hold: &Hold,
    cause: &Cause<'_>,
    to: &Transition,
    left: &Left<'_>,
    engine: &Engine,
    hand_over: bool,
) -> sqlx::Result<Option<i64>> {
    let phase = &to.phase;
    let change = cause.kind == RunKind::Change;
    let done_forward =
        phase.state == Some(PhaseState::Done) && cause.direction == Direction::Forward && !change;
    let tenant_error = to.tenant_error.as_ref().filter(|_| !change);
    let clears_error =
        matches!(phase.state, Some(PhaseState::Done | PhaseState::Reverted | PhaseState::Skipped));
    let actions: Vec<String> = to.audit.iter().map(|audit| audit.action.to_owned()).collect();
    let of_phase: Vec<bool> = to.audit.iter().map(|audit| audit.of_phase).collect();
    let details: Vec<Value> = to.audit.iter().map(|audit| audit.detail.clone()).collect();
    let uncounted = if phase.waits_out { to.delay.as_secs_f64() } else { 0.0 };
    let sweep_after = if hand_over { 0.0 } else { engine.sweep.0 };
    let row = sqlx::query!(
        r#"WITH run AS (
               UPDATE provisioning_runs
               SET seq = seq + 1, claim = NULL, lease_until = NULL, request = NULL, sweeps = 0,
                   status = $6, direction = $7, cursor = $8, delete_after = $9, abandoning = $10, pause_reason = $11,
                   next_attempt_at = clock_timestamp() + make_interval(secs => $12),
                   sweep_at = CASE WHEN $6 = 'running' THEN clock_timestamp() + make_interval(secs => $12 + $13)
                                   ELSE 'infinity' END,
                   finished_at = CASE WHEN $14 THEN clock_timestamp() END,
                   leftovers = COALESCE($15, leftovers)
               WHERE id = $1 AND seq = $2 AND epoch = $3 AND claim IS NOT DISTINCT FROM $4
                 AND (request IS NULL OR $5)
               RETURNING id, tenant_id, seq, created_at
           ), phase AS (
               UPDATE provisioning_phases p
               SET state = COALESCE($16, p.state), failures = $17, total_failures = p.total_failures + $18::int,
                   lost = CASE WHEN $35 THEN 0 ELSE p.lost END,
                   waits = CASE WHEN $19 THEN p.waits + 1 ELSE 0 END,
                   -- Moved on by what is not counted, from now at the latest. LEAST passes over a NULL.
                   wait_since = CASE WHEN $19 THEN LEAST(p.wait_since, clock_timestamp()) + make_interval(secs => $37) END,
                   waiting_on = $20,
                   unavailable_since = CASE WHEN $21 THEN COALESCE(p.unavailable_since, clock_timestamp()) END,
                   error = CASE WHEN $22 THEN NULL ELSE COALESCE($23, p.error) END,
                   operations = COALESCE($24, p.operations), plan = COALESCE(p.plan, $25),
                   checkpoint = COALESCE($26, p.checkpoint),
                   finished_at = CASE WHEN $16 = 'done' THEN clock_timestamp() ELSE p.finished_at END,
                   reverted_at = CASE WHEN $16 = 'reverted' THEN clock_timestamp() ELSE p.reverted_at END
               FROM run WHERE p.run_id = run.id AND p.position = $27
               RETURNING p.name, p.position, p.plan, p.checkpoint
           ), held AS (
               INSERT INTO tenant_phases (tenant_id, position, name, plan, checkpoint)
               SELECT run.tenant_id, phase.position, phase.name, phase.plan, phase.checkpoint FROM run, phase
               WHERE $28 AND phase.plan IS NOT NULL
               ON CONFLICT (tenant_id, name) DO UPDATE
               SET plan = excluded.plan, checkpoint = excluded.checkpoint, position = excluded.position,
                   updated_at = clock_timestamp()
           ), tenant AS (
               UPDATE tenants t
               SET status = COALESCE($30, t.status),
                   provisioning_error = CASE WHEN $30 = 'ACTIVE' THEN NULL ELSE COALESCE($31, t.provisioning_error) END,
                   provisioning_completed_at =
                       CASE WHEN $30 = 'ACTIVE' AND $36 THEN clock_timestamp() ELSE t.provisioning_completed_at END,
                   deleted_at = CASE WHEN $30 = 'DELETED' THEN clock_timestamp() ELSE t.deleted_at END,
                   updated_at = clock_timestamp()
               FROM run WHERE t.id = run.tenant_id AND ($30::text IS NOT NULL OR $31::jsonb IS NOT NULL)
               RETURNING t.id
           ), numbered AS (
               -- Locked after the tenant, as whoever begins a run does.
               UPDATE tenant_audit_numbers n SET number = n.number + cardinality($29::text[])
               FROM run LEFT JOIN tenant ON true WHERE n.tenant_id = run.tenant_id
               RETURNING n.number
           ), audit AS (
               INSERT INTO provisioning_audit_logs (tenant_id, number, run_id, seq, action, phase, actor, detail)
               SELECT run.tenant_id, numbered.number - cardinality($29::text[]) + a.nth, run.id, run.seq, a.action,
                      CASE WHEN a.of_phase THEN phase.name END, $34,
                      a.detail || CASE WHEN $14 AND NOT a.of_phase THEN jsonb_build_object('durationMs',
                          (EXTRACT(EPOCH FROM clock_timestamp() - run.created_at) * 1000)::bigint) ELSE '{}' END
               FROM run CROSS JOIN numbered LEFT JOIN phase ON true
                    CROSS JOIN unnest($29::text[], $32::bool[], $33::jsonb[]) WITH ORDINALITY
                        AS a (action, of_phase, detail, nth)
           )
           SELECT seq FROM run"#,
        hold.run_id.0,
        hold.seq,
        hold.epoch,
        hold.claim.map(|claim| claim.0),
        to.request_taken,
        to.status.as_str(),
        to.direction.as_str(),
        to.cursor,
        to.delete_after,
        to.abandoning,
        to.pause_reason.as_ref().map(Json) as _,
        to.delay.as_secs_f64(),
        sweep_after,
        to.finished(),
        left.leftovers,
        phase.state.map(PhaseState::as_str),
        phase.failures,
        i32::from(phase.failed),
        phase.waits,
        phase.waiting_on,
        phase.unavailable,
        clears_error,
        phase.error.as_ref().map(Json) as _,
        left.operations.map(Json) as _,
        left.plan,
        left.checkpoint,
        cause.position,
        done_forward,
        &actions,
        to.tenant.map(TenantStatus::as_str),
        tenant_error.map(Json) as _,
        &of_phase,
        &details,
        cause.actor,
        phase.forgets_lost,
        cause.kind == RunKind::Provision,
        uncounted,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.seq))
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
        events.payloads.push(about(cause.tenant));
    }
    events
}

/// What every row of the outbox about a run says of its tenant.
pub(super) fn about(tenant: &Tenant) -> Value {
    json!({
        "tenantId": tenant.id, "slug": tenant.slug, "name": tenant.name, "tier": tenant.tier,
        "region": tenant.region, "adminEmail": tenant.admin_email,
    })
}
