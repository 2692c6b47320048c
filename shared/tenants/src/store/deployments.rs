//! Where the tenants' own compute is.

use chrono::{DateTime, Utc};
use engine::phase::{Owner, Scope};
use engine::store::{StoreResult, transaction};
use model::{Container, TenantId};
use serde_json::Value;
use sqlx::Connection as _;
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;

/// A tenant's own instance, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeployment {
    /// The Deployment's uid.
    pub container_id: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How the control plane reaches it.
    pub endpoint: String,
    /// How the tenant reaches it.
    pub url: String,
    /// Its image.
    pub image: String,
    /// The size's name.
    pub size: String,
    /// The size's numbers.
    pub resources: Value,
    /// Pods.
    pub replicas: i32,
}

/// A tenant's own instance, as it was last recorded.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in NewDeployment")]
pub struct DeploymentRow {
    pub container_id: String,
    pub namespace: String,
    pub name: String,
    pub endpoint: String,
    pub url: String,
    pub image: String,
    pub size: String,
    pub resources: Value,
    pub replicas: i32,
    /// What was chosen for it instead of what the platform says.
    pub chosen: Json<Container>,
    /// The run that first recorded it.
    pub created_by_run: Uuid,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Store {
    /// Where the tenant's own compute is; none for a tenant without.
    pub async fn deployment(&self, tenant: TenantId) -> StoreResult<Option<DeploymentRow>> {
        Ok(sqlx::query_as!(
            DeploymentRow,
            r#"SELECT d.container_id, d.namespace, d.name, d.endpoint, d.url, d.image, d.size, d.resources, d.replicas,
                      d.created_by_run, d.created_at, d.updated_at, t.container AS "chosen: Json<Container>"
               FROM tenant_deployments d JOIN tenants t ON t.id = d.tenant_id WHERE d.tenant_id = $1"#,
            tenant.0
        )
        .fetch_optional(&mut *self.connection().await?)
        .await?)
    }

    /// Records where the tenant's compute is, in place of what was recorded before; a second call changes nothing but the
    /// time. False when the run is no longer the caller's: nothing was written.
    pub async fn record_deployment(&self, owner: &Owner, made: &NewDeployment) -> StoreResult<bool> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().await?;
        if !transaction::is_at_work(&mut transaction, owner).await? {
            return Ok(false);
        }
        sqlx::query!(
            r#"INSERT INTO tenant_deployments AS d (tenant_id, container_id, namespace, name, endpoint, url, image, size,
                   resources, replicas, created_by_run)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
               ON CONFLICT (tenant_id) DO UPDATE SET
                   (container_id, namespace, name, endpoint, url, image, size, resources, replicas, updated_at) =
                   ($2, $3, $4, $5, $6, $7, $8, $9, $10, clock_timestamp())"#,
            owner.tenant_id.0,
            made.container_id,
            made.namespace,
            made.name,
            made.endpoint,
            made.url,
            made.image,
            made.size,
            made.resources,
            made.replicas,
            owner.run_id.0
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Undoes [`Store::record_deployment`] as far as `owner` may: a rollback takes away what its own run first recorded, a
    /// deprovisioning whatever there is. False when the run is no longer the caller's.
    pub async fn remove_deployment(&self, owner: &Owner) -> StoreResult<bool> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().await?;
        if !transaction::is_at_work(&mut transaction, owner).await? {
            return Ok(false);
        }
        sqlx::query!(
            "DELETE FROM tenant_deployments WHERE tenant_id = $1 AND ($2 OR created_by_run = $3)",
            owner.tenant_id.0,
            owner.scope == Scope::Tenant,
            owner.run_id.0
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }
}
