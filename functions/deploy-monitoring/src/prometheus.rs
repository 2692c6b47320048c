//! The tenant's Prometheus: what it may see, where it looks, and what runs.

use engine::phase::Result;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::core::ObjectMeta;
use serde_json::{Value, json};

use crate::kinds::{PodMonitor, Prometheus, PrometheusRule, ScrapeConfig, ServiceMonitor};
use crate::rules::{self, Expressions};
use crate::shares::{Share, pod};
use crate::{Plan, object};

/// ServiceAccount, Role and RoleBinding.
pub(crate) const ACCOUNT: &str = "prometheus";
/// What watches the tenant's Services.
pub(crate) const SERVICES: &str = "tenant-services";
/// What watches the ingress controller's pods.
pub(crate) const INGRESS: &str = "ingress-controller";
/// What asks the platform's Prometheus.
pub(crate) const CLUSTER: &str = "cluster";
/// The alert rules.
pub(crate) const RULES: &str = "tenant-alerts";

pub(crate) fn within(plan: &Plan, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(plan.namespace.to_string()),
        ..ObjectMeta::default()
    }
}

/// The tenant's own objects, by the label that says whose they are.
pub(crate) fn ours(plan: &Plan) -> Value {
    json!({ "matchLabels": { (format!("{}/tenant-id", plan.label_prefix)): plan.tenant_id } })
}

/// The tenant's own namespace. None would mean the same, and all of them is what an empty selector would mean.
pub(crate) fn own_namespace(plan: &Plan) -> Value {
    json!({ "matchLabels": { "kubernetes.io/metadata.name": plan.namespace } })
}

/// What it needs to find what it measures: nothing outside the namespace, and no Secret.
pub(crate) fn access(plan: &Plan) -> Result<(ServiceAccount, Role, RoleBinding)> {
    let metadata = json!({ "name": ACCOUNT, "namespace": plan.namespace });
    let read = ["get", "list", "watch"];
    Ok((
        object(json!({ "metadata": metadata }))?,
        object(json!({ "metadata": metadata, "rules": [
            { "apiGroups": [""], "resources": ["pods", "services", "endpoints"], "verbs": read },
            { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read },
        ]}))?,
        object(json!({
            "metadata": metadata,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT },
            "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": plan.namespace }],
        }))?,
    ))
}

/// Every Service of the tenant's.
pub(crate) fn services(plan: &Plan) -> ServiceMonitor {
    ServiceMonitor::new(
        within(plan, SERVICES),
        json!({
            "namespaceSelector": { "matchNames": [plan.namespace] },
            "selector": ours(plan),
            "endpoints": [{ "port": "http", "path": "/metrics" }],
        }),
    )
}

/// The ingress controller, which counts the requests.
pub(crate) fn ingress(plan: &Plan) -> PodMonitor {
    PodMonitor::new(
        within(plan, INGRESS),
        json!({
            "namespaceSelector": { "matchNames": [plan.namespace] },
            "selector": { "matchLabels": plan.controller_pods },
            "podMetricsEndpoints": [{ "port": "metrics" }],
        }),
    )
}

/// What only the cluster knows of the namespace, with the labels that it has there.
pub(crate) fn cluster(plan: &Plan) -> ScrapeConfig {
    let from = &plan.cluster_metrics;
    ScrapeConfig::new(
        within(plan, CLUSTER),
        json!({
            "staticConfigs": [{ "targets": [format!("{}.{}.svc:{}", from.service, from.namespace, from.port)] }],
            "metricsPath": "/federate",
            "params": { "match[]": [Expressions::of(plan).federated()] },
            "honorLabels": true,
        }),
    )
}

/// The alert rules.
pub(crate) fn alert_rules(plan: &Plan) -> PrometheusRule {
    PrometheusRule::new(within(plan, RULES), json!({ "groups": rules::groups(plan) }))
}

/// The Prometheus itself, which the operator runs as the StatefulSet `prometheus-{slug}`.
pub(crate) fn prometheus(plan: &Plan) -> Prometheus {
    let mut spec = pod(plan, "prometheus", &Share::of_a_service(plan.tier));
    let more = json!({
        "version": plan.prometheus_version,
        "serviceAccountName": ACCOUNT,
        "serviceDiscoveryRole": "EndpointSlice",
        "serviceMonitorSelector": ours(plan),
        "serviceMonitorNamespaceSelector": own_namespace(plan),
        "podMonitorSelector": ours(plan),
        "podMonitorNamespaceSelector": own_namespace(plan),
        "scrapeConfigSelector": ours(plan),
        "scrapeConfigNamespaceSelector": own_namespace(plan),
        "ruleSelector": ours(plan),
        "ruleNamespaceSelector": own_namespace(plan),
        // Whatever a monitor says, it looks into its own namespace only.
        "ignoreNamespaceSelectors": true,
        "scrapeInterval": plan.scrape_interval,
        "evaluationInterval": plan.scrape_interval,
        "externalLabels": { "tenant": plan.slug, "tenant_id": plan.tenant_id },
        "retention": plan.retention,
        "retentionSize": "1800MB",
        // Measurements go with the pod; what must outlive it belongs into the platform's own storage.
        "storage": { "emptyDir": { "sizeLimit": "2Gi" } },
        "alerting": { "alertmanagers": [{
            "namespace": plan.namespace, "name": "alertmanager-operated", "port": "web", "apiVersion": "v2",
        }]},
    });
    merge(&mut spec, more);
    Prometheus::new(within(plan, plan.slug.as_str()), spec)
}

/// Puts the members of one object into another.
pub(crate) fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}
