//! The audit log, where it is not a transition that writes it.

use model::{RunId, TenantId};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreResult;

/// One row of the audit log, numbered under the lock of the tenant and of its number.
pub async fn audit(
    connection: &mut PgConnection,
    tenant: TenantId,
    run: Option<RunId>,
    action: &str,
    actor: &str,
    detail: &Value,
) -> StoreResult<()> {
    sqlx::query!(
        r#"WITH tenant AS (
               UPDATE tenants SET updated_at = clock_timestamp() WHERE id = $1 RETURNING id
           ), numbered AS (
               UPDATE tenant_audit_numbers n SET number = n.number + 1 FROM tenant WHERE n.tenant_id = tenant.id
               RETURNING n.number
           )
           INSERT INTO provisioning_audit_logs (tenant_id, number, run_id, seq, action, phase, actor, detail)
           SELECT $1, numbered.number, $2, r.seq, $3,
                  CASE WHEN r.cursor >= 0 THEN r.phases[r.cursor + 1] END, $4, $5
           FROM numbered LEFT JOIN provisioning_runs r ON r.id = $2"#,
        tenant.0,
        run.map(|run| run.0) as Option<Uuid>,
        action,
        actor,
        detail
    )
    .execute(connection)
    .await?;
    Ok(())
}
