//! Where the tenants' names are served, and by whom.

use serde::{Deserialize, Serialize};

use super::Seconds;
use crate::secret::SecretRef;

/// The settings of the tenants' DNS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// Which of the servers below is used.
    pub provider: DnsProviderKind,
    /// The zone that delegates to the tenants' zones; the platform's domain where none is named. The platform's domain
    /// is this zone or lies within it.
    pub parent_zone: Option<String>,
    /// TTL of the delegation and of the addresses, in seconds; an undo waits it out.
    pub ttl: u32,
    /// How long until every name server serves a change that its API has accepted. An undo waits this out as well.
    pub propagation: Seconds,
    /// The name servers of the tenants' zones, for a provider that does not choose them itself (PowerDNS).
    pub name_servers: Vec<String>,
    /// PowerDNS.
    pub powerdns: Option<PowerDnsSettings>,
    /// Azure DNS.
    pub azure: Option<AzureDnsSettings>,
}

/// Who serves the tenants' zones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsProviderKind {
    /// Azure DNS (provisioning reference, phase 7).
    #[default]
    Azure,
    /// PowerDNS 4.7 or later with a generic SQL backend (the others keep no comments, by which record sets are owned).
    PowerDns,
}

/// PowerDNS by its HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerDnsSettings {
    /// Base URL of the server of the tenants' zones, without a path.
    pub url: String,
    /// Base URL of the server of the parent zone; the same where none is named.
    #[serde(default)]
    pub parent_url: Option<String>,
    /// The API key of both.
    pub api_key: SecretRef,
    /// The TSIG key by which a certificate manager may update a tenant's zone (RFC 2136); none forbids updates.
    #[serde(default)]
    pub update_key: Option<String>,
    /// The kind of new zones: `Native`, or `Master` where other servers copy them.
    #[serde(default = "native")]
    pub kind: String,
}

/// Azure DNS by the resource manager's REST API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AzureDnsSettings {
    /// The subscription of both resource groups.
    pub subscription: String,
    /// The resource group of the tenants' zones.
    pub resource_group: String,
    /// The resource group of the parent zone; the same where none is named.
    #[serde(default)]
    pub parent_resource_group: Option<String>,
    /// The resource manager; another one in a sovereign cloud.
    #[serde(default = "resource_manager")]
    pub endpoint: String,
    /// Who gives out tokens; another one in a sovereign cloud.
    #[serde(default = "authority")]
    pub authority: String,
    /// In whose name.
    pub credential: AzureCredential,
}

/// How a function proves to Azure who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum AzureCredential {
    /// A Kubernetes service account that Azure trusts. What is left out comes from `AZURE_CLIENT_ID`, `AZURE_TENANT_ID`
    /// and `AZURE_FEDERATED_TOKEN_FILE`, as Azure's webhook sets them.
    WorkloadIdentity {
        /// The application.
        #[serde(default)]
        client_id: Option<String>,
        /// The directory.
        #[serde(default)]
        tenant_id: Option<String>,
        /// Where the service account's token is.
        #[serde(default)]
        token_file: Option<String>,
    },
    /// The identity of the machine or app service.
    ManagedIdentity {
        /// The identity, if there are several.
        #[serde(default)]
        client_id: Option<String>,
    },
    /// An application with a password.
    ClientSecret {
        /// The directory.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// Its password.
        secret: SecretRef,
    },
}

impl Dns {
    /// The zone that delegates to the tenants' zones, on a platform of this domain.
    pub fn parent(&self, domain: &str) -> String {
        self.parent_zone.clone().unwrap_or_else(|| domain.to_owned())
    }

    /// Checks what types cannot: the key that is wrong, and why. A slug that is free again after `slug_rest` must be in no
    /// resolver's memory any more.
    pub(super) fn check(&self, slug_rest: Seconds) -> Result<(), (String, String)> {
        if self.ttl == 0 {
            let why =
                "is 0 and must be at least 1: some resolvers keep such a record for as long as they like";
            return Err(("ttl".into(), why.into()));
        }
        if slug_rest.0.is_nan() || slug_rest.0 < f64::from(self.ttl) {
            let why = format!(
                "is {} s, for which resolvers remember a deleted tenant's names, and slug_rest is {} s, after which \
                 the slug is free again; make slug_rest at least as long",
                self.ttl, slug_rest.0
            );
            return Err(("ttl".into(), why));
        }
        let propagation = self.propagation.0;
        if !(propagation.is_finite() && propagation >= 0.0) {
            let why = format!("is {propagation} and must be a number of seconds, or 0");
            return Err(("propagation".into(), why));
        }
        Ok(())
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            provider: DnsProviderKind::Azure,
            parent_zone: None,
            // The shortest that resolvers commonly keep to; the undo of a tenant waits twice as long.
            ttl: 60,
            propagation: Seconds(5.0),
            name_servers: Vec::new(),
            powerdns: None,
            azure: None,
        }
    }
}

fn native() -> String {
    "Native".into()
}

fn resource_manager() -> String {
    "https://management.azure.com".into()
}

fn authority() -> String {
    "https://login.microsoftonline.com".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_that_cannot_be_waited_out_is_named_with_its_key() {
        let of = |ttl, propagation, rest| {
            let dns = Dns { ttl, propagation: Seconds(propagation), ..Dns::default() };
            dns.check(Seconds(rest)).err()
        };
        assert_eq!(Dns::default().check(Seconds(60.0)), Ok(()));
        assert_eq!(of(1, 0.0, 1.0), None);
        assert_eq!(of(0, 0.0, 60.0).unwrap().0, "ttl");
        for rest in [59.0, f64::NAN] {
            let (key, why) = of(60, 0.0, rest).unwrap();
            assert!(key == "ttl" && why.contains("slug_rest"), "{why}");
        }
        for propagation in [-1.0, f64::INFINITY] {
            assert_eq!(of(60, propagation, 60.0).unwrap().0, "propagation");
        }
    }
}
