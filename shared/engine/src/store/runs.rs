//! New runs, and whether there is one: for a transaction of the caller's own, in which whatever else follows is written too.

use model::{Change, PhaseName, RunId, TenantId};
use serde_json::json;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::StoreResult;
use super::audit::audit;
use crate::phase::Owner;

/// A provisioning run of `phases`, due at once.
pub async fn start_provisioning(
    connection: &mut PgConnection,
    tenant: TenantId,
    phases: &[PhaseName],
    actor: &str,
    action: &str,
) -> StoreResult<RunId> {
    let id = RunId::generate();
    let names: Vec<String> = phases.iter().map(ToString::to_string).collect();
    sqlx::query!(
        r#"WITH run AS (
               INSERT INTO provisioning_runs (id, tenant_id, kind, status, direction, phases, cursor, actor)
               VALUES ($1, $2, 'provision', 'running', 'forward', $3, 0, $4)
           )
           INSERT INTO provisioning_phases (run_id, position, name)
           SELECT $1, (nth - 1)::int, name FROM unnest($3::text[]) WITH ORDINALITY AS p (name, nth)
           UNION ALL SELECT $1, -1, 'TAKE_INVENTORY'"#,
        id.0,
        tenant.0,
        &names,
        actor
    )
    .execute(&mut *connection)
    .await?;
    audit(connection, tenant, Some(id), action, actor, &json!({ "phases": names })).await?;
    Ok(id)
}

/// A deprovisioning run over all that holds for the tenant, due at once.
pub async fn start_deprovisioning(
    connection: &mut PgConnection,
    tenant: TenantId,
    actor: &str,
) -> StoreResult<RunId> {
    let id = RunId::generate();
    sqlx::query!(
        r#"WITH held AS (
               SELECT row_number() OVER (ORDER BY position) - 1 AS position, name, plan, checkpoint, schema_version
               FROM tenant_phases WHERE tenant_id = $2
           ), run AS (
               INSERT INTO provisioning_runs (id, tenant_id, kind, status, direction, phases, cursor, actor)
               SELECT $1, $2, 'deprovision', 'running', 'backward',
                      COALESCE(array_agg(name ORDER BY position), '{}'), count(*)::int - 1, $3
               FROM held
           )
           INSERT INTO provisioning_phases (run_id, position, name, state, plan, checkpoint, schema_version)
           SELECT $1, position::int, name, 'done', plan, checkpoint, schema_version FROM held
           UNION ALL SELECT $1, -1, 'TAKE_INVENTORY', 'pending', NULL, NULL, 1"#,
        id.0,
        tenant.0,
        actor
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "UPDATE tenants SET status = 'DEPROVISIONING', updated_at = clock_timestamp() WHERE id = $1",
        tenant.0
    )
    .execute(&mut *connection)
    .await?;
    audit(connection, tenant, Some(id), "DEPROVISIONING_STARTED", actor, &json!({})).await?;
    Ok(id)
}

/// Whether a run of the tenant's is under way.
pub async fn is_under_way(connection: &mut PgConnection, tenant: TenantId) -> StoreResult<bool> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM provisioning_runs WHERE tenant_id = $1 AND finished_at IS NULL) AS "runs!""#,
        tenant.0
    )
    .fetch_one(connection)
    .await?)
}

/// A run that makes `phases` hold new plans, due at once. What they hold until then is kept with it.
pub async fn start_change(
    connection: &mut PgConnection,
    tenant: TenantId,
    change: &Change,
    phases: &[PhaseName],
    actor: &str,
) -> StoreResult<RunId> {
    let id = RunId::generate();
    let names: Vec<String> = phases.iter().map(ToString::to_string).collect();
    sqlx::query!(
        r#"WITH run AS (
               INSERT INTO provisioning_runs (id, tenant_id, kind, status, direction, phases, cursor, change, actor)
               VALUES ($1, $2, 'change', 'running', 'forward', $3, 0, $4, $5)
           )
           INSERT INTO provisioning_phases (run_id, position, name, before_plan, before_checkpoint)
           SELECT $1, (nth - 1)::int, p.name, h.plan, h.checkpoint
           FROM unnest($3::text[]) WITH ORDINALITY AS p (name, nth)
                LEFT JOIN tenant_phases h ON h.tenant_id = $2 AND h.name = p.name"#,
        id.0,
        tenant.0,
        &names,
        Json(change) as _,
        actor
    )
    .execute(&mut *connection)
    .await?;
    let detail = json!({ "change": change, "phases": names });
    audit(connection, tenant, Some(id), "CHANGE_STARTED", actor, &detail).await?;
    Ok(id)
}

/// Whether the run is still that worker's. Locks the tenant, so that what is kept of it changes one after the other. A run's
/// epoch grows when control is taken from its worker, which the lock on it keeps from happening before the caller's commit. Run
/// before tenant, as a transition does.
pub async fn is_at_work(connection: &mut PgConnection, owner: &Owner) -> sqlx::Result<bool> {
    let taken = sqlx::query_scalar!(
        r#"SELECT epoch <> $2 OR finished_at IS NOT NULL AS "taken!" FROM provisioning_runs WHERE id = $1 FOR SHARE"#,
        owner.run_id.0,
        owner.epoch
    )
    .fetch_optional(&mut *connection)
    .await?;
    sqlx::query!("SELECT id FROM tenants WHERE id = $1 FOR NO KEY UPDATE", owner.tenant_id.0)
        .fetch_optional(connection)
        .await?;
    Ok(taken != Some(true))
}
