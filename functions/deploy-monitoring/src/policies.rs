//! The network paths that monitoring needs beyond those every pod of the tenant has.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};
use shared::cluster::NOT_THE_INTERNET;
use shared::phase::Result;

use crate::{Plan, object};

/// Ports that API servers listen on.
const API_SERVER: [u16; 2] = [443, 6443];

/// By name, each with who may reach what.
pub(crate) fn all(plan: &Plan) -> Result<Vec<NetworkPolicy>> {
    let api_server =
        || reach(&plan.api_server_cidrs.iter().map(|cidr| block(cidr, &[])).collect::<Vec<_>>(), &API_SERVER);
    let metrics = &plan.cluster_metrics;
    let platform = reach(&[namespace(&metrics.namespace)], &[metrics.port]);
    let scraped = reach(&[json!({ "podSelector": {} })], &[]);
    let mail = match plan.mail.cidrs.as_slice() {
        [] => vec![namespace(&plan.control_plane_namespace)],
        cidrs => cidrs.iter().map(|cidr| block(cidr, &[])).collect(),
    };
    let mail = reach(&mail, &[plan.mail.port]);
    let slack = plan.slack_webhook.is_some().then(|| vec![block("0.0.0.0/0", &NOT_THE_INTERNET)]);
    let slack = slack.and_then(|internet| reach(&internet, &[443]));
    [
        ("allow-prometheus", "prometheus", vec![scraped, platform, api_server()]),
        ("allow-alertmanager", "alertmanager", vec![mail, slack]),
        // Its sidecars watch ConfigMaps.
        ("allow-grafana", "grafana", vec![api_server()]),
    ]
    .into_iter()
    .map(|(name, who, paths)| {
        object(json!({
            "metadata": { "name": name, "namespace": plan.namespace },
            "spec": {
                "podSelector": { "matchLabels": { "app.kubernetes.io/name": who } },
                "policyTypes": ["Egress"],
                "egress": paths.into_iter().flatten().collect::<Vec<_>>(),
            },
        }))
    })
    .collect()
}

/// One rule; none when there is nobody to reach, for an empty list of peers would mean everywhere.
fn reach(to: &[Value], ports: &[u16]) -> Option<Value> {
    if to.is_empty() {
        return None;
    }
    let mut rule = json!({ "to": to });
    if !ports.is_empty() {
        rule["ports"] = ports.iter().map(|port| json!({ "protocol": "TCP", "port": port })).collect();
    }
    Some(rule)
}

fn block(cidr: &str, except: &[&str]) -> Value {
    if except.is_empty() {
        return json!({ "ipBlock": { "cidr": cidr } });
    }
    json!({ "ipBlock": { "cidr": cidr, "except": except } })
}

fn namespace(name: &str) -> Value {
    json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } })
}
