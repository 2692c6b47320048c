//! The platform's one configuration file. Its defaults are the names and numbers of the provisioning reference; another
//! platform changes the file and nothing else.

mod certificates;
mod dns;
mod domains;
mod infrastructure;
mod ingress;
mod invitations;
mod jobs;
mod license;
mod lifecycle;
mod monitoring;
mod observability;
mod region;
mod relay;
mod settings;
mod tenant_api;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use certificates::{Certificates, IssuerKind};
pub use dns::{AzureCredential, AzureDnsSettings, Dns, DnsProviderKind, PowerDnsSettings};
pub use domains::{DomainChallenge, Domains};
pub use infrastructure::{Infrastructure, Supervised, TerraformJob};
pub use ingress::{Controller, Ingress};
pub use invitations::Invitations;
pub use jobs::JobBroker;
pub use license::{License, Limits};
pub use lifecycle::Lifecycle;
pub use monitoring::{Chart, ClusterMetrics, Mail, Monitoring};
pub use observability::{Backend, Observability, Retention};
pub use region::{Isolation, Region, RegionCluster, RegionDatabase};
pub use relay::{Delivery, Events, Letters};
pub use settings::{Engine, Seconds, StepNames};
pub use tenant_api::{InstanceSize, OwnTenantApi};

use crate::secret::SecretRef;
use crate::{DeploymentType, Namespace, Slug, Tier};

/// Where the platform file is, when the environment does not say: `TENANTRY_CONFIG`.
pub const CONFIG_VARIABLE: &str = "TENANTRY_CONFIG";

/// Why the platform file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The variable is not set.
    #[error("{CONFIG_VARIABLE} is not set; set it to the path of the platform's configuration file (TOML)")]
    NotSet,
    /// The file cannot be read.
    #[error("{CONFIG_VARIABLE}: {path}: {source}")]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: {source}")]
    Parse {
        /// The path.
        path: PathBuf,
        /// Names the line and the key.
        source: Box<toml::de::Error>,
    },
    /// A value that is of the right type and still wrong.
    #[error("{path}: {key}: {why}")]
    Value {
        /// The path.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong and what to do.
        why: String,
    },
}

/// Everything that differs between platforms.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Platform {
    /// The platform's own domain, parent of every tenant's.
    pub domain: String,
    /// Before the slug in a namespace's name.
    pub namespace_prefix: String,
    /// Before the `/` in labels and annotations.
    pub label_prefix: String,
    /// Value of the `managed-by` label.
    pub managed_by: String,
    /// Namespace of the control plane in the tenants' cluster, for network policies.
    pub control_plane_namespace: String,
    /// API tokens: name of the holder to where the token is.
    pub tokens: BTreeMap<String, SecretRef>,
    /// Regions by key.
    pub regions: BTreeMap<String, Region>,
    /// Quota per tier.
    pub quotas: BTreeMap<Tier, Quota>,
    /// Helm charts of the tenant's services.
    pub charts: Charts,
    /// The tenant's ingress controller.
    pub ingress: Ingress,
    /// Who issues the tenants' certificates.
    pub certificates: Certificates,
    /// Addresses of the cluster's API server as the tenants' pods reach it, for network policies. Empty: the cluster is
    /// asked when a policy is made. Say them where they change during a cluster's life.
    pub api_server_cidrs: Vec<String>,
    /// The tenants' DNS.
    pub dns: Dns,
    /// The rules of the deployment decision.
    pub deployment: DeploymentRules,
    /// What watches over a tenant, and whom it tells.
    pub monitoring: Monitoring,
    /// Where the tenants' logs and traces go, and for how long they are kept.
    pub observability: Observability,
    /// Connections a professional tenant's role may hold.
    pub professional_connection_limit: i32,
    /// The cluster's nodes are simulated: containers do not run, and what would have to run in one is done directly and
    /// marked as simulated in part.
    pub simulated_nodes: bool,
    /// How long a deleted tenant's slug stays taken, in seconds: the longest TTL of its DNS names.
    pub slug_rest: Seconds,
    /// Budgets, delays, leases and limits of the engine.
    pub engine: Engine,
    /// The events that other programs are told.
    pub events: Events,
    /// Domains of the tenants' own.
    pub domains: Domains,
    /// The letters to the tenants' administrators and the platform's operators.
    pub mail: Letters,
    /// The tenants' licences.
    pub license: License,
    /// What happens to tenants later, by itself.
    pub lifecycle: Lifecycle,
    /// Invitations of the tenants' administrators.
    pub invitations: Invitations,
    /// The tenants' own tenant-api.
    pub tenant_api: OwnTenantApi,
    /// The enterprise tenants' own infrastructure; none: there are no enterprise tenants.
    pub infrastructure: Option<Infrastructure>,
    /// The cluster of the region that this is seen in ([`Platform::seen_in`]); none: the process's own. Not of the file.
    #[serde(skip)]
    pub cluster: Option<RegionCluster>,
}

/// A namespace's quota. A tier without one is unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Sum of CPU requests, a Kubernetes quantity.
    pub requests_cpu: String,
    /// Sum of CPU limits.
    pub limits_cpu: String,
    /// Sum of memory requests.
    pub requests_memory: String,
    /// Sum of memory limits.
    pub limits_memory: String,
    /// Pods.
    pub pods: u32,
}

/// Where charts and images come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Charts {
    /// Chart repository.
    pub repository_url: String,
    /// Chart version of the tenant's services.
    pub version: String,
    /// Before the service's name in an image.
    pub image_registry: String,
    /// Image tag.
    pub image_tag: String,
    /// Seconds that pods may take to become ready.
    pub ready_within: Seconds,
}

