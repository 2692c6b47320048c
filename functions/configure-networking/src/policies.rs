//! The policies, built from the plan alone.

use std::collections::BTreeMap;

use cluster::NOT_THE_INTERNET;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::ObjectMeta;

use crate::Plan;

/// Every policy by name, in the order of their making: the denials first, so that an undo, which goes backward, takes
/// them away last and no pod is more open in between than it was before.
pub(crate) fn all(plan: &Plan) -> Vec<(&'static str, NetworkPolicy)> {
    let mut specs = vec![
        ("default-deny-ingress", deny("Ingress")),
        ("default-deny-egress", deny("Egress")),
        ("allow-same-namespace", ingress(pods(&[]))),
        ("allow-ingress-controller", ingress(ingress_controller(plan))),
        ("allow-egress-same-namespace", egress(everyone(), vec![pods(&[])], &[])),
        ("allow-egress-dns", egress(everyone(), vec![namespace("kube-system")], &[("UDP", 53), ("TCP", 53)])),
        (
            "allow-egress-control-plane",
            egress(everyone(), vec![namespace(&plan.control_plane_namespace)], &[]),
        ),
    ];
    // An empty list of peers would mean everywhere.
    if !plan.database_cidrs.is_empty() {
        let databases = plan.database_cidrs.iter().map(|cidr| addresses(cidr, &[])).collect();
        let port = [("TCP", plan.database_port)];
        specs.push(("allow-egress-database", egress(everyone(), databases, &port)));
    }
    let connectors = labels(&[(&format!("{}/egress", plan.label_prefix), "internet")]);
    let internet = addresses("0.0.0.0/0", &NOT_THE_INTERNET);
    specs.push(("allow-egress-internet", egress(connectors, vec![internet], &[])));
    specs.into_iter().map(|(name, spec)| (name, policy(plan, name, spec))).collect()
}

fn policy(plan: &Plan, name: &str, spec: NetworkPolicySpec) -> NetworkPolicy {
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(plan.namespace.to_string()),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
    }
}

fn deny(direction: &str) -> NetworkPolicySpec {
    NetworkPolicySpec {
        pod_selector: Some(everyone()),
        policy_types: Some(vec![direction.to_owned()]),
        ..NetworkPolicySpec::default()
    }
}

fn ingress(from: NetworkPolicyPeer) -> NetworkPolicySpec {
    NetworkPolicySpec {
        pod_selector: Some(everyone()),
        ingress: Some(vec![NetworkPolicyIngressRule { from: Some(vec![from]), ports: None }]),
        ..NetworkPolicySpec::default()
    }
}

fn egress(who: LabelSelector, to: Vec<NetworkPolicyPeer>, ports: &[(&str, u16)]) -> NetworkPolicySpec {
    let ports = ports.iter().map(|(protocol, port)| NetworkPolicyPort {
        protocol: Some((*protocol).to_owned()),
        port: Some(IntOrString::Int(i32::from(*port))),
        end_port: None,
    });
    let ports = Some(ports.collect::<Vec<_>>()).filter(|ports| !ports.is_empty());
    NetworkPolicySpec {
        pod_selector: Some(who),
        // Without it the server would take this for a policy of both directions, which denies all ingress.
        policy_types: Some(vec!["Egress".to_owned()]),
        egress: Some(vec![NetworkPolicyEgressRule { to: Some(to), ports }]),
        ..NetworkPolicySpec::default()
    }
}

fn everyone() -> LabelSelector {
    LabelSelector::default()
}

fn labels(pairs: &[(&str, &str)]) -> LabelSelector {
    let labels: BTreeMap<String, String> =
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    LabelSelector {
        match_labels: Some(labels).filter(|labels| !labels.is_empty()),
        ..LabelSelector::default()
    }
}

/// Pods of the policy's own namespace.
fn pods(pairs: &[(&str, &str)]) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(labels(pairs)), ..NetworkPolicyPeer::default() }
}

fn namespace(name: &str) -> NetworkPolicyPeer {
    let name = labels(&[("kubernetes.io/metadata.name", name)]);
    NetworkPolicyPeer { namespace_selector: Some(name), ..NetworkPolicyPeer::default() }
}

fn ingress_controller(plan: &Plan) -> NetworkPolicyPeer {
    let slug = format!("{}/tenant-slug", plan.label_prefix);
    NetworkPolicyPeer {
        namespace_selector: Some(labels(&[(&slug, plan.slug.as_str())])),
        pod_selector: Some(labels(&[("app.kubernetes.io/name", "ingress-nginx")])),
        ..NetworkPolicyPeer::default()
    }
}

fn addresses(cidr: &str, except: &[&str]) -> NetworkPolicyPeer {
    let except = Some(except.iter().map(ToString::to_string).collect::<Vec<_>>());
    NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: cidr.to_owned(), except: except.filter(|except| !except.is_empty()) }),
        ..NetworkPolicyPeer::default()
    }
}
