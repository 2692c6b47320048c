//! Which DNS servers serve the tenants' names: what a plan stores, and the clients made from it.

use std::sync::Arc;
use std::time::Duration;

use engine::phase::{Owner, Result};
use model::platform::{AzureCredential, AzureDnsSettings, DnsProviderKind, Platform, PowerDnsSettings};
use model::secret::{Secret, SecretRef};
use serde::{Deserialize, Serialize};

use super::{AzureDns, DnsProvider, Name, Owned, PowerDns, TokenSource, error};

/// Longest wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The servers of a platform: what a plan stores, so that an undo reaches the same ones after the platform file has
/// changed. Holds references to secrets, never a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "provider", rename_all = "lowercase")]
pub enum Server {
    /// PowerDNS.
    PowerDns {
        /// Where it is.
        settings: PowerDnsSettings,
        /// The name servers of new zones.
        name_servers: Vec<Name>,
    },
    /// Azure DNS.
    Azure {
        /// Where it is.
        settings: AzureDnsSettings,
    },
}

/// The server of the tenants' zones and that of their parent; cheap to clone.
#[derive(Clone, Debug)]
pub struct Dns {
    pub(super) child: Arc<dyn DnsProvider>,
    pub(super) parent: Arc<dyn DnsProvider>,
}

impl Server {
    /// The servers that the platform file names. Fatal when it names none.
    pub fn of(platform: &Platform) -> Result<Self> {
        let dns = &platform.dns;
        match dns.provider {
            DnsProviderKind::PowerDns => {
                let settings = dns.powerdns.clone();
                let settings = settings.ok_or_else(|| {
                    error::config("dns.provider is powerdns, and dns.powerdns says nothing of it")
                })?;
                if dns.name_servers.is_empty() {
                    return Err(error::config(
                        "dns.name_servers is empty: PowerDNS does not choose the servers of a zone",
                    ));
                }
                let name_servers = dns.name_servers.iter().map(|name| Name::new(name)).collect();
                Ok(Self::PowerDns { settings, name_servers })
            }
            DnsProviderKind::Azure => {
                let settings = dns.azure.clone();
                let settings = settings.ok_or_else(|| {
                    error::config("dns.provider is azure, and dns.azure says nothing of it")
                })?;
                Ok(Self::Azure { settings })
            }
        }
    }

    /// The secret that [`Dns::connect`] needs; none where an identity suffices.
    pub fn secret(&self) -> Option<&SecretRef> {
        match self {
            Self::PowerDns { settings, .. } => Some(&settings.api_key),
            Self::Azure { settings } => match &settings.credential {
                AzureCredential::ClientSecret { secret, .. } => Some(secret),
                AzureCredential::WorkloadIdentity { .. } | AzureCredential::ManagedIdentity { .. } => None,
            },
        }
    }
}

impl Dns {
    /// Makes the clients. Sends nothing: a server that is down is noticed by the first call. `secret` is what
    /// [`Server::secret`] refers to; `label_prefix` stands before the names that ownership is written under.
    pub fn connect(server: &Server, secret: Option<&Secret>, label_prefix: &str) -> Result<Self> {
        let http = http()?;
        match server {
            Server::PowerDns { settings, name_servers } => {
                let key = secret.ok_or_else(|| error::config("dns.powerdns.api_key is missing"))?;
                let at = |url: &str| {
                    let server = PowerDns::new(http.clone(), url, key, label_prefix)?;
                    Ok(Arc::new(server.making(&settings.kind, name_servers, settings.update_key.as_deref())))
                };
                let parent = settings.parent_url.as_deref().unwrap_or(&settings.url);
                Ok(Self { child: at(&settings.url)?, parent: at(parent)? })
            }
            Server::Azure { settings } => {
                let tokens = TokenSource::new(settings, secret)?;
                let at = |group: &str| {
                    let server = AzureDns::new(http.clone(), settings, group, tokens.clone(), label_prefix)?;
                    Ok(Arc::new(server))
                };
                let parent = settings.parent_resource_group.as_deref().unwrap_or(&settings.resource_group);
                Ok(Self { child: at(&settings.resource_group)?, parent: at(parent)? })
            }
        }
    }

    /// The same servers in the hands of one owner.
    pub fn owned_by(&self, owner: &Owner) -> Owned {
        Owned::new(self.clone(), owner.clone())
    }
}

fn http() -> Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .user_agent("tenantry")
        .connect_timeout(CONNECT_WITHIN)
        .timeout(ANSWER_WITHIN)
        // A function that was frozen in between holds dead connections.
        .pool_idle_timeout(Duration::from_secs(20))
        // A credential goes nowhere but to the configured address.
        .redirect(reqwest::redirect::Policy::none())
        .build();
    client.map_err(|why| error::config(format!("the HTTP client cannot be made: {why}")))
}
