//! Where a tenant's data lives, and who is asked to make it.

use engine::phase::{Error, Result, Step};
use model::TenantId;
use model::platform::{Platform, Region, RegionDatabase};
use model::secret::{Secret, SecretRef};
use serde::{Deserialize, Serialize};
use tenants::reads::OwnPostgres;

use super::own_secret;

/// How a tenant's data is kept apart from the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// A database of the tenant's own.
    Database,
    /// A schema of the tenant's own in the region's shared database.
    Schema,
}

/// The names of what a tenant has in Postgres. They follow from the tenant's id, so that every run finds the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseTarget {
    /// How it is kept apart.
    pub strategy: Strategy,
    /// The database to log in to.
    pub database: String,
    /// The schema that holds the tables.
    pub schema: String,
    /// The role that owns it all.
    pub role: String,
}

impl DatabaseTarget {
    /// `tenant_<uuid>` for the role, and for the database or, in the shared one, for the schema.
    pub fn of(tenant: TenantId, strategy: Strategy, shared_database: &str) -> Self {
        let own = format!("tenant_{tenant}");
        match strategy {
            Strategy::Database => {
                Self { strategy, database: own.clone(), schema: "public".into(), role: own }
            }
            Strategy::Schema => {
                Self { strategy, database: shared_database.into(), schema: own.clone(), role: own }
            }
        }
    }
}

/// A region's pooled tenant-api and the Postgres server that it works on: what a plan stores, so that an undo reaches
/// the same server after the platform file has changed. Holds references to secrets, never a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// The region's key in the platform file.
    pub region: String,
    /// Base URL of the tenant-api.
    pub endpoint: String,
    /// What its internal interface asks for.
    pub internal_secret: SecretRef,
    /// The administrator in whose name it works.
    pub admin: Admin,
    /// The tenant whose own instance it is, which lets in by a secret of that tenant's only. None: the region's pooled one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<TenantId>,
}

/// The administrator of a region's Postgres, or of a tenant's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Admin {
    /// Host, as the tenant-api and the tenants' pods reach it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Role that may create databases and roles.
    pub user: String,
    /// Its password.
    pub password: SecretRef,
    /// The region's shared database (of a tenant's own instance, any), which the administrator logs in to: the lock that lets one call at a time work on a
    /// tenant lives there.
    pub database: String,
    /// It administers a tenant's own instance, of which no region says anything.
    pub of_own_instance: bool,
}

impl Admin {
    fn is_of(&self, server: &RegionDatabase) -> bool {
        (&self.host, self.port, &self.database) == (&server.host, server.port, &server.shared_database)
    }
}

impl Server {
    /// The same tenant-api, at work on a tenant's own Postgres where it has one.
    #[must_use]
    pub fn on(self, own: Option<OwnPostgres>) -> Self {
        let Some(own) = own else { return self };
        let admin = Admin {
            host: own.host,
            port: own.port,
            user: own.admin_user,
            password: own.admin_password,
            database: own.admin_database,
            of_own_instance: true,
        };
        Self { admin, ..self }
    }

    /// The server of a region. Fatal when the platform file does not know the region.
    pub fn of(platform: &Platform, region: &str) -> Result<Self> {
        let Some(found) = platform.regions.get(region) else {
            let known: Vec<&str> = platform.regions.keys().map(String::as_str).collect();
            let message = format!(
                "region '{region}' is neither in the platform file nor was it created by the API (known: {})",
                known.join(", ")
            );
            return Err(Error::fatal("region_unknown", message)
                .next(format!("Add [regions.{region}] to the platform file, then start the tenant again.")));
        };
        Ok(Self {
            region: region.to_owned(),
            endpoint: found.tenant_api_url.clone(),
            internal_secret: found.internal_secret.clone(),
            admin: Admin {
                host: found.database.host.clone(),
                port: found.database.port,
                user: found.database.admin_user.clone(),
                password: found.database.admin_password.clone(),
                database: found.database.shared_database.clone(),
                of_own_instance: false,
            },
            own: None,
        })
    }

    /// Who works in a tenant's tables and holds its licence: its own instance, which is at `endpoint` if the tenant has one,
    /// else the region's pooled one. On simulated nodes no instance runs, and the pooled one stands in for it. Fatal when
    /// the platform file does not know the region.
    pub fn serving(
        platform: &Platform,
        region: &str,
        tenant: TenantId,
        endpoint: Option<String>,
    ) -> Result<Self> {
        let pooled = Self::of(platform, region)?;
        Ok(match endpoint.filter(|_| !platform.simulated_nodes) {
            Some(endpoint) => Self { endpoint, own: Some(tenant), ..pooled },
            None => pooled,
        })
    }

    /// The same server, reached as the step's region says now: addresses and secrets change while a plan is kept. What the
    /// region has become elsewhere does not count. The administrator of a tenant's own instance stays as planned.
    #[must_use]
    pub fn as_now(&self, step: &Step) -> Self {
        step.region().map_or_else(|| self.clone(), |region| self.as_in(region))
    }

    fn as_in(&self, region: &Region) -> Self {
        let mut now = self.clone();
        if !self.admin.of_own_instance {
            if !self.admin.is_of(&region.database) {
                return now;
            }
            now.admin.user.clone_from(&region.database.admin_user);
            now.admin.password.clone_from(&region.database.admin_password);
        }
        if now.own.is_none() {
            now.endpoint.clone_from(&region.tenant_api_url);
        }
        now.internal_secret.clone_from(&region.internal_secret);
        now
    }

