//! What becomes due for a tenant without anybody asking: its deletion after the retention, its licence's renewal, serving
//! its verified domains.
//!
//! Each duty is a run like any other. A tenant's row is locked while one is begun, so that dispatchers side by side begin it
//! once, and never beside another run.

use engine::store::{StoreError, StoreResult, transaction};
use model::platform::Platform;
use model::{Change, RunId, TenantId, TenantStatus};
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection};

use super::change::{self, ChangeError, ChangeOutcome};
use super::{Store, deletion, domains};

/// Who begins what nobody asks for.
const ACTOR: &str = "tenantry";

/// At most so many at a time: what has become due for many tenants at once is begun bit by bit.
const AT_ONCE: i64 = 20;

model::names!(
    /// What is due.
    Duty {
        /// The retention of a deleted tenant is over.
        Deletion = "deletion",
        /// A tenant that is to be deleted still runs.
        Suspension = "suspension",
        /// Its licence ends soon.
        Renewal = "renewal",
        /// What is served are not its verified domains.
        Domains = "domains",
    }
);

/// A run that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduledRun {
    /// Whose.
    pub tenant: TenantId,
    /// Why.
    pub duty: Duty,
    /// The run.
    pub run: RunId,
}

impl Store {
    /// Begins what is due, for some tenants at a time. One that has a run under way is left until that ends, and one for
    /// whom the same has failed until `lifecycle.again_after` has passed. Called again, it begins nothing a second time.
    pub async fn upkeep(&self, platform: &Platform) -> StoreResult<Vec<ScheduledRun>> {
        let due = sqlx::query!(
            r#"SELECT t.id AS "id!", d.duty AS "duty!" FROM (
                   SELECT id, CASE WHEN delete_at <= clock_timestamp() THEN 'deletion' ELSE 'suspension' END AS duty
                   FROM tenants
                   WHERE delete_at IS NOT NULL AND deleted_at IS NULL
                     AND (delete_at <= clock_timestamp() OR status = 'ACTIVE')
                   UNION ALL
                   SELECT tenant_id, 'renewal' FROM tenant_licenses
                   WHERE superseded_by IS NULL AND expires_at <= clock_timestamp() + make_interval(secs => $1)
                   UNION ALL
                   SELECT id, 'domains' FROM tenants WHERE domains_changed
               ) d JOIN tenants t ON t.id = d.id
               WHERE t.status IN ('ACTIVE', 'SUSPENDED')
                 AND NOT EXISTS (SELECT FROM provisioning_runs r WHERE r.tenant_id = t.id
                                 AND (r.finished_at IS NULL
                                      OR r.actor = $4 AND r.status <> 'succeeded'
                                         AND r.finished_at > clock_timestamp() - make_interval(secs => $2)))
               ORDER BY random() LIMIT $3"#,
            platform.license.renew_before.0,
            platform.lifecycle.again_after.0,
            AT_ONCE,
            ACTOR
        )
        .fetch_all(&mut *self.connection().await?)
        .await?;
        let mut begun = Vec::new();
        for row in due {
            let (tenant, duty) = (TenantId(row.id), row.duty.parse().map_err(StoreError::unreadable)?);
            let mut connection = self.connection().await?;
            let mut transaction = connection.begin().await?;
            let run = begin(&mut transaction, tenant, duty).await?;
            let committed = transaction.commit().await;
            connection.ended(committed)?;
            begun.extend(run.map(|run| ScheduledRun { tenant, duty, run }));
        }
        Ok(begun)
    }
}

/// Begins one, unless it is no longer due.
async fn begin(connection: &mut PgConnection, tenant: TenantId, duty: Duty) -> StoreResult<Option<RunId>> {
    let wanted = match duty {
        Duty::Deletion => return delete(connection, tenant).await,
        Duty::Suspension => {
            if deletion::due_at(connection, tenant).await?.is_none() {
                return Ok(None);
            }
            Change { status: Some(TenantStatus::Suspended), ..Change::default() }
        }
        Duty::Renewal => Change { renews_license: true, ..Change::default() },
        Duty::Domains => {
            if !domains_changed(connection, tenant).await? {
                return Ok(None);
            }
            let domains = domains::to_serve(connection, tenant).await?;
            Change { domains: Some(domains), ..Change::default() }
        }
    };
    match change::begin(connection, tenant, &wanted, ACTOR).await {
        Ok(ChangeOutcome::Run { id, .. }) => Ok(Some(id)),
        Ok(ChangeOutcome::Already)
        | Err(ChangeError::Unknown | ChangeError::NotNow(_) | ChangeError::Unmade) => Ok(None),
        Err(ChangeError::Store(error)) => Err(error),
    }
}

/// Whether what is served is to be looked at. The tenant's row is locked; false while a run is under way, which leaves it so.
async fn domains_changed(connection: &mut PgConnection, tenant: TenantId) -> StoreResult<bool> {
    let changed =
        sqlx::query_scalar!("SELECT domains_changed FROM tenants WHERE id = $1 FOR UPDATE", tenant.0)
            .fetch_optional(&mut *connection)
            .await?;
    Ok(changed == Some(true) && !transaction::is_under_way(connection, tenant).await?)
}

async fn delete(connection: &mut PgConnection, tenant: TenantId) -> StoreResult<Option<RunId>> {
    let due = sqlx::query_scalar!(
        r#"SELECT delete_at <= clock_timestamp() AND status IN ('ACTIVE', 'SUSPENDED') AS due
           FROM tenants WHERE id = $1 FOR UPDATE"#,
        tenant.0
    )
    .fetch_optional(&mut *connection)
    .await?;
    if due.flatten() != Some(true) || transaction::is_under_way(connection, tenant).await? {
        return Ok(None);
    }
    Ok(Some(transaction::start_deprovisioning(connection, tenant, ACTOR).await?))
}