/// Thresholds of the deployment decision.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeploymentRules {
    /// From this many members on a tenant gets compute of its own.
    pub members: i64,
    /// From this many API calls a month on a tenant gets compute of its own.
    pub monthly_api_calls: i64,
    /// When no rule decides.
    pub default: DeploymentType,
    /// Deployment types that this platform can make.
    pub available: Vec<DeploymentType>,
    /// Tiers that this platform can make; enterprise needs `infrastructure` besides.
    pub tiers: Vec<Tier>,
}

impl Default for Platform {
    fn default() -> Self {
        let quota = |cpu: (&str, &str), memory: (&str, &str), pods| Quota {
            requests_cpu: cpu.0.into(),
            limits_cpu: cpu.1.into(),
            requests_memory: memory.0.into(),
            limits_memory: memory.1.into(),
            pods,
        };
        Self {
            domain: "matih.ai".into(),
            namespace_prefix: "matih-".into(),
            label_prefix: "matih.ai".into(),
            managed_by: "tenant-service".into(),
            control_plane_namespace: "matih-system".into(),
            tokens: BTreeMap::new(),
            regions: BTreeMap::new(),
            // Provisioning reference, phase 1, "Resource Quotas": the columns are CPU request and limit, then memory.
            quotas: BTreeMap::from([
                (Tier::Free, quota(("2", "4"), ("4Gi", "8Gi"), 20)),
                (Tier::Professional, quota(("8", "16"), ("16Gi", "32Gi"), 50)),
            ]),
            charts: Charts::default(),
            ingress: Ingress::default(),
            certificates: Certificates::default(),
            api_server_cidrs: Vec::new(),
            dns: Dns::default(),
            deployment: DeploymentRules::default(),
            monitoring: Monitoring::default(),
            observability: Observability::default(),
            professional_connection_limit: 20,
            simulated_nodes: false,
            slug_rest: Seconds(60.0),
            engine: Engine::default(),
            events: Events::default(),
            domains: Domains::default(),
            mail: Letters::default(),
            license: License::default(),
            lifecycle: Lifecycle::default(),
            invitations: Invitations::default(),
            tenant_api: OwnTenantApi::default(),
            infrastructure: None,
            cluster: None,
        }
    }
}

impl Default for Charts {
    fn default() -> Self {
        Self {
            repository_url: String::new(),
            version: "0.1.0".into(),
            image_registry: "matih.azurecr.io".into(),
            image_tag: "latest".into(),
            // The reference gives 300 s as the longest of DEPLOY_CORE_SERVICES; slow image pulls take a multiple.
            ready_within: Seconds(600.0),
        }
    }
}

impl Default for DeploymentRules {
    fn default() -> Self {
        Self {
            members: 500,
            monthly_api_calls: 1_000_000,
            default: DeploymentType::Shared,
            available: vec![DeploymentType::Shared, DeploymentType::ContainerPerTenant],
            tiers: vec![Tier::Free, Tier::Professional, Tier::Enterprise],
        }
    }
}

impl Platform {
    /// Reads the file that `TENANTRY_CONFIG` names. See [`Platform::read`].
    pub fn from_env(names: &StepNames) -> Result<Self, PlatformError> {
        Self::read(Path::new(&std::env::var_os(CONFIG_VARIABLE).ok_or(PlatformError::NotSet)?), names)
    }

    /// Reads a platform file. An unknown key, a wrong type, an impossible value or a limit for none of `names` names its key.
    pub fn read(path: &Path, names: &StepNames) -> Result<Self, PlatformError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| PlatformError::Read { path: path.to_owned(), source })?;
        let platform: Self = toml::from_str(&text)
            .map_err(|source| PlatformError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        let in_section = |section: &str, (key, why): (String, String)| PlatformError::Value {
            path: path.to_owned(),
            key: format!("{section}.{key}"),
            why,
        };
        platform.engine.check(names).map_err(|(key, why)| in_section("engine", (key.to_owned(), why)))?;
        platform.ingress.check().map_err(|wrong| in_section("ingress", wrong))?;
        platform.dns.check(platform.slug_rest).map_err(|wrong| in_section("dns", wrong))?;
        platform.certificates.check().map_err(|wrong| in_section("certificates", wrong))?;
        platform.events.check().map_err(|wrong| in_section("events", wrong))?;
        platform.mail.check().map_err(|wrong| in_section("mail", wrong))?;
        platform.license.check().map_err(|wrong| in_section("license", wrong))?;
        platform.lifecycle.check().map_err(|wrong| in_section("lifecycle", wrong))?;
        platform.invitations.check().map_err(|wrong| in_section("invitations", wrong))?;
        platform.observability.check().map_err(|wrong| in_section("observability", wrong))?;
        platform.tenant_api.check().map_err(|wrong| in_section("tenant_api", wrong))?;
        if let Some(infrastructure) = &platform.infrastructure {
            infrastructure.check().map_err(|wrong| in_section("infrastructure", wrong))?;
        }
        Ok(platform)
    }

    /// The tenant's namespace.
    pub fn namespace(&self, slug: &Slug) -> Namespace {
        Namespace::of(&self.namespace_prefix, slug)
    }

    /// A label or annotation key of the platform: `matih.ai/tenant-id`.
    pub fn label(&self, name: &str) -> String {
        format!("{}/{name}", self.label_prefix)
    }
}
