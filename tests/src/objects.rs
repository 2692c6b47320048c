//! All objects of a cluster, of every kind it knows.

use axum::http::{Request, header};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

use crate::environment::required;

/// Kinds that hold nothing of a tenant's: a log that ends by itself, and what is made up for each request.
const SKIPPED: [&str; 2] = ["events", "componentstatuses"];

/// Lists under way at once.
const LISTS: usize = 8;

/// Without it the API server writes, and we read, some megabytes of content for each look.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// How much of each object is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Its `metadata` only.
    Metadata,
    /// All of it.
    Whole,
}

/// Every object of the cluster that `KUBECONFIG` names, with its `apiVersion` and `kind`.
pub(crate) async fn objects(content: Content) -> Vec<Value> {
    objects_at(&required("KUBECONFIG"), content).await
}

/// As [`objects`], of the cluster that this kubeconfig names.
pub(crate) async fn objects_at(kubeconfig: &str, content: Content) -> Vec<Value> {
    let file = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    let client = Client::try_from(config.expect("a kubeconfig")).expect("a client");
    let kinds = kinds(&client).await;
    assert!(kinds.iter().any(|kind| kind.plural == "clusterroles"), "cluster-scoped kinds too");
    let lists = stream::iter(&kinds).map(|kind| kind.list(&client, content)).buffered(LISTS);
    let found: Vec<Vec<Value>> = lists.try_collect().await.expect("each kind can be listed");
    found.into_iter().flatten().collect()
}

/// A kind that can be listed.
struct Kind {
    /// `v1`, `apps/v1`.
    version: String,
    name: String,
    plural: String,
}

impl Kind {
    async fn list(&self, client: &Client, content: Content) -> kube::Result<Vec<Value>> {
        let root = if self.version.contains('/') { "apis" } else { "api" };
        let mut request = Request::get(format!("/{root}/{}/{}", self.version, self.plural));
        if content == Content::Metadata {
            request = request.header(header::ACCEPT, METADATA);
        }
        let answer = client.request(request.body(Vec::new()).expect("a request")).await;
        let mut list: Value = match answer {
            // Removed since it was discovered, and its objects with it.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
            answer => answer?,
        };
        assert!(list["kind"].as_str().is_some_and(|kind| kind.ends_with("List")), "{list}");
        // An empty one of metadata has `null`.
        let Value::Array(mut items) = list["items"].take() else { return Ok(Vec::new()) };
        for item in &mut items {
            item["apiVersion"] = self.version.clone().into();
            item["kind"] = self.name.clone().into();
        }
        Ok(items)
    }
}

/// Every kind that can be listed, each in the version that the API server prefers.
async fn kinds(client: &Client) -> Vec<Kind> {
    let core = client.list_core_api_versions_aggregated().await.expect("discovery");
    let groups = client.list_api_groups_aggregated().await.expect("discovery");
    let mut kinds: Vec<Kind> = Vec::new();
    for group in core.items.into_iter().chain(groups.items) {
        let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
        let mut known = Vec::new();
        for version in group.versions {
            let number = version.version.unwrap_or_default();
            for resource in version.resources {
                let plural = resource.resource.unwrap_or_default();
                let listed = resource.verbs.iter().any(|verb| verb == "list");
                if !listed || SKIPPED.contains(&plural.as_str()) || known.contains(&plural) {
                    continue;
                }
                known.push(plural.clone());
                let version = if name.is_empty() { number.clone() } else { format!("{name}/{number}") };
                let kind = resource.response_kind.and_then(|kind| kind.kind).unwrap_or_default();
                kinds.push(Kind { version, name: kind, plural });
            }
        }
    }
    kinds
}
