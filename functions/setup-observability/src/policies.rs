//! The network paths that telemetry takes.

use engine::phase::Result;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use crate::config::PORT;
use crate::{Plan, object};

/// By name.
pub(crate) fn all(plan: &Plan) -> Result<Vec<NetworkPolicy>> {
    let (loki, tempo) = (&plan.loki, &plan.tempo);
    let collector = json!({ "app.kubernetes.io/name": "opentelemetry-collector" });
    let specs = [
        (
            "allow-collector-egress",
            json!({
                "podSelector": { "matchLabels": collector }, "policyTypes": ["Egress"],
                "egress": [
                    { "to": [namespace(&loki.namespace)], "ports": [tcp(loki.ingest_port)] },
                    { "to": [namespace(&tempo.namespace)], "ports": [tcp(tempo.ingest_port)] },
                ],
            }),
        ),
        (
            // The nodes' collectors hand over logs, and the control plane tries whether the path is whole.
            "allow-collector-ingress",
            json!({
                "podSelector": { "matchLabels": collector }, "policyTypes": ["Ingress"],
                "ingress": [{
                    "from": [namespace(&loki.namespace), namespace(&plan.control_plane_namespace)],
                    "ports": [tcp(PORT)],
                }],
            }),
        ),
        (
            "allow-grafana-sources",
            json!({
                "podSelector": { "matchLabels": { "app.kubernetes.io/name": "grafana" } }, "policyTypes": ["Egress"],
                "egress": [
                    { "to": [namespace(&loki.namespace)], "ports": [tcp(loki.query_port)] },
                    { "to": [namespace(&tempo.namespace)], "ports": [tcp(tempo.query_port)] },
                ],
            }),
        ),
    ];
    let policies = specs.into_iter().map(|(name, spec)| {
        object(json!({ "metadata": { "name": name, "namespace": plan.namespace }, "spec": spec }))
    });
    policies.collect()
}

fn tcp(port: u16) -> Value {
    json!({ "protocol": "TCP", "port": port })
}

fn namespace(name: &str) -> Value {
    json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } })
}
