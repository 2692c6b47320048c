//! Grafana's dashboards and data source, as ConfigMaps that its sidecar picks up by their label.

use engine::phase::Result;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::rules::Expressions;
use crate::{Plan, object};

/// The uid by which the dashboards name the data source.
const SOURCE: &str = "prometheus";

/// All of them.
pub(crate) fn config_maps(plan: &Plan) -> Result<Vec<ConfigMap>> {
    let show = Expressions::of(plan);
    let resources = dashboard(
        plan,
        "Resources",
        &[
            ("CPU, share of the limit", show.cpu(), "percentunit", "{{pod}}/{{container}}"),
            ("Memory, share of the limit", show.memory(), "percentunit", "{{pod}}/{{container}}"),
            ("Disk, share of the volume", show.disk(), "percentunit", "{{persistentvolumeclaim}}"),
            ("Restarts in 15 minutes", show.restarts(), "none", "{{pod}}/{{container}}"),
        ],
    );
    let traffic = dashboard(
        plan,
        "Traffic",
        &[
            ("Requests", show.requests(), "reqps", "all"),
            ("Errors (5xx), share of all requests", show.errors(), "percentunit", "5xx"),
            ("Latency, 95th percentile", show.latency(), "s", "p95"),
        ],
    );
    let source = json!({ "apiVersion": 1, "datasources": [{
        "name": "Prometheus", "uid": SOURCE, "type": "prometheus", "access": "proxy", "isDefault": true,
        "url": "http://prometheus-operated:9090", "editable": false,
    }]});
    [
        ("dashboard-resources", "grafana_dashboard", "resources.json", resources),
        ("dashboard-traffic", "grafana_dashboard", "traffic.json", traffic),
        // JSON, which every reader of YAML reads.
        ("datasource-prometheus", "grafana_datasource", "prometheus.yaml", source),
    ]
    .into_iter()
    .map(|(name, label, file, content)| {
        object(json!({
            "metadata": { "name": name, "namespace": plan.namespace, "labels": { (label): "1" } },
            "data": { (file): format!("{content:#}") },
        }))
    })
    .collect()
}

/// Panels two in a row, each a title, what it draws, its unit and the name of a line.
fn dashboard(plan: &Plan, title: &str, panels: &[(&str, String, &str, &str)]) -> Value {
    let panels = panels.iter().enumerate().map(|(nth, (title, expression, unit, line))| {
        json!({
            "id": nth + 1,
            "type": "timeseries",
            "title": title,
            "datasource": { "type": "prometheus", "uid": SOURCE },
            "gridPos": { "x": nth % 2 * 12, "y": nth / 2 * 8, "w": 12, "h": 8 },
            "fieldConfig": { "defaults": { "unit": unit, "min": 0 }, "overrides": [] },
            "targets": [{ "refId": "A", "expr": expression, "legendFormat": line }],
        })
    });
    json!({
        "uid": format!("{}-{}", plan.slug, title.to_lowercase()),
        "title": format!("{title} of {}", plan.slug),
        "tags": ["tenant"],
        "schemaVersion": 39,
        "editable": false,
        "refresh": "30s",
        "time": { "from": "now-6h", "to": "now" },
        "panels": panels.collect::<Vec<_>>(),
    })
}
