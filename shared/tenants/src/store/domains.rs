//! The tenants' own domains: claimed, shown to be theirs, given up.

use chrono::{DateTime, Utc};
use engine::store::{StoreError, StoreResult, transaction};
use model::platform::Domains;
use model::{OwnDomain, RunId, TenantId};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use super::Store;

/// A tenant's domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainRow {
    /// Its own among the tenant's, for ever: a domain given up takes its number with it.
    pub number: i32,
    /// In ASCII and lower case.
    pub domain: String,
    /// The one that stands for the tenant.
    pub is_primary: bool,
    /// What the record in the domain must hold.
    pub challenge: String,
    /// When that was seen; none: not yet.
    pub verified_at: Option<DateTime<Utc>>,
    /// When it was claimed.
    pub created_at: DateTime<Utc>,
}

/// Why a domain was not claimed. Nothing is written then.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It is another tenant's.
    #[error("domain '{0}' belongs to another tenant")]
    Taken(String),
    /// The tenant has as many as it may have.
    #[error("a tenant may have {0} domains")]
    TooMany(i64),
    /// The tenant is deleted, or on its way there.
    #[error("the tenant is {0}")]
    Leaving(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ClaimError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// The tenant's domains, the primary one first.
    pub async fn domains(&self, tenant: TenantId) -> StoreResult<Vec<DomainRow>> {
        let mut connection = self.connection().await?;
        let rows = sqlx::query_as!(
            DomainRow,
            r#"SELECT number, domain, is_primary, challenge, verified_at, created_at FROM tenant_domains
               WHERE tenant_id = $1 ORDER BY NOT is_primary, created_at, domain"#,
            tenant.0
        )
        .fetch_all(&mut *connection)
        .await;
        connection.ended(rows)
    }

    /// Claims a domain for a living tenant. Claimed again by the same tenant, it stays as it is.
    pub async fn claim_domain(
        &self,
        tenant: TenantId,
        domain: &str,
        rules: &Domains,
        actor: &str,
    ) -> Result<DomainRow, ClaimError> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().await?;
        let status = lock(&mut transaction, tenant).await?;
        if matches!(status.as_str(), "DEPROVISIONING" | "DELETED") {
            return Err(ClaimError::Leaving(status));
        }
        let claimed = claim(&mut transaction, tenant, domain, rules).await?;
        if claimed {
            let count = sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM tenant_domains WHERE tenant_id = $1"#,
                tenant.0
            )
            .fetch_one(&mut *transaction)
            .await?;
            if count > rules.per_tenant {
                return Err(ClaimError::TooMany(rules.per_tenant));
            }
            let detail = json!({ "domain": domain });
            transaction::audit(&mut transaction, tenant, None, "DOMAIN_CLAIMED", actor, &detail).await?;
        }
        let row = one(&mut transaction, tenant, domain).await?;
        let row = row.ok_or_else(|| StoreError::unreadable("no row for the domain just claimed"))?;
        let committed = transaction.commit().await;
        connection.ended(committed)?;
        Ok(row)
    }

    /// Writes that the domain was seen to be the tenant's, and that it is to be served; none when the tenant has not claimed
    /// it. A second call asks for another attempt to serve it.
    pub async fn domain_verified(
        &self,
        tenant: TenantId,
        domain: &str,
        actor: &str,
    ) -> StoreResult<Option<DomainRow>> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().await?;
        lock(&mut transaction, tenant).await?;
        let done = sqlx::query!(
            r#"UPDATE tenant_domains SET verified_at = clock_timestamp()
               WHERE tenant_id = $1 AND domain = $2 AND verified_at IS NULL"#,
            tenant.0,
            domain
        )
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 1 {
            let detail = json!({ "domain": domain });
            transaction::audit(&mut transaction, tenant, None, "DOMAIN_VERIFIED", actor, &detail).await?;
            stand(&mut transaction, tenant).await?;
        }
        let row = one(&mut transaction, tenant, domain).await?;
        if row.is_some() {
            serve_anew(&mut transaction, tenant).await?;
        }
        let committed = transaction.commit().await;
        connection.ended(committed)?;
        Ok(row)
    }

    /// Gives a domain up. False when the tenant has not claimed it.
    pub async fn give_up_domain(&self, tenant: TenantId, domain: &str, actor: &str) -> StoreResult<bool> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().await?;
        lock(&mut transaction, tenant).await?;
        let done =
            sqlx::query!("DELETE FROM tenant_domains WHERE tenant_id = $1 AND domain = $2", tenant.0, domain)
                .execute(&mut *transaction)
                .await?;
        let given_up = done.rows_affected() == 1;
        if given_up {
            let detail = json!({ "domain": domain });
            transaction::audit(&mut transaction, tenant, None, "DOMAIN_GIVEN_UP", actor, &detail).await?;
            stand(&mut transaction, tenant).await?;
            serve_anew(&mut transaction, tenant).await?;
        }
        let committed = transaction.commit().await;
        connection.ended(committed)?;
        Ok(given_up)
    }

    /// Those of these domains that a living tenant holds; a claim that has run out holds nothing.
    pub async fn claimed_domains(&self, domains: &[&str], rules: &Domains) -> StoreResult<Vec<String>> {
        Ok(sqlx::query_scalar!(
            r#"SELECT d.domain FROM tenant_domains d JOIN tenants t ON t.id = d.tenant_id
               WHERE d.domain = ANY($1) AND t.deleted_at IS NULL
                 AND (d.verified_at IS NOT NULL OR d.created_at + make_interval(secs => $2) >= clock_timestamp())"#,
            domains as _,
            rules.claim_within.0
        )
        .fetch_all(&mut *self.connection().await?)
        .await?)
    }
}

