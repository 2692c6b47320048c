//! The network paths that monitoring needs beyond those every pod of the tenant has.

use std::collections::BTreeMap;

use cluster::{NOT_THE_INTERNET, Reach};
use engine::phase::Result;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use crate::{Plan, object};

/// Their names.
pub(crate) const NAMES: [&str; 3] = ["allow-prometheus", "allow-alertmanager", "allow-grafana"];

/// By name, each with who may reach what.
pub(crate) fn all(plan: &Plan, api_server: &[Reach]) -> Result<Vec<NetworkPolicy>> {
    let api_server = to_api_server(api_server);
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
    let paths: [(&str, Vec<Value>); 3] = [
        ("prometheus", [scraped, platform].into_iter().flatten().chain(api_server.clone()).collect()),
        ("alertmanager", [mail, slack].into_iter().flatten().collect()),
        // Its sidecars watch ConfigMaps.
        ("grafana", api_server),
    ];
    let policies = NAMES.into_iter().zip(paths).map(|(name, (who, paths))| {
        object(json!({
            "metadata": { "name": name, "namespace": plan.namespace },
            "spec": {
                "podSelector": { "matchLabels": { "app.kubernetes.io/name": who } },
                "policyTypes": ["Egress"],
                "egress": paths,
            },
        }))
    });
    policies.collect()
}

/// One rule for each port that the API server is found at.
fn to_api_server(reaches: &[Reach]) -> Vec<Value> {
    let mut by_port: BTreeMap<i32, Vec<Value>> = BTreeMap::new();
    for Reach { cidr, port } in reaches {
        by_port.entry(*port).or_default().push(block(cidr, &[]));
    }
    let rules = by_port.into_iter();
    rules.map(|(port, to)| json!({ "to": to, "ports": [{ "protocol": "TCP", "port": port }] })).collect()
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
