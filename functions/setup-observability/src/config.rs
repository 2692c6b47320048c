//! What the collectors and the platform's Loki and Tempo are told, as ConfigMaps.
//!
//! Addresses in the collectors' configurations can be overridden by environment, so that the very same text runs outside
//! a pod too.

use engine::phase::Result;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::{Plan, object};

/// The collector's release, its Service, and its configuration.
pub const COLLECTOR: &str = "otel-collector";
/// What a collector on each node is to do with the logs of the tenant's pods.
pub const LOGS: &str = "log-collection";
/// The key of a configuration in its ConfigMap, as the public chart has it.
pub const KEY: &str = "relay";
/// OTLP over HTTP.
pub const PORT: u16 = 4318;

/// The header by which Loki and Tempo tell tenants apart. Its value is the tenant's id and not its slug: history outlives
/// the tenant, and the slug's next holder must not read it.
pub const TENANT_HEADER: &str = "X-Scope-OrgID";

/// The tenant's collector: whatever comes in by OTLP is stamped as the tenant's and handed on.
///
/// A sender cannot pretend to be another tenant: the stamp replaces what is there.
pub(crate) fn collector(plan: &Plan) -> Value {
    let stamp = |key: &str, value: &str| json!({ "key": key, "value": value, "action": "upsert" });
    let exporter = |variable: &str, url: String| {
        json!({
            "endpoint": format!("${{env:{variable}:-{url}}}"),
            "headers": { (TENANT_HEADER): plan.tenant_id },
            "encoding": "${env:OTLP_ENCODING:-proto}",
            "compression": "${env:OTLP_COMPRESSION:-gzip}",
        })
    };
    let pipeline = |to: &str| {
        json!({
            "receivers": ["otlp"],
            "processors": ["memory_limiter", "resource/tenant", "batch"],
            "exporters": [format!("otlphttp/{to}")],
        })
    };
    json!({
        "extensions": { "health_check": { "endpoint": "${env:HEALTH_ENDPOINT:-0.0.0.0:13133}" } },
        "receivers": { "otlp": { "protocols": {
            "grpc": { "endpoint": "${env:OTLP_GRPC_ENDPOINT:-0.0.0.0:4317}" },
            "http": { "endpoint": format!("${{env:OTLP_HTTP_ENDPOINT:-0.0.0.0:{PORT}}}") },
        }}},
        "processors": {
            "memory_limiter": { "check_interval": "1s", "limit_percentage": 80, "spike_limit_percentage": 20 },
            "resource/tenant": { "attributes": [
                stamp("tenant_id", plan.slug.as_str()),
                stamp("tenant_uuid", &plan.tenant_id.to_string()),
                stamp("namespace", plan.namespace.as_str()),
                stamp("k8s.namespace.name", plan.namespace.as_str()),
            ]},
            "batch": { "timeout": "${env:BATCH_TIMEOUT:-1s}" },
        },
        "exporters": {
            "otlphttp/loki": exporter("LOKI_ENDPOINT", plan.loki.ingest_url()),
            "otlphttp/tempo": exporter("TEMPO_ENDPOINT", plan.tempo.ingest_url()),
        },
        "service": {
            "extensions": ["health_check"],
            "pipelines": { "logs": pipeline("loki"), "traces": pipeline("tempo") },
            "telemetry": { "metrics": { "level": "none" } },
        },
    })
}

/// What the containers write to their standard output only the node has. Its collector (the platform's, one on each
/// node) reads the tenant's files and hands them to the tenant's own.
pub(crate) fn node_logs(plan: &Plan) -> Value {
    let Plan { namespace, slug, .. } = plan;
    let (receiver, exporter) = (format!("filelog/{slug}"), format!("otlphttp/{slug}"));
    json!({
        "receivers": { (&receiver): {
            "include": [format!("${{env:POD_LOGS:-/var/log/pods}}/{namespace}_*/*/*.log")],
            "include_file_path": true,
            "start_at": "beginning",
            "poll_interval": "200ms",
            "operators": [{ "type": "container" }],
        }},
        "exporters": { (&exporter): {
            "endpoint": format!("${{env:TENANT_COLLECTOR_ENDPOINT:-http://{COLLECTOR}.{namespace}.svc:{PORT}}}"),
            "compression": "gzip",
        }},
        "service": { "pipelines": { (format!("logs/{slug}")): {
            "receivers": [receiver], "exporters": [exporter],
        }}},
    })
}

/// Loki's settings for this tenant: how long its logs are kept, and by which labels they are found.
fn loki(plan: &Plan) -> Value {
    json!({ "overrides": { (plan.tenant_id.to_string()): {
        "retention_period": format!("{}h", plan.logs_kept),
        "otlp_config": { "resource_attributes": { "attributes_config": [
            { "action": "index_label", "attributes": ["namespace", "tenant_id", "service.name"] },
        ]}},
    }}})
}

/// Tempo's settings for this tenant: how long its traces are kept.
fn tempo(plan: &Plan) -> Value {
    json!({ "overrides": { (plan.tenant_id.to_string()): {
        "compaction": { "block_retention": format!("{}h", plan.traces_kept) },
    }}})
}

/// The tenant's Grafana sees the tenant's own.
fn sources(plan: &Plan) -> Value {
    let source = |name: &str, kind: &str, url: String| {
        json!({
            "name": name, "uid": kind, "type": kind, "access": "proxy", "editable": false, "url": url,
            "jsonData": { "httpHeaderName1": TENANT_HEADER },
            "secureJsonData": { "httpHeaderValue1": plan.tenant_id },
        })
    };
    json!({ "apiVersion": 1, "datasources": [
        source("Loki", "loki", plan.loki.query_url()),
        source("Tempo", "tempo", plan.tempo.query_url()),
    ]})
}

/// Each with the label by which whoever needs it picks it up.
pub(crate) fn config_maps(plan: &Plan) -> Result<Vec<ConfigMap>> {
    let label = |name: &str| format!("{}/{name}", plan.label_prefix);
    [
        (COLLECTOR, label("collector"), KEY, collector(plan)),
        (LOGS, label("log-collection"), KEY, node_logs(plan)),
        ("loki-overrides", label("loki-overrides"), "overrides.yaml", loki(plan)),
        ("tempo-overrides", label("tempo-overrides"), "overrides.yaml", tempo(plan)),
        ("datasource-observability", "grafana_datasource".into(), "observability.yaml", sources(plan)),
    ]
    .into_iter()
    .map(|(name, label, key, content)| {
        object(json!({
            "metadata": { "name": name, "namespace": plan.namespace, "labels": { (label): "1" } },
            // JSON, which every reader of YAML reads.
            "data": { (key): format!("{content:#}") },
        }))
    })
    .collect()
}
