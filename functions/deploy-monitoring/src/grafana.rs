//! Grafana, by its chart: the values are those of the public chart `grafana`, which the local one honours too.

use helm::Release;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1;
use rand::TryRngCore as _;
use rand::distr::{Alphanumeric, SampleString as _};
use rand::rngs::OsRng;
use serde_json::{Value, json};

use crate::Plan;
use crate::prometheus::within;
use crate::shares::Share;

/// The Secret with its administrator's password.
pub(crate) const ADMIN: &str = "grafana-admin";

/// Each of the two sidecars'.
const SIDECAR: Share = Share { cpu: (10, 20), memory: (32, 64) };

/// The release's name, and that of its objects: the chart's cluster-scoped ones, if a platform's chart makes some, are
/// told apart by it.
pub(crate) fn name(plan: &Plan) -> String {
    format!("grafana-{}", plan.slug)
}

/// A password made up once; whoever finds the Secret there keeps it.
pub(crate) fn admin(plan: &Plan) -> v1::Secret {
    let password = Alphanumeric.sample_string(&mut OsRng.unwrap_err(), 32);
    let values = [("admin-user", "admin".to_owned()), ("admin-password", password)];
    let data = values.map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())));
    v1::Secret { metadata: within(plan, ADMIN), data: Some(data.into()), ..v1::Secret::default() }
}

/// The release.
pub(crate) fn release(plan: &Plan) -> Release {
    Release {
        namespace: plan.namespace.clone(),
        name: name(plan),
        chart: plan.grafana.name.clone(),
        version: plan.grafana.version.clone(),
        repository_url: plan.grafana.repository_url.clone(),
        values: values(plan),
        label_prefix: plan.label_prefix.clone(),
    }
}

fn values(plan: &Plan) -> Value {
    let share = Share::of_a_service(plan.tier).without(SIDECAR).without(SIDECAR);
    let ownership = json!({ (format!("{}/tenant-id", plan.label_prefix)): plan.tenant_id });
    let picks_up = |label: &str| json!({ "enabled": true, "label": label, "labelValue": "1", "searchNamespace": plan.namespace });
    json!({
        "fullnameOverride": name(plan),
        "replicas": i32::from(!plan.suspended),
        // By which its own measurements are found.
        "service": { "portName": "http" },
        // A Role for the sidecars, and no ClusterRole.
        "rbac": { "create": true, "namespaced": true },
        "testFramework": { "enabled": false },
        "persistence": { "enabled": false },
        "admin": { "existingSecret": ADMIN, "userKey": "admin-user", "passwordKey": "admin-password" },
        "sidecar": {
            "resources": SIDECAR.resources(),
            "dashboards": picks_up("grafana_dashboard"),
            "datasources": picks_up("grafana_datasource"),
        },
        "resources": share.resources(),
        "extraLabels": ownership,
        "podLabels": ownership,
    })
}
