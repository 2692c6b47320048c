//! The local stack's region.

use model::platform::{Isolation, Observability, Region, RegionDatabase};
use model::secret::SecretRef;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};

use crate::required;

/// A region with the local stack's Postgres, whose tenant-api is at this URL and lets in by this secret.
pub fn region(tenant_api_url: String, internal_secret: SecretRef) -> Region {
    required("REGION_DATABASE_ADMIN_PASSWORD");
    Region {
        tenant_api_url,
        internal_secret,
        database: RegionDatabase {
            host: required("REGION_DATABASE_HOST"),
            port: required("REGION_DATABASE_PORT").parse().expect("REGION_DATABASE_PORT is a number"),
            shared_database: "region_eastus".into(),
            admin_user: required("REGION_DATABASE_ADMIN_USER"),
            admin_password: SecretRef::Env("REGION_DATABASE_ADMIN_PASSWORD".into()),
        },
        database_cidrs: Vec::new(),
        cluster: None,
        domain: None,
        isolation: Isolation::Shared,
        accepts_tenants: true,
        jobs: None,
    }
}

/// The local stack's Loki, Tempo and collectors of the tenants.
pub fn observability() -> Observability {
    let mut observability =
        Observability { collector_url: required("COLLECTOR_URL"), ..Observability::default() };
    observability.loki.control_plane_url = required("LOKI_URL");
    observability.tempo.control_plane_url = required("TEMPO_URL");
    observability
}

/// The administrator's session in the region's shared database, for looking at what is there.
pub async fn region_admin() -> PgConnection {
    PgConnectOptions::new_without_pgpass()
        .host(&required("REGION_DATABASE_HOST"))
        .port(required("REGION_DATABASE_PORT").parse().expect("REGION_DATABASE_PORT is a number"))
        .username(&required("REGION_DATABASE_ADMIN_USER"))
        .password(&required("REGION_DATABASE_ADMIN_PASSWORD"))
        .database("region_eastus")
        .connect()
        .await
        .unwrap()
}