    /// What lets in, made of what [`Server::internal_secret`] refers to.
    pub fn presented(&self, of_the_region: Secret) -> Secret {
        match self.own {
            Some(tenant) => own_secret(&of_the_region, tenant),
            None => of_the_region,
        }
    }

    /// The server with its secrets, which the caller has read from where [`Server::internal_secret`] and
    /// [`Admin::password`] say.
    pub fn with(&self, internal_secret: Secret, admin_password: Secret) -> Access {
        Access { server: self.clone(), internal_secret, admin_password }
    }
}

/// A server and its secrets. Cannot be serialised, and prints no secret.
#[derive(Clone, Debug)]
pub struct Access {
    pub(super) server: Server,
    pub(super) internal_secret: Secret,
    pub(super) admin_password: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::phase::Kind;

    #[test]
    fn names_follow_from_the_tenants_id() {
        let tenant: TenantId = "550e8400-e29b-41d4-a716-446655440000".parse().unwrap();
        let own = "tenant_550e8400-e29b-41d4-a716-446655440000";
        let names = |strategy| {
            let place = DatabaseTarget::of(tenant, strategy, "region_eastus");
            (place.database, place.schema, place.role)
        };
        assert_eq!(names(Strategy::Database), (own.into(), "public".into(), own.into()));
        assert_eq!(names(Strategy::Schema), ("region_eastus".into(), own.into(), own.into()));
    }

    #[test]
    fn a_tenant_is_served_by_its_own_instance_where_that_runs() {
        let region = serde_json::json!({
            "tenant_api_url": "http://pooled", "internal_secret": "env:INTERNAL",
            "database": { "host": "db", "port": 5432, "shared_database": "region", "admin_user": "admin",
                          "admin_password": "env:ADMIN" },
        });
        let regions = [("eastus".to_owned(), serde_json::from_value(region).unwrap())].into();
        let mut platform = Platform { regions, ..Platform::default() };
        let tenant: TenantId = "550e8400-e29b-41d4-a716-446655440000".parse().unwrap();
        let of = |platform: &Platform, endpoint: Option<&str>| {
            let server = Server::serving(platform, "eastus", tenant, endpoint.map(str::to_owned)).unwrap();
            let presented = server.presented(Secret::new("the region's")).expose().to_owned();
            (server.endpoint, presented)
        };
        let own = own_secret(&Secret::new("the region's"), tenant).expose().to_owned();
        assert_eq!(of(&platform, Some("http://own")), ("http://own".into(), own));
        assert_eq!(of(&platform, None), ("http://pooled".into(), "the region's".into()));
        platform.simulated_nodes = true;
        assert_eq!(of(&platform, Some("http://own")), ("http://pooled".into(), "the region's".into()));
    }

    #[test]
    fn a_server_is_reached_as_its_region_says_now() {
        let region = |host: &str, version: &str| -> Region {
            serde_json::from_value(serde_json::json!({
                "tenant_api_url": format!("http://{version}"), "internal_secret": format!("env:INTERNAL_{version}"),
                "database": { "host": host, "port": 5432, "shared_database": "region",
                              "admin_user": format!("admin_{version}"), "admin_password": format!("env:ADMIN_{version}") },
            }))
            .unwrap()
        };
        let regions = [("eastus".to_owned(), region("db", "old"))].into();
        let platform = Platform { regions, ..Platform::default() };
        let pooled = Server::of(&platform, "eastus").unwrap();
        let dedicated = OwnPostgres {
            host: "own".into(),
            port: 5433,
            admin_user: "its_admin".into(),
            admin_password: SecretRef::Env("ITS".into()),
            admin_database: "postgres".into(),
        };
        let enterprise = pooled.clone().on(Some(dedicated));
        let now = |server: &Server, region: &Region| {
            let now = server.as_in(region);
            let admin = format!("{}@{} {}", now.admin.user, now.admin.host, now.admin.password);
            [now.endpoint, now.internal_secret.to_string(), admin]
        };
        assert_eq!(
            now(&pooled, &region("db", "new")),
            ["http://new", "env:INTERNAL_new", "admin_new@db env:ADMIN_new"]
        );
        assert_eq!(
            now(&pooled, &region("another", "new")),
            ["http://old", "env:INTERNAL_old", "admin_old@db env:ADMIN_old"],
            "the tenant's data is not on that server"
        );
        assert_eq!(
            now(&enterprise, &region("db", "new")),
            ["http://new", "env:INTERNAL_new", "its_admin@own env:ITS"],
            "who is asked is the region's matter, who administers its own instance is not"
        );
        let instance =
            Server { own: Some(TenantId::generate()), endpoint: "http://own".into(), ..enterprise };
        assert_eq!(now(&instance, &region("db", "new"))[0], "http://own");
    }

    #[test]
    fn an_unknown_region_is_fatal_and_named() {
        let error = Server::of(&Platform::default(), "atlantis").unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Fatal, "region_unknown"));
        assert!(error.message.contains("atlantis") && error.next_action.contains("[regions.atlantis]"));
    }
}
