//! NetworkPolicy semantics, as the Kubernetes documentation states them: a pod that some policy selects for a direction
//! may do in that direction only what some policy allows; a connection needs the sender's leave and the receiver's.
//! A part of the API that it does not know makes it panic: an unknown rule is not taken for one that changes nothing.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

type Labels = BTreeMap<String, String>;

/// One end of a connection.
#[derive(Clone, Debug)]
pub struct Endpoint {
    ip: Ipv4Addr,
    pod: Option<(String, Labels)>,
}

impl Endpoint {
    /// A pod of a namespace, with its labels and address.
    pub fn pod(namespace: &str, labels: &[(&str, &str)], ip: &str) -> Self {
        Self { ip: ip.parse().unwrap(), pod: Some((namespace.to_owned(), owned(labels))) }
    }

    /// Something outside the cluster.
    pub fn outside(ip: &str) -> Self {
        Self { ip: ip.parse().unwrap(), pod: None }
    }
}

fn owned(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The cluster's namespaces with their labels and policies.
#[derive(Default)]
pub struct Network {
    namespaces: BTreeMap<String, (Labels, Vec<NetworkPolicySpec>)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Ingress,
    Egress,
}

impl Network {
    /// A namespace as read from the API server.
    pub fn add_namespace(&mut self, namespace: &Namespace, policies: Vec<NetworkPolicy>) {
        let name = namespace.metadata.name.clone().unwrap();
        let labels = namespace.metadata.labels.clone().unwrap_or_default();
        let policies = policies.into_iter().map(|policy| policy.spec.unwrap()).collect();
        self.namespaces.insert(name, (labels, policies));
    }

    /// A namespace without policies.
    pub fn add_labels(&mut self, name: &str, labels: &[(&str, &str)]) {
        self.namespaces.insert(name.to_owned(), (owned(labels), Vec::new()));
    }

    /// Whether `from` may open a connection to `to`.
    pub fn allows(&self, from: &Endpoint, to: &Endpoint, protocol: &str, port: i32) -> bool {
        self.lets(Direction::Egress, from, to, protocol, port)
            && self.lets(Direction::Ingress, to, from, protocol, port)
    }

    /// Whether the policies upon `subject` let it connect to (or from) `other`.
    fn lets(&self, way: Direction, subject: &Endpoint, other: &Endpoint, protocol: &str, port: i32) -> bool {
        let Some((namespace, labels)) = &subject.pod else { return true };
        let policies = &self.namespaces[namespace].1;
        let mut isolated = false;
        for policy in policies {
            let selects = policy.pod_selector.as_ref().is_none_or(|selector| matches(selector, labels));
            if !selects || !applies(policy, way) {
                continue;
            }
            isolated = true;
            let rules: Vec<_> = match way {
                Direction::Ingress => policy
                    .ingress
                    .iter()
                    .flatten()
                    .map(|rule| (rule.from.as_deref(), rule.ports.as_deref()))
                    .collect(),
                Direction::Egress => policy
                    .egress
                    .iter()
                    .flatten()
                    .map(|rule| (rule.to.as_deref(), rule.ports.as_deref()))
                    .collect(),
            };
            for (peers, ports) in rules {
                let peers = peers.unwrap_or_default();
                let ports = ports.unwrap_or_default();
                let peer_fits =
                    peers.is_empty() || peers.iter().any(|peer| self.fits(peer, namespace, other));
                let port_fits = ports.is_empty() || ports.iter().any(|rule| port_fits(rule, protocol, port));
                if peer_fits && port_fits {
                    return true;
                }
            }
        }
        !isolated
    }

    fn fits(&self, peer: &NetworkPolicyPeer, own_namespace: &str, other: &Endpoint) -> bool {
        if let Some(block) = &peer.ip_block {
            assert!(peer.pod_selector.is_none() && peer.namespace_selector.is_none(), "the API forbids both");
            let excepted = block.except.iter().flatten().any(|except| contains(except, other.ip));
            // Whether a pod's address counts is left to the implementation; the more open reading is the one to fear.
            return contains(&block.cidr, other.ip) && !excepted;
        }
        let Some((namespace, labels)) = &other.pod else { return false };
        let in_namespace = match &peer.namespace_selector {
            Some(selector) => matches(selector, &self.namespaces[namespace].0),
            None => namespace == own_namespace,
        };
        in_namespace && peer.pod_selector.as_ref().is_none_or(|selector| matches(selector, labels))
    }
}

/// Without types, a policy is of ingress, and of egress too if it has egress rules.
fn applies(policy: &NetworkPolicySpec, way: Direction) -> bool {
    match (&policy.policy_types, way) {
        (Some(types), Direction::Ingress) => types.iter().any(|kind| kind == "Ingress"),
        (Some(types), Direction::Egress) => types.iter().any(|kind| kind == "Egress"),
        (None, Direction::Ingress) => true,
        (None, Direction::Egress) => policy.egress.as_ref().is_some_and(|rules| !rules.is_empty()),
    }
}

fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    assert!(selector.match_expressions.is_none(), "match expressions are not known here");
    selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
}

