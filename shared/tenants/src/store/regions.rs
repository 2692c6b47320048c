//! The regions that the API has made.

use chrono::{DateTime, Utc};
use engine::store::{StoreError, StoreResult};
use model::platform::Region;
use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection};

use super::Store;

/// A region that the API has made.
#[derive(Clone, Debug)]
pub struct RegionRow {
    /// Its key.
    pub key: String,
    /// What it is now.
    pub region: Json<Region>,
    /// Grows with every change; no two regions ever have the same.
    pub version: i64,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
}

/// Why a region stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum NotChanged {
    /// There is none of that key.
    #[error("no such region")]
    Unknown,
    /// It has been changed since it was read.
    #[error("the region has been changed meanwhile")]
    Overtaken,
    /// It would be another place, and so many tenants live in it.
    #[error("{0} tenants live in the region")]
    HasTenants(i64),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for NotChanged {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// All of them, by key.
    pub async fn regions(&self) -> StoreResult<Vec<RegionRow>> {
        let rows = sqlx::query_as!(
            RegionRow,
            r#"SELECT key, settings AS "region: Json<Region>", version, created_by, created_at, updated_at
               FROM regions ORDER BY key"#
        )
        .fetch_all(&mut *self.connection().await?)
        .await?;
        Ok(rows)
    }

    /// One of them.
    pub async fn region(&self, key: &str) -> StoreResult<Option<RegionRow>> {
        let mut connection = self.connection().await?;
        one(&mut connection, key).await
    }

    /// How many living tenants each region has, the platform file's among them; one without any is left out.
    pub async fn tenants_by_region(&self) -> StoreResult<Vec<(String, i64)>> {
        let rows = sqlx::query!(
            r#"SELECT region, count(*) AS "tenants!" FROM tenants WHERE deleted_at IS NULL GROUP BY region"#
        )
        .fetch_all(&mut *self.connection().await?)
        .await?;
        Ok(rows.into_iter().map(|row| (row.region, row.tenants)).collect())
    }

    /// The living tenants that have one of these slugs, each with its region.
    pub async fn living_tenants(&self, slugs: &[&str]) -> StoreResult<Vec<(String, String)>> {
        let rows = sqlx::query!(
            "SELECT slug, region FROM tenants WHERE deleted_at IS NULL AND slug = ANY($1)",
            slugs as _
        )
        .fetch_all(&mut *self.connection().await?)
        .await?;
        Ok(rows.into_iter().map(|row| (row.slug, row.region)).collect())
    }

    /// Makes a region, unless there is one of that key. True if it was made now.
    pub async fn make_region(&self, key: &str, region: &Region, actor: &str) -> StoreResult<bool> {
        let made = sqlx::query!(
            "INSERT INTO regions (key, settings, created_by) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING",
            key,
            Json(region) as _,
            actor
        )
        .execute(&mut *self.connection().await?)
        .await?;
        Ok(made.rows_affected() > 0)
    }

    /// Makes a region that was read in `version` be `region`. One that is so already keeps its version. It can become
    /// another place only while no tenant lives in it.
    pub async fn change_region(&self, key: &str, version: i64, region: &Region) -> Result<(), NotChanged> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().await?;
        let found = sqlx::query!(
            r#"SELECT settings AS "region: Json<Region>", version FROM regions WHERE key = $1 FOR UPDATE"#,
            key
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or(NotChanged::Unknown)?;
        if found.version != version {
            return Err(NotChanged::Overtaken);
        }
        if found.region.0 == *region {
            return Ok(());
        }
        if !found.region.0.is_where(region) {
            // A statement of its own, which sees those who were made while the lock was waited for.
            let tenants = sqlx::query_scalar!(
                r#"SELECT count(*) AS "tenants!" FROM tenants WHERE region = $1 AND deleted_at IS NULL"#,
                key
            )
            .fetch_one(&mut *transaction)
            .await?;
            if tenants > 0 {
                return Err(NotChanged::HasTenants(tenants));
            }
        }
        sqlx::query!(
            "UPDATE regions SET settings = $2, version = nextval('region_versions'), updated_at = clock_timestamp()
             WHERE key = $1",
            key,
            Json(region) as _
        )
        .execute(&mut *transaction)
        .await?;
        let committed = transaction.commit().await;
        connection.ended(committed)?;
        Ok(())
    }
}

/// One of them.
pub(crate) async fn one(connection: &mut PgConnection, key: &str) -> StoreResult<Option<RegionRow>> {
    let row = sqlx::query_as!(
        RegionRow,
        r#"SELECT key, settings AS "region: Json<Region>", version, created_by, created_at, updated_at
               FROM regions WHERE key = $1"#,
        key
    )
    .fetch_optional(connection)
    .await?;
    Ok(row)
}
