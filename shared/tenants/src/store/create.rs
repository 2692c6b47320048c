//! New tenants, each with its first run.

use chrono::{DateTime, Utc};
use engine::store::{KeyState, KeyUse, StoreError, StoredResponse, transaction};
use model::platform::{Domains, Seconds};
use model::{DeploymentType, OnFailure, PhaseName, Slug, TenantId, Tier};
use serde_json::Value;
use sqlx::Connection as _;

use super::{ClaimError, Store, TenantRow, domains};

/// A validated request for a tenant.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// Unique among living tenants.
    pub slug: Slug,
    /// For people.
    pub name: String,
    /// Decides quotas and sizes.
    pub tier: Tier,
    /// Key of a region of the platform.
    pub region: String,
    /// Where notices go.
    pub admin_email: String,
    /// The primary domain of its own, if it has one.
    pub domain: Option<String>,
    /// Compliance asks for isolation.
    pub compliance_required: bool,
    /// Members.
    pub member_count: i64,
    /// API calls a month.
    pub monthly_api_calls: i64,
    /// The decision.
    pub deployment_type: DeploymentType,
    /// Its reason.
    pub deployment_reason: String,
    /// A database of its own, rather than a schema.
    pub has_dedicated_database: bool,
    /// For the bill.
    pub cost_center: Option<String>,
    /// Where alerts go.
    pub alerting: Option<Value>,
    /// What a spent budget leads to.
    pub on_failure: OnFailure,
    /// The token's name.
    pub actor: String,
    /// The frozen list of phases.
    pub phases: Vec<PhaseName>,
}

/// Why no tenant was made. Nothing is written then.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The slug belongs to a living tenant.
    #[error("slug '{0}' belongs to another tenant")]
    SlugTaken(Slug),
    /// The slug's DNS names may still be cached somewhere.
    #[error("slug '{slug}' was given up lately and is free again at {free_at}")]
    SlugResting {
        /// The slug.
        slug: Slug,
        /// When.
        free_at: DateTime<Utc>,
    },
    /// The region takes no new tenants.
    #[error("region '{0}' takes no new tenants")]
    RegionClosed(String),
    /// The domain is another tenant's.
    #[error("domain '{0}' belongs to another tenant")]
    DomainTaken(String),
    /// The idempotency key is spoken for; see the state.
    #[error("idempotency key: {0:?}")]
    Key(KeyState),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ClaimError> for CreateError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Store(error) => Self::Store(error),
            ClaimError::Taken(domain) => Self::DomainTaken(domain),
            // Of a tenant that is being made, with its first domain.
            ClaimError::TooMany(_) | ClaimError::Leaving(_) => {
                Self::Store(StoreError::unreadable("a new tenant's domain"))
            }
        }
    }
}

impl From<sqlx::Error> for CreateError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Writes tenant, domain, run, phases, audit row and the key's answer in one transaction. Two requests for one slug:
    /// one is made, the other is told that the slug is taken.
    pub async fn create_tenant(
        &self,
        new: &NewTenant,
        key: &KeyUse<'_>,
        slug_rest: Seconds,
        rules: &Domains,
        respond: impl FnOnce(&TenantRow) -> StoredResponse + Send,
    ) -> Result<StoredResponse, CreateError> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().await?;
        match transaction::take_key(&mut transaction, key).await? {
            KeyState::Free => {}
            state => return Err(CreateError::Key(state)),
        }
        // Locked, so that the region is where it is until the tenant is in it.
        let accepts = sqlx::query_scalar!(
            r#"SELECT COALESCE((settings->>'accepts_tenants')::boolean, true) AS "accepts!" FROM regions
               WHERE key = $1 FOR SHARE"#,
            new.region
        )
        .fetch_optional(&mut *transaction)
        .await?;
        if accepts == Some(false) {
            return Err(CreateError::RegionClosed(new.region.clone()));
        }
        let resting = sqlx::query_scalar!(
            r#"SELECT max(deleted_at) + make_interval(secs => $2) FROM tenants
               WHERE slug = $1 AND deleted_at + make_interval(secs => $2) > clock_timestamp()"#,
            new.slug.as_str(),
            slug_rest.0
        )
        .fetch_one(&mut *transaction)
        .await?;
        if let Some(free_at) = resting {
            return Err(CreateError::SlugResting { slug: new.slug.clone(), free_at });
        }
        let id = TenantId::generate();
        let made = sqlx::query!(
            r#"INSERT INTO tenants (id, slug, name, tier, region, admin_email, compliance_required, member_count,
                   monthly_api_calls, deployment_strategy, deployment_reason, has_dedicated_database, cost_center,
                   alerting, on_failure, status, created_by)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 'PENDING', $16)
               ON CONFLICT (slug) WHERE deleted_at IS NULL DO NOTHING"#,
            id.0,
            new.slug.as_str(),
            new.name,
            new.tier.as_str(),
            new.region,
            new.admin_email,
            new.compliance_required,
            new.member_count,
            new.monthly_api_calls,
            new.deployment_type.as_str(),
            new.deployment_reason,
            new.has_dedicated_database,
            new.cost_center,
            new.alerting,
            new.on_failure.as_str(),
            new.actor,
        )
        .execute(&mut *transaction)
        .await?;
        if made.rows_affected() == 0 {
            return Err(CreateError::SlugTaken(new.slug.clone()));
        }
        sqlx::query!("INSERT INTO tenant_audit_numbers (tenant_id, number) VALUES ($1, 0)", id.0)
            .execute(&mut *transaction)
            .await?;
        if let Some(domain) = &new.domain {
            domains::claim(&mut transaction, id, domain, rules).await?;
        }
        transaction::start_provisioning(&mut transaction, id, &new.phases, &new.actor, "TENANT_CREATED")
            .await?;
        let row = super::read::tenant(&mut transaction, id).await?;
        let row = row.ok_or_else(|| StoreError::unreadable("no row for the tenant just made"))?;
        let response = respond(&row);
        transaction::keep_key(&mut transaction, key, &response).await?;
        transaction.commit().await?;
        Ok(response)
    }
}
