//! What is left of a tenant in the cluster, of every kind that the API server knows.

use std::collections::BTreeSet;
use std::fmt;

use engine::phase::{Error, Result};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Api;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, ObjectMeta, PartialObjectMeta};
use model::TenantId;
use serde::{Deserialize, Serialize};

use super::client::{call, find};
use super::ensure::held_by;
use super::owned::Keys;
use super::{Cluster, errors};

/// Lists under way at once.
const LISTS: usize = 8;

/// Objects in one answer.
const PAGE: u32 = 500;

/// Kinds that hold nothing of a tenant's: events are a log that ends by itself, component statuses are made up for
/// each request.
const SKIPPED: [&str; 2] = ["events", "componentstatuses"];

/// Something of a tenant's that is still there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Leftover {
    /// Such as `Deployment`, or `Certificate.cert-manager.io`.
    pub kind: String,
    /// None for what is cluster-scoped.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Whether it is simply there, or on its way out and held.
    pub state: String,
}

/// `Deployment matih-acme/query-engine (present)`.
impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, state } = self;
        match namespace {
            Some(namespace) => write!(f, "{kind} {namespace}/{name} ({state})"),
            None => write!(f, "{kind} {name} ({state})"),
        }
    }
}

/// A kind that can be listed.
#[derive(Clone)]
struct Listable {
    resource: ApiResource,
    namespaced: bool,
}

impl Cluster {
    /// Everything labelled as the tenant's, cluster-scoped too, and everything inside a namespace that is the tenant's.
    /// A kind that cannot be listed is an error: nothing is taken to be empty unseen.
    pub async fn inventory(&self, tenant: TenantId, label_prefix: &str) -> Result<Vec<Leftover>> {
        let selector = Keys::new(label_prefix).selector(tenant);
        let kinds = self.listable().await?;
        let ours = ListParams::default().labels(&selector).limit(PAGE);
        let lists = kinds.iter().map(|kind| (kind.clone(), None, ours.clone())).collect();
        let labelled = self.list_each(lists).await?;
        let all = ListParams::default().limit(PAGE);
        let mut lists = Vec::new();
        for namespace in labelled.iter().filter(|left| left.kind == "Namespace" && left.namespace.is_none()) {
            let namespaced = kinds.iter().filter(|kind| kind.namespaced);
            lists.extend(namespaced.map(|kind| (kind.clone(), Some(namespace.name.clone()), all.clone())));
        }
        let within = self.list_each(lists).await?;
        let all: BTreeSet<Leftover> = labelled.into_iter().chain(within).collect();
        Ok(all.into_iter().collect())
    }

    async fn list_each(&self, lists: Vec<(Listable, Option<String>, ListParams)>) -> Result<Vec<Leftover>> {
        let found = stream::iter(lists).map(|(kind, namespace, how)| self.list(kind, namespace, how));
        let found = found.buffer_unordered(LISTS);
        Ok(found.try_collect::<Vec<_>>().await?.into_iter().flatten().collect())
    }

    async fn list(
        &self,
        kind: Listable,
        namespace: Option<String>,
        how: ListParams,
    ) -> Result<Vec<Leftover>> {
        let resource = &kind.resource;
        let doing = format!("list {}.{} for the inventory", resource.plural, resource.api_version);
        let api: Api<PartialObjectMeta<DynamicObject>> = match &namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        };
        let mut found = Vec::new();
        let mut how = how;
        // Not found: the kind itself was removed since it was discovered, and its objects with it.
        while let Some(page) = find(&doing, api.list(&how)).await? {
            found.extend(page.items.into_iter().map(|object| leftover(resource, object.metadata)));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => how = how.continue_token(&token),
                None => break,
            }
        }
        found.retain(|left| !is_kubernetes_own(left));
        Ok(found)
    }

    /// Every kind that can be listed, each in one version.
    async fn listable(&self) -> Result<Vec<Listable>> {
        let doing = "discover the API server's kinds";
        let core = call(doing, self.client.list_core_api_versions_aggregated()).await?;
        let groups = call(doing, self.client.list_api_groups_aggregated()).await?;
        let mut known = BTreeSet::new();
        let mut kinds = Vec::new();
        for group in core.items.into_iter().chain(groups.items) {
            let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
            for version in group.versions {
                let api_version = version.version.unwrap_or_default();
                if version.freshness.as_deref() == Some("Stale") {
                    let why = format!("the server of {name}/{api_version} does not answer");
                    return Err(errors::unavailable(doing, &why));
                }
                for resource in version.resources {
                    let plural = resource.resource.unwrap_or_default();
                    let listable = resource.verbs.iter().any(|verb| verb == "list");
                    if !listable
                        || SKIPPED.contains(&plural.as_str())
                        || !known.insert((name.clone(), plural.clone()))
                    {
                        continue;
                    }
                    let kind = resource.response_kind.and_then(|kind| kind.kind).unwrap_or_default();
                    let gvk = GroupVersionKind::gvk(&name, &api_version, &kind);
                    kinds.push(Listable {
                        resource: ApiResource::from_gvk_with_plural(&gvk, &plural),
                        namespaced: resource.scope.as_deref() == Some("Namespaced"),
                    });
                }
            }
        }
        // A server that does not know this form of discovery answers with another list, which reads as an empty one.
        if !known.contains(&(String::new(), "namespaces".to_owned())) {
            return Err(Error::fatal("cluster_too_old", format!("{doing}: no aggregated discovery"))
                .next("Use a Kubernetes API server of version 1.30 or later."));
        }
        Ok(kinds)
    }
}

fn leftover(resource: &ApiResource, object: ObjectMeta) -> Leftover {
    let state = match object.deletion_timestamp {
        Some(_) => format!("terminating, {}", held_by(&object)),
        None => "present".to_owned(),
    };
    let kind = match resource.group.as_str() {
        "" | "apps" | "batch" | "networking.k8s.io" | "rbac.authorization.k8s.io" => resource.kind.clone(),
        group => format!("{}.{group}", resource.kind),
    };
    Leftover { kind, namespace: object.namespace, name: object.name.unwrap_or_default(), state }
}

/// What Kubernetes keeps in every namespace by itself, and would make again.
fn is_kubernetes_own(left: &Leftover) -> bool {
    left.namespace.is_some()
        && matches!(
            (left.kind.as_str(), left.name.as_str()),
            ("ServiceAccount", "default") | ("ConfigMap", "kube-root-ca.crt")
        )
}
