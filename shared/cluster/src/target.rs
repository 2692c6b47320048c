//! Naming one object.

use std::fmt;

use kube::core::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta, Resource};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};

/// What "the internet" leaves out in a network policy: private and shared address space, the link-local range with the
/// clouds' metadata service, this host, and the address at which Azure offers its platform services to every virtual
/// machine.
pub const NOT_THE_INTERNET: [&str; 7] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "168.63.129.16/32",
];

/// One object of the cluster, by kind and name: what a plan stores so that the undo finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Such as `apps/v1`.
    pub api_version: String,
    /// Such as `Deployment`.
    pub kind: String,
    /// The kind's name in the API server's paths, such as `deployments`.
    pub plural: String,
    /// None for what is cluster-scoped.
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
}

impl Target {
    /// An object of a kind known at compile time.
    pub fn of<K: Resource<DynamicType = ()>>(namespace: Option<&str>, name: &str) -> Self {
        Self {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            plural: K::plural(&()).into_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    pub(super) fn resource(&self) -> ApiResource {
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", &self.api_version));
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &self.kind), &self.plural)
    }

    /// The whole object.
    pub(super) fn api(&self, client: Client) -> Api<DynamicObject> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &self.resource()),
            None => Api::all_with(client, &self.resource()),
        }
    }

    /// Its metadata only: all that ownership needs, and none of a Secret's content.
    pub(super) fn metadata_api(&self, client: Client) -> Api<PartialObjectMeta<DynamicObject>> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &self.resource()),
            None => Api::all_with(client, &self.resource()),
        }
    }
}

/// `Deployment matih-acme/query-engine`, `Namespace matih-acme`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}
