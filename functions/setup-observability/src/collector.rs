//! The collector, by its chart: the values are those of the public chart `opentelemetry-collector`, which the local one
//! honours too.

use helm::Release;
use model::Tier;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::Plan;
use crate::config::{self, COLLECTOR};

/// The release.
pub(crate) fn release(plan: &Plan) -> Release {
    Release {
        namespace: plan.namespace.clone(),
        name: COLLECTOR.to_owned(),
        chart: plan.chart.name.clone(),
        version: plan.chart.version.clone(),
        repository_url: plan.chart.repository_url.clone(),
        values: values(plan),
        label_prefix: plan.label_prefix.clone(),
    }
}

fn values(plan: &Plan) -> Value {
    let ownership = json!({ (format!("{}/tenant-id", plan.label_prefix)): plan.tenant_id });
    // A pod reads its configuration once: another one is another pod.
    let configuration = hex::encode(Sha256::digest(config::collector(plan).to_string()));
    let off = json!({ "enabled": false });
    json!({
        "fullnameOverride": COLLECTOR,
        "mode": "deployment",
        "replicaCount": i32::from(!plan.suspended),
        "image": { "repository": plan.image },
        "command": { "name": "otelcol-contrib" },
        "configMap": { "create": false, "existingName": COLLECTOR },
        "clusterRole": { "create": false },
        "ports": {
            "otlp": { "enabled": true }, "otlp-http": { "enabled": true },
            "jaeger-compact": off, "jaeger-thrift": off, "jaeger-grpc": off, "zipkin": off,
        },
        "resources": resources(plan.tier),
        "additionalLabels": ownership,
        "podLabels": ownership,
        "podAnnotations": { (format!("{}/configuration", plan.label_prefix)): configuration },
    })
}

/// As much as one of the tenant's services: on the free tier, what is left for each of twelve pods when one more may
/// surge.
fn resources(tier: Tier) -> Value {
    let ((cpu, memory), (cpu_limit, memory_limit)) = match tier {
        Tier::Free => (("100m", "192Mi"), ("150m", "512Mi")),
        Tier::Professional => (("250m", "512Mi"), ("1000m", "1Gi")),
        Tier::Enterprise => (("500m", "1Gi"), ("2000m", "2Gi")),
    };
    json!({
        "requests": { "cpu": cpu, "memory": memory },
        "limits": { "cpu": cpu_limit, "memory": memory_limit },
    })
}
