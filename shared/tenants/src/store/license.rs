//! The tenants' licences, as sealed: this module moves bytes and knows no key.

use chrono::{DateTime, Utc};
use engine::phase::{Owner, Scope};
use engine::store::{Sealed, Sink, StoreResult, transaction};
use model::{RunId, TenantId};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::Store;

/// A licence as it is stored. What is in it is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLicense {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The encrypted licence.
    pub sealed: Vec<u8>,
    /// The encrypted data key.
    pub wrapped_key: Vec<u8>,
    /// Id of the key-encryption key.
    pub kek_id: String,
    /// Id of the key that signed.
    pub signing_key_id: String,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
    /// The run that made it.
    pub created_by_run: RunId,
}

impl From<&StoredLicense> for Sealed {
    fn from(stored: &StoredLicense) -> Self {
        Self {
            text: stored.sealed.clone(),
            data_key: stored.wrapped_key.clone(),
            key_id: stored.kek_id.clone(),
        }
    }
}

/// What became of a licence that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LicenseStored {
    /// It is the tenant's current one, and the notice of it is in the outbox.
    Current,
    /// Another has become current since the caller looked: look again.
    Overtaken,
    /// The run is no longer the caller's: nothing was written.
    Fenced,
}

impl Store {
    /// The tenant's current licence.
    pub async fn license(&self, tenant: TenantId) -> StoreResult<Option<StoredLicense>> {
        let row = sqlx::query_as!(
            Row,
            r#"SELECT id, tenant_id, sealed, wrapped_key, kek_id, signing_key_id, issued_at, expires_at, created_by_run
               FROM tenant_licenses WHERE tenant_id = $1 AND superseded_by IS NULL"#,
            tenant.0
        )
        .fetch_optional(&mut *self.connection().await?)
        .await?;
        Ok(row.map(Row::into))
    }

