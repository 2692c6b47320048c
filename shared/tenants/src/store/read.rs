//! What operators read of tenants. Never locks.

use chrono::{DateTime, Utc};
use engine::store::transaction::newest_run;
use engine::store::{PhaseRow, RunRow, StoreResult};
use model::TenantId;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::Store;

/// A tenant as it is stored.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns of `tenants`, which say it")]
pub struct TenantRow {
    pub id: Uuid,
    pub slug: String,
    pub name: String,
    pub tier: String,
    pub region: String,
    pub admin_email: String,
    pub domain: Option<String>,
    pub compliance_required: bool,
    pub member_count: i64,
    pub monthly_api_calls: i64,
    pub deployment_strategy: String,
    pub deployment_reason: String,
    pub has_dedicated_database: bool,
    pub cost_center: Option<String>,
    pub alerting: Option<Value>,
    pub on_failure: String,
    pub status: String,
    pub provisioning_error: Option<Value>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub provisioning_started_at: Option<DateTime<Utc>>,
    pub provisioning_completed_at: Option<DateTime<Utc>>,
    pub delete_at: Option<DateTime<Utc>>,
    pub deleted_at: Option<DateTime<Utc>>,
}

/// A tenant with its newest run.
#[derive(Clone, Debug)]
pub struct StatusRow {
    /// The tenant.
    pub tenant: TenantRow,
    /// Its newest run.
    pub run: RunRow,
    /// That run's phases, by position, the inventory first.
    pub phases: Vec<PhaseRow>,
    /// The database's clock at the reading.
    pub now: DateTime<Utc>,
}

/// Which tenants to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct TenantFilter {
    /// Only this status.
    pub status: Option<String>,
    /// Only tenants made before this one.
    pub before: Option<TenantId>,
    /// At most so many.
    pub limit: i64,
}

/// One tenant by id.
pub(crate) async fn tenant(connection: &mut PgConnection, id: TenantId) -> StoreResult<Option<TenantRow>> {
    Ok(sqlx::query_as!(
        TenantRow,
        r#"SELECT t.id, t.slug, t.name, t.tier, t.region, t.admin_email,
                  (SELECT d.domain FROM tenant_domains d WHERE d.tenant_id = t.id AND d.is_primary) AS domain,
                  t.compliance_required, t.member_count, t.monthly_api_calls, t.deployment_strategy, t.deployment_reason,
                  t.has_dedicated_database, t.cost_center, t.alerting, t.on_failure, t.status, t.provisioning_error,
                  t.created_by, t.created_at, t.updated_at, t.provisioning_started_at, t.provisioning_completed_at,
                  t.delete_at, t.deleted_at
           FROM tenants t WHERE t.id = $1"#,
        id.0
    )
    .fetch_optional(connection)
    .await?)
}

impl Store {
    /// The tenant that `{id}` means: by UUID, or the newest of a slug.
    pub async fn find_tenant(&self, id_or_slug: &str) -> StoreResult<Option<TenantId>> {
        if let Ok(id) = id_or_slug.parse::<TenantId>() {
            return Ok(sqlx::query_scalar!("SELECT id FROM tenants WHERE id = $1", id.0)
                .fetch_optional(&mut *self.connection().await?)
                .await?
                .map(TenantId));
        }
        Ok(sqlx::query_scalar!(
            "SELECT id FROM tenants WHERE slug = $1 ORDER BY created_at DESC LIMIT 1",
            id_or_slug
        )
        .fetch_optional(&mut *self.connection().await?)
        .await?
        .map(TenantId))
    }

    /// One tenant.
    pub async fn tenant(&self, id: TenantId) -> StoreResult<Option<TenantRow>> {
        let mut connection = self.connection().await?;
        tenant(&mut connection, id).await
    }

    /// Tenants, newest first.
    pub async fn tenants(&self, filter: &TenantFilter) -> StoreResult<Vec<TenantRow>> {
        Ok(sqlx::query_as!(
            TenantRow,
            r#"SELECT t.id, t.slug, t.name, t.tier, t.region, t.admin_email,
                      (SELECT d.domain FROM tenant_domains d WHERE d.tenant_id = t.id AND d.is_primary) AS domain,
                      t.compliance_required, t.member_count, t.monthly_api_calls, t.deployment_strategy,
                      t.deployment_reason, t.has_dedicated_database, t.cost_center, t.alerting, t.on_failure, t.status,
                      t.provisioning_error, t.created_by, t.created_at, t.updated_at, t.provisioning_started_at,
                      t.provisioning_completed_at, t.delete_at, t.deleted_at
               FROM tenants t
               WHERE ($1::text IS NULL OR t.status = $1) AND ($2::uuid IS NULL OR t.id < $2)
               ORDER BY t.id DESC LIMIT $3"#,
            filter.status,
            filter.before.map(|id| id.0),
            filter.limit
        )
        .fetch_all(&mut *self.connection().await?)
        .await?)
    }

    /// A tenant with its newest run and that run's phases, all of one moment.
    pub async fn status(&self, id: TenantId) -> StoreResult<Option<StatusRow>> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().await?;
        sqlx::query!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            .execute(&mut *transaction)
            .await?;
        let Some(tenant) = tenant(&mut transaction, id).await? else { return Ok(None) };
        let Some((run, phases)) = newest_run(&mut transaction, id).await? else { return Ok(None) };
        let now =
            sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Some(StatusRow { tenant, run, phases, now }))
    }

    /// How many tenants have each status; one that nobody has is left out.
    pub async fn tenant_counts(&self) -> StoreResult<Vec<(String, i64)>> {
        let rows = sqlx::query!(r#"SELECT status, count(*) AS "count!" FROM tenants GROUP BY status"#)
            .fetch_all(&mut *self.connection().await?)
            .await?;
        Ok(rows.into_iter().map(|row| (row.status, row.count)).collect())
    }
}