/// Locks the tenant's row and reads its status: its domains are claimed, verified and given up, and its end begins, one after
/// the other.
async fn lock(connection: &mut PgConnection, tenant: TenantId) -> sqlx::Result<String> {
    sqlx::query_scalar!("SELECT status FROM tenants WHERE id = $1 FOR UPDATE", tenant.0)
        .fetch_one(connection)
        .await
}

/// Where none of the tenant's domains stands for it (its row is locked), the first that was verified does, and where none is,
/// the first that was claimed.
async fn stand(connection: &mut PgConnection, tenant: TenantId) -> StoreResult<()> {
    sqlx::query!(
        r#"UPDATE tenant_domains SET is_primary = true
           WHERE tenant_id = $1
             AND domain = (SELECT domain FROM tenant_domains WHERE tenant_id = $1
                           ORDER BY verified_at NULLS LAST, number LIMIT 1)
             AND NOT EXISTS (SELECT FROM tenant_domains WHERE tenant_id = $1 AND is_primary)"#,
        tenant.0
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Claims a domain that is free, the tenant's first as its primary one: true when this call did it, false when the tenant
/// has it already.
pub(super) async fn claim(
    connection: &mut PgConnection,
    tenant: TenantId,
    domain: &str,
    rules: &Domains,
) -> Result<bool, ClaimError> {
    sqlx::query!(
        r#"DELETE FROM tenant_domains d USING tenants t
           WHERE d.domain = $1 AND d.tenant_id <> $2 AND t.id = d.tenant_id
             AND (t.deleted_at IS NOT NULL
                  OR d.verified_at IS NULL AND d.created_at + make_interval(secs => $3) < clock_timestamp())"#,
        domain,
        tenant.0,
        rules.claim_within.0
    )
    .execute(&mut *connection)
    .await?;
    // Its primary one may have been another tenant's to take.
    stand(connection, tenant).await?;
    // The index on the domain decides between two that claim it at once. A number is given once: what was made for a domain
    // that is given up bears it until a change has taken that away.
    let claimed = sqlx::query!(
        r#"WITH numbered AS (
               UPDATE tenants
               SET domain_number = 1 + GREATEST(domain_number,
                                                (SELECT max(number) FROM tenant_domains WHERE tenant_id = $1))
               WHERE id = $1 AND NOT EXISTS (SELECT FROM tenant_domains WHERE domain = $2)
               RETURNING domain_number
           )
           INSERT INTO tenant_domains (tenant_id, domain, number, is_primary)
           SELECT $1, $2, domain_number, NOT EXISTS (SELECT FROM tenant_domains WHERE tenant_id = $1) FROM numbered
           ON CONFLICT DO NOTHING"#,
        tenant.0,
        domain
    )
    .execute(&mut *connection)
    .await?;
    if claimed.rows_affected() == 1 {
        return Ok(true);
    }
    match one(connection, tenant, domain).await? {
        Some(_) => Ok(false),
        None => Err(ClaimError::Taken(domain.to_owned())),
    }
}

/// What is served is to be looked at again: once no run is under way, a change is begun. A tenant without an ingress of its
/// own has nothing that could serve.
async fn serve_anew(connection: &mut PgConnection, tenant: TenantId) -> StoreResult<()> {
    sqlx::query!(
        "UPDATE tenants SET domains_changed = true WHERE id = $1 AND deployment_strategy = 'container_per_tenant'",
        tenant.0
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A change of the tenant has ended, and not as it was to: if it was to serve what the tenant's domains were, that is still to be
/// done. When it is begun again, `lifecycle.again_after` says.
pub(crate) async fn not_served(
    connection: &mut PgConnection,
    tenant: TenantId,
    run: RunId,
) -> StoreResult<()> {
    sqlx::query!(
        r#"UPDATE tenants t SET domains_changed = true FROM provisioning_runs r
           WHERE t.id = $1 AND r.id = $2 AND r.change ? 'domains'"#,
        tenant.0,
        run.0
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The verified domains of a tenant whose row is locked, which are about to be served.
pub(super) async fn to_serve(connection: &mut PgConnection, tenant: TenantId) -> StoreResult<Vec<OwnDomain>> {
    sqlx::query!("UPDATE tenants SET domains_changed = false WHERE id = $1", tenant.0)
        .execute(&mut *connection)
        .await?;
    Ok(sqlx::query_as!(
        OwnDomain,
        r#"SELECT number, domain FROM tenant_domains
           WHERE tenant_id = $1 AND verified_at IS NOT NULL ORDER BY number"#,
        tenant.0
    )
    .fetch_all(connection)
    .await?)
}

async fn one(
    connection: &mut PgConnection,
    tenant: TenantId,
    domain: &str,
) -> StoreResult<Option<DomainRow>> {
    Ok(sqlx::query_as!(
        DomainRow,
        r#"SELECT number, domain, is_primary, challenge, verified_at, created_at FROM tenant_domains
           WHERE tenant_id = $1 AND domain = $2"#,
        tenant.0,
        domain
    )
    .fetch_optional(connection)
    .await?)
}
