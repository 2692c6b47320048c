//! A region as it is answered: what was asked for, whose it is, and who lives there.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use engine::store::StoreResult;
use model::platform::{Isolation, JobBroker, Region};
use model::secret::SecretRef;
use serde::Serialize;
use tenants::RegionRow;

use crate::state::App;

/// A region.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionView {
    key: String,
    source: &'static str,
    #[serde(flatten)]
    fields: RegionFields,
    tenants: i64,
    created_by: Option<String>,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    links: Links,
}

/// What a request says of a region.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionFields {
    tenant_api_url: String,
    internal_secret: SecretRef,
    database: Database,
    database_cidrs: Vec<String>,
    cluster: Option<SecretRef>,
    domain: Option<String>,
    isolation: Isolation,
    accepts_tenants: bool,
    jobs: Option<JobBroker>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "as the API calls it")]
struct Database {
    host: String,
    port: u16,
    shared_database: String,
    admin_user: String,
    admin_password: SecretRef,
}

#[derive(Clone, Debug, Serialize)]
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
