//! Regions, the units of residency: of the platform file, or made by the API.

use serde::{Deserialize, Serialize};

use super::{JobBroker, Platform};
use crate::secret::SecretRef;

/// A region: a tenant's data, compute and names are in its region and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// The region's pooled tenant-api.
    pub tenant_api_url: String,
    /// Header secret of the tenant-api's internal interface.
    pub internal_secret: SecretRef,
    /// The region's own Postgres.
    pub database: RegionDatabase,
    /// Addresses that the tenants' pods may reach their database at.
    #[serde(default)]
    pub database_cidrs: Vec<String>,
    /// A kubeconfig of the region's cluster; none: the process's own cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<SecretRef>,
    /// Parent of its tenants' names, and the zone that delegates to theirs; none: the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Whether tenants of this region may share compute.
    #[serde(default)]
    pub isolation: Isolation,
    /// Whether new tenants may be made in it. What is there lives on, and can be changed and taken out.
    #[serde(default = "accepts")]
    pub accepts_tenants: bool,
    /// Where its tenants' own instances have their background jobs; none: they have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<JobBroker>,
}

/// Whether a region's tenants may share compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// As the other rules decide.
    #[default]
    Shared,
    /// Every tenant has compute of its own.
    Dedicated,
}

/// A region's Postgres server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionDatabase {
    /// Host as the tenants' pods and the tenant-api reach it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database that holds the schemas of tenants without one of their own.
    pub shared_database: String,
    /// Role that may create databases and roles.
    pub admin_user: String,
    /// Its password.
    pub admin_password: SecretRef,
}

/// A region with a cluster of its own, as a step in it finds that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionCluster {
    /// The region's key.
    pub region: String,
    /// Its kubeconfig.
    pub kubeconfig: SecretRef,
}

fn accepts() -> bool {
    true
}

impl Region {
    /// Whether this is still the same place when it becomes `other`: the same cluster, the same Postgres, the same names and
    /// the same job broker. What lives in a region would be lost sight of in another place. In a region without a broker
    /// nothing is at one, so that it may get one.
    pub fn is_where(&self, other: &Self) -> bool {
        let same_broker = match (&self.jobs, &other.jobs) {
            (None, _) => true,
            (Some(jobs), Some(other)) => jobs.is_where(other),
            (Some(_), None) => false,
        };
        self.cluster == other.cluster
            && self.domain == other.domain
            && self.database.is_where(&other.database)
            && same_broker
    }
}

impl RegionDatabase {
    /// Whether this is the same server with the same shared database.
    pub fn is_where(&self, other: &Self) -> bool {
        (&self.host, self.port, &self.shared_database) == (&other.host, other.port, &other.shared_database)
    }
}

impl Platform {
    /// The platform as it is seen in one of its regions: with that region's cluster and names. None: there is no such
    /// region.
    #[must_use]
    pub fn seen_in(&self, key: &str) -> Option<Self> {
        let region = self.regions.get(key)?;
        let mut seen = self.clone();
        if let Some(domain) = &region.domain {
            seen.domain.clone_from(domain);
            seen.dns.parent_zone = None;
        }
        if let Some(kubeconfig) = &region.cluster {
            seen.cluster = Some(RegionCluster { region: key.to_owned(), kubeconfig: kubeconfig.clone() });
            // Those are another cluster's.
            seen.api_server_cidrs = Vec::new();
        }
        Some(seen)
    }

    /// The parent of the names of a region's tenants; the platform's own where the region is not known.
    pub fn domain_in(&self, region: &str) -> &str {
        self.regions.get(region).and_then(|region| region.domain.as_deref()).unwrap_or(&self.domain)
    }

    /// Every parent of tenants' names.
    pub fn domains_of_all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.domain.as_str())
            .chain(self.regions.values().filter_map(|region| region.domain.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform() -> Platform {
        let region = |more: &str| {
            toml::from_str(&format!(
                "tenant_api_url = 'http://pooled'\ninternal_secret = 'env:INTERNAL'\n{more}\n\
                 [database]\nhost = 'db'\nport = 5432\nshared_database = 'region'\nadmin_user = 'admin'\n\
                 admin_password = 'env:ADMIN'\n"
            ))
            .unwrap()
        };
        let mut platform = Platform { api_server_cidrs: vec!["10.0.0.1/32".into()], ..Platform::default() };
        platform.dns.parent_zone = Some("ai".into());
        platform.regions.insert("here".into(), region(""));
        platform.regions.insert("there".into(), region("cluster = 'file:/k'\ndomain = 'there.example'"));
        platform
    }

    #[test]
    fn a_region_without_places_of_its_own_is_in_the_platforms() {
        let (platform, seen) = (platform(), platform().seen_in("here").unwrap());
        assert_eq!((&*seen.domain, &seen.cluster), (&*platform.domain, &None));
        assert_eq!(seen.dns.parent(&seen.domain), "ai");
        assert_eq!(seen.api_server_cidrs, platform.api_server_cidrs);
        assert!(platform.seen_in("nowhere").is_none());
        assert_eq!(platform.domain_in("nowhere"), "matih.ai");
    }

    #[test]
    fn a_region_with_places_of_its_own_is_there_and_nowhere_else() {
        let seen = platform().seen_in("there").unwrap();
        assert_eq!((&*seen.domain, &*seen.dns.parent(&seen.domain)), ("there.example", "there.example"));
        assert_eq!(seen.cluster.unwrap().kubeconfig, SecretRef::File("/k".into()));
        assert!(seen.api_server_cidrs.is_empty());
        let all = platform();
        assert_eq!(all.domains_of_all().collect::<Vec<_>>(), ["matih.ai", "there.example"]);
    }

    #[test]
    fn only_what_moves_its_tenants_is_another_place() {
        let region = platform().regions["there"].clone();
        let mut other =
            Region { tenant_api_url: "http://new".into(), accepts_tenants: false, ..region.clone() };
        other.database.admin_password = SecretRef::Env("NEW".into());
        assert!(region.is_where(&other));
        other.database.port = 1;
        assert!(!region.is_where(&other));
        assert!(!region.is_where(&Region { cluster: None, ..region.clone() }));
        assert!(!region.is_where(&Region { domain: None, ..region.clone() }));
    }

    #[test]
    fn another_job_broker_is_another_place_and_another_way_to_the_same_one_is_not() {
        let jobs: JobBroker = toml::from_str("management = 'env:JOBS'\nhost = 'jobs'\nport = 5672").unwrap();
        let without = platform().regions["there"].clone();
        let with = |jobs: JobBroker| Region { jobs: Some(jobs), ..without.clone() };
        let region = with(jobs.clone());
        assert!(without.is_where(&region), "who has none gets one");
        assert!(!region.is_where(&without));
        let management = SecretRef::Env("NEW".into());
        let way = JobBroker { management, tls: true, cidrs: vec!["10.0.0.0/8".into()], ..jobs.clone() };
        assert!(region.is_where(&with(way)));
        for moved in [
            JobBroker { host: "other".into(), ..jobs.clone() },
            JobBroker { port: 5671, ..jobs.clone() },
            JobBroker { vhost: "other".into(), ..jobs.clone() },
        ] {
            assert!(!region.is_where(&with(moved)));
        }
    }

    #[test]
    fn a_region_is_stored_and_read_back_as_it_is() {
        for region in platform().regions.values() {
            let stored = serde_json::to_value(region).unwrap();
            assert_eq!(&serde_json::from_value::<Region>(stored).unwrap(), region);
        }
    }
}
