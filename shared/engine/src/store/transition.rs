//! The statement that writes a transition: run, phase, what holds for the tenant and audit log together.

use model::TenantStatus;
use model::platform::Engine;
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::types::{Hold, RunTransition, StepOutput, TransitionContext};
use crate::decide::machine::Transition;
use crate::decide::run::{Direction, PhaseState, RunKind};

/// Writes it, unless the hold does not match: then nothing is written, and none is returned. `hand_over` makes the run due for the sweeper at once, for when nobody else will publish what comes next.
pub(super) async fn write<'a>(
    connection: &mut PgConnection,
    hold: &Hold,
    cause: &'a TransitionContext<'a>,
    to: &'a Transition,
    left: &StepOutput<'_>,
    engine: &Engine,
    hand_over: bool,
) -> sqlx::Result<Option<RunTransition<'a>>> {
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
    Ok(row.map(|row| RunTransition { run_id: hold.run_id, seq: row.seq, cause, to }))
}