    /// Makes `license` the tenant's current one in place of `instead_of`, the current one that the caller has seen (or none),
    /// and writes the notice of it; all or nothing. `owner` is whoever works on the run.
    pub async fn store_license(
        &self,
        owner: &Owner,
        license: &StoredLicense,
        instead_of: Option<Uuid>,
    ) -> StoreResult<LicenseStored> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().await?;
        if !transaction::is_at_work(&mut transaction, owner).await? {
            return Ok(LicenseStored::Fenced);
        }
        let current = sqlx::query_scalar!(
            r#"SELECT id FROM tenant_licenses WHERE tenant_id = $1 AND superseded_by IS NULL"#,
            license.tenant_id.0
        )
        .fetch_optional(&mut *transaction)
        .await?;
        if current != instead_of {
            return Ok(LicenseStored::Overtaken);
        }
        sqlx::query!(
            "UPDATE tenant_licenses SET superseded_by = $2 WHERE tenant_id = $1 AND superseded_by IS NULL",
            license.tenant_id.0,
            license.id
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            r#"INSERT INTO tenant_licenses (id, tenant_id, sealed, wrapped_key, kek_id, signing_key_id, issued_at,
                   expires_at, created_by_run)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"#,
            license.id,
            license.tenant_id.0,
            license.sealed,
            license.wrapped_key,
            license.kek_id,
            license.signing_key_id,
            license.issued_at,
            license.expires_at,
            license.created_by_run.0
        )
        .execute(&mut *transaction)
        .await?;
        notice(&mut transaction, license.tenant_id, license.id).await?;
        transaction.commit().await?;
        Ok(LicenseStored::Current)
    }

    /// Undoes [`Store::store_license`] as far as `owner` may: a rollback takes away what its own run has stored and restores
    /// (and tells of) what was current before; a deprovisioning takes away all. A data plane that was told of the removed one
    /// keeps that as the newer: whoever undoes a change of a tenant in use issues anew. How many went; none if nothing was there.
    /// `None` when the run is no longer the caller's.
    pub async fn remove_license(&self, owner: &Owner) -> StoreResult<Option<u64>> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().await?;
        if !transaction::is_at_work(&mut transaction, owner).await? {
            return Ok(None);
        }
        let removed = sqlx::query!(
            "DELETE FROM tenant_licenses WHERE tenant_id = $1 AND ($2 OR created_by_run = $3)",
            owner.tenant_id.0,
            owner.scope == Scope::Tenant,
            owner.run_id.0
        )
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        if removed > 0 {
            // What a later run has put in the place of this one's keeps it.
            let restored = sqlx::query_scalar!(
                r#"UPDATE tenant_licenses SET superseded_by = NULL
                   WHERE id = (SELECT id FROM tenant_licenses WHERE tenant_id = $1
                               ORDER BY issued_at DESC, id DESC LIMIT 1)
                     AND superseded_by IS NOT NULL
                   RETURNING id"#,
                owner.tenant_id.0
            )
            .fetch_optional(&mut *transaction)
            .await?;
            if let Some(id) = restored {
                notice(&mut transaction, owner.tenant_id, id).await?;
            }
        }
        transaction.commit().await?;
        Ok(Some(removed))
    }

    /// Licences, current or not, whose data key is wrapped by another key than `kek_id`, after `after` in order of their
    /// ids, at most `limit`.
    pub async fn licenses_not_under(
        &self,
        kek_id: &str,
        after: Uuid,
        limit: i64,
    ) -> StoreResult<Vec<StoredLicense>> {
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT id, tenant_id, sealed, wrapped_key, kek_id, signing_key_id, issued_at, expires_at, created_by_run
               FROM tenant_licenses WHERE kek_id <> $1 AND id > $2 ORDER BY id LIMIT $3"#,
            kek_id,
            after,
            limit
        )
        .fetch_all(&mut *self.connection().await?)
        .await?;
        Ok(rows.into_iter().map(Row::into).collect())
    }

    /// Replaces the wrapped data key of a licence, unless that has changed (or the licence has gone) since it was read.
    pub async fn rewrap_license(
        &self,
        read: &StoredLicense,
        wrapped_key: &[u8],
        kek_id: &str,
    ) -> StoreResult<bool> {
        let done = sqlx::query!(
            r#"UPDATE tenant_licenses SET wrapped_key = $3, kek_id = $4, rewrapped_at = clock_timestamp()
               WHERE id = $1 AND wrapped_key = $2"#,
            read.id,
            read.wrapped_key,
            wrapped_key,
            kek_id
        )
        .execute(&mut *self.connection().await?)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Writes a notice for every current licence that has none waiting, of one region or all: for a data plane that has lost
    /// what it was told. How many.
    pub async fn announce_licenses(&self, region: Option<&str>) -> StoreResult<u64> {
        let done = sqlx::query!(
            r#"INSERT INTO outbox (id, tenant_id, sink, type, payload)
               SELECT gen_random_uuid(), t.id, $2, 'license.issued',
                      jsonb_build_object('tenantId', t.id, 'slug', t.slug, 'region', t.region, 'licenseId', l.id)
               FROM tenant_licenses l JOIN tenants t ON t.id = l.tenant_id
               WHERE l.superseded_by IS NULL AND ($1::text IS NULL OR t.region = $1)
                 AND NOT EXISTS (SELECT FROM outbox o WHERE o.tenant_id = t.id AND o.sink = $2
                                 AND o.delivered_at IS NULL AND o.set_aside_at IS NULL)"#,
            region as Option<&str>,
            Sink::License.as_str()
        )
        .execute(&mut *self.connection().await?)
        .await?;
        Ok(done.rows_affected())
    }
}

/// The notice of a licence: says which, and never what is in it.
async fn notice(connection: &mut PgConnection, tenant: TenantId, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        r#"INSERT INTO outbox (id, tenant_id, sink, type, payload)
           SELECT $2, t.id, $3, 'license.issued',
                  jsonb_build_object('tenantId', t.id, 'slug', t.slug, 'region', t.region, 'licenseId', $4::uuid)
           FROM tenants t WHERE t.id = $1"#,
        tenant.0,
        Uuid::now_v7(),
        Sink::License.as_str(),
        id
    )
    .execute(connection)
    .await?;
    Ok(())
}

struct Row {
    id: Uuid,
    tenant_id: Uuid,
    sealed: Vec<u8>,
    wrapped_key: Vec<u8>,
    kek_id: String,
    signing_key_id: String,
    issued_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    created_by_run: Uuid,
}

impl From<Row> for StoredLicense {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            tenant_id: TenantId(row.tenant_id),
            sealed: row.sealed,
            wrapped_key: row.wrapped_key,
            kek_id: row.kek_id,
            signing_key_id: row.signing_key_id,
            issued_at: row.issued_at,
            expires_at: row.expires_at,
            created_by_run: RunId(row.created_by_run),
        }
    }
}
