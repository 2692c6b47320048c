//! A region as it is answered: what was asked for, whose it is, and who lives there.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use engine::store::StoreResult;
use model::platform::{Isolation, JobBroker, Region};
use model::secret::SecretRef;
use serde::Serialize;
use tenants::RegionRow;
use utoipa::ToSchema;

use crate::openapi;
use crate::state::App;

/// A region.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Region)]
pub struct RegionView {
    #[schema(pattern = "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")]
    key: String,
    /// file: of the platform file, and read only here.
    #[schema(value_type = openapi::RegionSource)]
    source: &'static str,
    #[serde(flatten)]
    fields: RegionFields,
    /// Living tenants.
    tenants: i64,
    /// null of the platform file's, as are the times.
    #[schema(required)]
    created_by: Option<String>,
    #[schema(required)]
    created_at: Option<DateTime<Utc>>,
    #[schema(required)]
    updated_at: Option<DateTime<Utc>>,
    #[schema(inline)]
    links: Links,
}

/// What a request says of a region.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionFields {
    /// The region's pooled tenant-api; http or https, without user, query and fragment.
    tenant_api_url: String,
    /// A reference to the header secret of the tenant-api's internal interface.
    #[schema(value_type = openapi::SecretReference)]
    internal_secret: SecretRef,
    database: Database,
    /// Networks that the tenants' pods may reach their database at.
    database_cidrs: Vec<String>,
    /// A reference to a kubeconfig of the region's cluster; none: the cluster of the processes themselves.
    #[schema(required, value_type = Option<openapi::SecretReference>)]
    cluster: Option<SecretRef>,
    /// Parent of its tenants' names, and the DNS zone that delegates to theirs; none: the platform's.
    #[schema(required)]
    domain: Option<String>,
    /// dedicated: every tenant has compute of its own.
    #[schema(value_type = openapi::Isolation)]
    isolation: Isolation,
    /// false: no new tenants; those that are there live on.
    accepts_tenants: bool,
    /// Where its tenants' own instances have their background jobs; none: they have none.
    #[schema(required, value_type = Option<openapi::RegionJobs>)]
    jobs: Option<JobBroker>,
}

/// The Postgres server of a region.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RegionDatabase)]
#[expect(clippy::struct_field_names, reason = "as the API calls it")]
struct Database {
    host: String,
    #[schema(minimum = 1, maximum = 65535)]
    port: u16,
    /// Holds the schemas of tenants without a database of their own.
    #[schema(pattern = "^[A-Za-z_][A-Za-z0-9_-]{0,62}$")]
    shared_database: String,
    /// A role that may create databases and roles.
    #[schema(pattern = "^[A-Za-z_][A-Za-z0-9_-]{0,62}$")]
    admin_user: String,
    /// A reference to its password.
    #[schema(value_type = openapi::SecretReference)]
    admin_password: SecretRef,
}

/// Where a region is.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = RegionLinks)]
struct Links {
    #[serde(rename = "self")]
    region: String,
}

/// The path of a region.
pub fn location(key: &str) -> String {
    format!("/api/v1/regions/{key}")
}

/// A region as a request would say it.
pub fn fields(region: &Region) -> RegionFields {
    let database = &region.database;
    RegionFields {
        tenant_api_url: region.tenant_api_url.clone(),
        internal_secret: region.internal_secret.clone(),
        database: Database {
            host: database.host.clone(),
            port: database.port,
            shared_database: database.shared_database.clone(),
            admin_user: database.admin_user.clone(),
            admin_password: database.admin_password.clone(),
        },
        database_cidrs: region.database_cidrs.clone(),
        cluster: region.cluster.clone(),
        domain: region.domain.clone(),
        isolation: region.isolation,
        accepts_tenants: region.accepts_tenants,
        // Its fields are of one word each.
        jobs: region.jobs.clone(),
    }
}

/// All regions, by key.
pub async fn all(app: &App) -> StoreResult<Vec<RegionView>> {
    let tenants: BTreeMap<String, i64> = app.store.tenants_by_region().await?.into_iter().collect();
    let of_file = app.platform.regions.iter();
    let mut found: BTreeMap<&str, RegionView> =
        of_file.map(|(key, region)| (key.as_str(), of_the_file(key, region))).collect();
    let rows = app.store.regions().await?;
    // Where both have one key, the API's holds.
    found.extend(rows.iter().map(|row| (row.key.as_str(), of_the_api(row))));
    let count =
        |view: RegionView| RegionView { tenants: tenants.get(&view.key).copied().unwrap_or(0), ..view };
    Ok(found.into_values().map(count).collect())
}

/// One of them; none of that key.
pub async fn one(app: &App, key: &str) -> StoreResult<Option<RegionView>> {
    Ok(all(app).await?.into_iter().find(|view| view.key == key))
}

fn of_the_file(key: &str, region: &Region) -> RegionView {
    RegionView {
        key: key.to_owned(),
        source: "file",
        fields: fields(region),
        tenants: 0,
        created_by: None,
        created_at: None,
        updated_at: None,
        links: Links { region: location(key) },
    }
}

fn of_the_api(row: &RegionRow) -> RegionView {
    RegionView {
        source: "api",
        created_by: Some(row.created_by.clone()),
        created_at: Some(row.created_at),
        updated_at: Some(row.updated_at),
        ..of_the_file(&row.key, &row.region)
    }
}