fn port_fits(rule: &NetworkPolicyPort, protocol: &str, port: i32) -> bool {
    assert!(rule.end_port.is_none(), "port ranges are not known here");
    let same_port = match &rule.port {
        None => true,
        Some(IntOrString::Int(number)) => *number == port,
        Some(IntOrString::String(name)) => panic!("named port {name} is not known here"),
    };
    rule.protocol.as_deref().unwrap_or("TCP") == protocol && same_port
}

fn contains(cidr: &str, ip: Ipv4Addr) -> bool {
    let (network, length) = cidr.split_once('/').unwrap();
    let network: Ipv4Addr = network.parse().unwrap();
    let length: u32 = length.parse().unwrap();
    let mask = if length == 0 { 0 } else { u32::MAX << (32 - length) };
    network.to_bits() & mask == ip.to_bits() & mask
}

mod self_test {
    use super::*;
    use serde_json::{Value, json};

    fn network(policies: Value) -> Network {
        let policies: Vec<NetworkPolicySpec> = serde_json::from_value(policies).unwrap();
        let mut network = Network::default();
        network.namespaces.insert("a".into(), (owned(&[("team", "x")]), policies));
        network.add_labels("b", &[("team", "y")]);
        network
    }

    /// The rules of the documentation that a wrong evaluator would get wrong.
    #[test]
    fn the_evaluator_knows_the_documented_rules() {
        let (a, b) = (
            Endpoint::pod("a", &[("app", "1")], "10.0.0.1"),
            Endpoint::pod("b", &[("app", "2")], "10.0.0.2"),
        );
        let to_a = |policies: Value| network(policies).allows(&b, &a, "TCP", 80);
        assert!(to_a(json!([])), "no policy allows everything");
        assert!(!to_a(json!([{"podSelector": {}}])), "a policy without rules denies ingress");
        assert!(to_a(json!([{"podSelector": {"matchLabels": {"app": "9"}}}])), "a policy of other pods");
        assert!(to_a(json!([{"podSelector": {}, "policyTypes": ["Egress"]}])), "a policy of egress only");
        assert!(to_a(json!([{"podSelector": {}, "ingress": [{}]}])), "an empty rule allows everything");
        assert!(
            !to_a(json!([{"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}])),
            "own namespace"
        );
        let both = json!([{"namespaceSelector": {"matchLabels": {"team": "y"}}, "podSelector": {"matchLabels": {"app": "9"}}}]);
        assert!(
            !to_a(json!([{"podSelector": {}, "ingress": [{"from": both}]}])),
            "one peer: both must match"
        );
        let either = json!([{"namespaceSelector": {"matchLabels": {"team": "y"}}}, {"podSelector": {"matchLabels": {"app": "9"}}}]);
        assert!(
            to_a(json!([{"podSelector": {}, "ingress": [{"from": either}]}])),
            "two peers: either may match"
        );
        let ports = json!([{"port": 81}, {"port": 80, "protocol": "UDP"}]);
        assert!(
            !to_a(json!([{"podSelector": {}, "ingress": [{"ports": ports}]}])),
            "port and protocol together"
        );
        let from_a = |policies: Value| network(policies).allows(&a, &b, "TCP", 80);
        assert!(
            !from_a(json!([{"podSelector": {}, "egress": [{"ports": [{"port": 81}]}]}])),
            "egress by its rules"
        );
        assert!(from_a(json!([{"podSelector": {}}])), "a denial of ingress leaves egress open");
        assert!(contains("172.16.0.0/12", "172.31.255.255".parse().unwrap()));
        assert!(!contains("172.16.0.0/12", "172.32.0.0".parse().unwrap()));
        assert!(contains("0.0.0.0/0", "8.8.8.8".parse().unwrap()));
    }
}
