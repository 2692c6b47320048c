//! When a tenant is to be deleted: scheduled by `DELETE` of one that was in use, and taken back by a wish for it.

use chrono::{DateTime, Utc};
use model::platform::Seconds;
use model::{RunId, TenantId};
use serde_json::json;
use sqlx::PgConnection;

use super::StoreResult;
use super::audit::audit;
use crate::decide::verbs::Request;

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
        audit(connection, tenant, run, "DELETION_SCHEDULED", &request.actor, &detail).await?;
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
        audit(connection, tenant, None, "DELETION_TAKEN_BACK", actor, &json!({})).await?;
    }
    Ok(())
}
