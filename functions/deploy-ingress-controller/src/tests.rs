use std::time::Duration;

use serde_json::json;

use super::address::look;
use super::plan::plan;
use super::*;

fn tenant() -> Tenant {
    testing::acme()
}

fn planned() -> Plan {
    let mut platform = Platform::default();
    platform.charts.repository_url = "https://charts.example".into();
    plan(&tenant(), &platform).unwrap()
}

#[test]
fn the_platforms_repository_serves_unless_another_is_named() {
    let mut platform = Platform::default();
    assert_eq!(plan(&tenant(), &platform).unwrap_err().code, "platform_incomplete");
    platform.charts.repository_url = "https://charts.example".into();
    assert_eq!(plan(&tenant(), &platform).unwrap().repository_url, "https://charts.example");
    platform.ingress.repository_url = "https://public.example".into();
    assert_eq!(plan(&tenant(), &platform).unwrap().repository_url, "https://public.example");
}

#[test]
fn the_looks_are_counted_by_the_time_that_has_passed() {
    let within = Duration::from_mins(10);
    // Each look is half watched and half parked, so the clock reads 5, 15, 25 s when the second, third, fourth begins.
    for (waited, wanted) in [(0, 1), (4, 1), (5, 2), (15, 3), (25, 4), (585, 60), (599, 60), (900, 60)] {
        assert_eq!(look(Duration::from_secs(waited), within), wanted, "{waited} s");
    }
}

#[test]
fn the_public_reaches_the_controllers_ports_and_the_controller_the_api_server_and_nothing_else() {
    let reach = |cidr: &str, port| cluster::Reach { cidr: cidr.into(), port };
    let api_server = [reach("10.96.0.1/32", 443), reach("20.1.2.3/32", 6443), reach("20.1.2.4/32", 6443)];
    let [public, to_api_server] =
        objects::policies(&planned(), &api_server).map(|policy| serde_json::to_value(policy).unwrap());
    let controller = json!({ "matchLabels": {
        "app.kubernetes.io/name": "ingress-nginx",
        "app.kubernetes.io/instance": "ingress-nginx-acme",
        "app.kubernetes.io/component": "controller",
    } });
    let port = |port: u16| json!({ "protocol": "TCP", "port": port });
    assert_eq!(
        public["spec"],
        json!({
            "podSelector": controller,
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [{ "ipBlock": { "cidr": "0.0.0.0/0" } }, { "ipBlock": { "cidr": "::/0" } }],
                    "ports": [port(80), port(443)],
                },
                {
                    "from": [{ "ipBlock": { "cidr": "168.63.129.16/32" } }],
                    "ports": [port(80), port(443), port(10254)],
                },
            ],
        })
    );
    assert_eq!(
        to_api_server["spec"],
        json!({
            "podSelector": controller,
            "policyTypes": ["Egress"],
            "egress": [
                { "to": [{ "ipBlock": { "cidr": "10.96.0.1/32" } }], "ports": [port(443)] },
                {
                    "to": [{ "ipBlock": { "cidr": "20.1.2.3/32" } }, { "ipBlock": { "cidr": "20.1.2.4/32" } }],
                    "ports": [port(6443)],
                },
            ],
        })
    );
    let names =
        [&public, &to_api_server].map(|policy| policy["metadata"]["name"].as_str().unwrap().to_owned());
    assert_eq!(names, objects::POLICIES);
}

#[test]
fn cluster_wide_the_controller_reads_ingress_classes_and_nothing_else() {
    let reference = k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
        api_version: "v1".into(),
        kind: "Namespace".into(),
        name: "matih-acme".into(),
        uid: "u".into(),
        ..Default::default()
    };
    let role = objects::role(&planned(), reference.clone());
    assert_eq!(
        serde_json::to_value(&role.rules).unwrap(),
        json!([{ "apiGroups": ["networking.k8s.io"], "resources": ["ingressclasses"], "verbs": ["get", "list", "watch"] }])
    );
    let binding = objects::role_binding(&planned(), reference.clone());
    for metadata in [role.metadata, binding.metadata.clone()] {
        assert_eq!(metadata.name.as_deref(), Some("ingress-nginx-acme-class"));
        assert_eq!(metadata.owner_references, Some(vec![reference.clone()]));
    }
    assert_eq!(
        serde_json::to_value(&binding.subjects).unwrap(),
        json!([{ "kind": "ServiceAccount", "name": "ingress-nginx-acme", "namespace": "matih-acme" }])
    );
}
