//! The deployment as it is answered.

use chrono::{DateTime, Utc};
use cluster::{Happened, Replicas};
use serde::Serialize;
use serde_json::Value;
use tenants::{DeploymentRow, TenantRow};
use utoipa::ToSchema;

use crate::compute::Seen;
use crate::openapi;

/// How the Deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DeploymentState)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Every replica is up to date and ready.
    Ready,
    /// Not yet, or no longer.
    Unready,
    /// The cluster has no such Deployment, or another of its name.
    Missing,
    /// The cluster does not answer.
    Unknown,
}

/// Where the instance's logs are.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Logs {
    /// The command that prints them.
    kubectl: String,
    loki: Loki,
}

/// A question to Loki.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Loki {
    /// Value of the header `X-Scope-OrgID`.
    tenant: String,
    /// LogQL.
    query: String,
}

/// A tenant's own instance.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Deployment)]
pub struct DeploymentView {
    state: State,
    /// Why it is not ready.
    #[schema(required)]
    reason: Option<String>,
    /// The Deployment's uid.
    container_id: String,
    namespace: String,
    name: String,
    /// How the control plane reaches it.
    endpoint: String,
    /// How the tenant reaches it.
    url: String,
    image: String,
    size: String,
    /// The size's numbers, as Kubernetes quantities.
    #[schema(value_type = Object)]
    resources: Value,
    #[schema(required, value_type = Option<openapi::Replicas>)]
    replicas: Option<Replicas>,
    /// What the cluster has noted of it, its ReplicaSets and its pods; the newest first.
    #[schema(max_items = 20, value_type = Vec<openapi::Event>)]
    events: Vec<Happened>,
    logs: Logs,
    #[schema(value_type = openapi::Reachability)]
    cluster: &'static str,
    #[schema(required)]
    cluster_reason: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// What is recorded, and over it what was seen.
pub fn view(owner: &TenantRow, row: &DeploymentRow, seen: Seen) -> DeploymentView {
    let (namespace, name) = (&row.namespace, &row.name);
    let mut view = DeploymentView {
        state: State::Unknown,
        reason: None,
        container_id: row.container_id.clone(),
        namespace: namespace.clone(),
        name: name.clone(),
        endpoint: row.endpoint.clone(),
        url: row.url.clone(),
        image: row.image.clone(),
        size: row.size.clone(),
        resources: row.resources.clone(),
        replicas: None,
        events: Vec::new(),
        logs: Logs {
            kubectl: format!("kubectl logs --namespace {namespace} deployment/{name} --all-pods --prefix"),
            loki: Loki {
                // Not the slug, which is somebody else's one day.
                tenant: owner.id.to_string(),
                query: format!(r#"{{namespace="{namespace}"}} | k8s_container_name="{name}""#),
            },
        },
        cluster: "reachable",
        cluster_reason: None,
        created_at: row.created_at,
        updated_at: row.updated_at,
    };
    match seen {
        Seen::Unreachable(why) => {
            view.cluster = "unreachable";
            view.cluster_reason = Some(why);
        }
        Seen::There(None, events) => {
            view.state = State::Missing;
            view.reason = Some(format!("Deployment {namespace}/{name} does not exist"));
            view.events = events;
        }
        Seen::There(Some(found), events) if found.uid != row.container_id => {
            view.state = State::Missing;
            view.reason =
                Some(format!("Deployment {namespace}/{name} is another one, with the uid {}", found.uid));
            view.events = events;
        }
        Seen::There(Some(found), events) => {
            view.state = if found.ready { State::Ready } else { State::Unready };
            view.reason = found.reason;
            // What runs, should somebody have changed it past us.
            view.image = found.image.unwrap_or(view.image);
            view.replicas = Some(found.replicas);
            view.events = events;
        }
    }
    view
}
