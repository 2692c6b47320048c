//! The objects beside the chart's, built from the plan alone.

use std::collections::BTreeMap;

use cluster::Reach;
use k8s_openapi::api::networking::v1::{
    IPBlock, IngressClass, IngressClassSpec, NetworkPolicy, NetworkPolicyEgressRule,
    NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::ObjectMeta;

use crate::Plan;

/// The policies' names.
pub(crate) const POLICIES: [&str; 2] = ["allow-public-to-ingress", "allow-ingress-to-api-server"];

/// Not the release's own name, which the chart may want for a ClusterRole of its own.
pub(crate) fn role_name(plan: &Plan) -> String {
    format!("{}-class", plan.release)
}

fn cluster_scoped(name: String, namespace: OwnerReference) -> ObjectMeta {
    ObjectMeta { name: Some(name), owner_references: Some(vec![namespace]), ..ObjectMeta::default() }
}

pub(crate) fn class(plan: &Plan, namespace: OwnerReference) -> IngressClass {
    IngressClass {
        metadata: cluster_scoped(plan.class.clone(), namespace),
        spec: Some(IngressClassSpec { controller: Some(plan.controller.clone()), parameters: None }),
    }
}

pub(crate) fn role(plan: &Plan, namespace: OwnerReference) -> ClusterRole {
    ClusterRole {
        metadata: cluster_scoped(role_name(plan), namespace),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec!["networking.k8s.io".into()]),
            resources: Some(vec!["ingressclasses".into()]),
            verbs: ["get", "list", "watch"].map(String::from).to_vec(),
            ..PolicyRule::default()
        }]),
        ..ClusterRole::default()
    }
}

pub(crate) fn role_binding(plan: &Plan, namespace: OwnerReference) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: cluster_scoped(role_name(plan), namespace),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".into()),
            kind: "ClusterRole".into(),
            name: role_name(plan),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: plan.service_account.clone(),
            namespace: Some(plan.namespace.to_string()),
            ..Subject::default()
        }]),
    }
}

/// What the network must let through: the public to the controller's ports and the load balancer's probe, and the
/// controller to the API server. The tenant's own services it reaches by the policies of CONFIGURE_NETWORKING.
pub(crate) fn policies(plan: &Plan, api_server: &[Reach]) -> [NetworkPolicy; 2] {
    let from = |cidrs: &[String], ports: &[u16]| NetworkPolicyIngressRule {
        from: Some(cidrs.iter().map(|cidr| block(cidr)).collect()),
        ports: Some(ports.iter().map(|port| tcp(i32::from(*port))).collect()),
    };
    let mut ingress = vec![from(&plan.public_cidrs, &plan.ports)];
    // An empty list of peers would mean everywhere.
    if !plan.probe_cidrs.is_empty() {
        let ports = [plan.ports.as_slice(), &[plan.health_port]].concat();
        ingress.push(from(&plan.probe_cidrs, &ports));
    }
    let mut by_port: BTreeMap<i32, Vec<NetworkPolicyPeer>> = BTreeMap::new();
    for reach in api_server {
        by_port.entry(reach.port).or_default().push(block(&reach.cidr));
    }
    let egress = by_port
        .into_iter()
        .map(|(port, to)| NetworkPolicyEgressRule { to: Some(to), ports: Some(vec![tcp(port)]) });
    let of_the_controller =
        || LabelSelector { match_labels: Some(plan.pods.clone()), ..LabelSelector::default() };
    let [public, to_api_server] = POLICIES.map(|name| ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(plan.namespace.to_string()),
        ..ObjectMeta::default()
    });
    [
        NetworkPolicy {
            metadata: public,
            spec: Some(NetworkPolicySpec {
                pod_selector: Some(of_the_controller()),
                policy_types: Some(vec!["Ingress".into()]),
                ingress: Some(ingress),
                ..NetworkPolicySpec::default()
            }),
        },
        NetworkPolicy {
            metadata: to_api_server,
            spec: Some(NetworkPolicySpec {
                pod_selector: Some(of_the_controller()),
                policy_types: Some(vec!["Egress".into()]),
                egress: Some(egress.collect()),
                ..NetworkPolicySpec::default()
            }),
        },
    ]
}

fn block(cidr: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: cidr.to_owned(), except: None }),
        ..NetworkPolicyPeer::default()
    }
}

fn tcp(port: i32) -> NetworkPolicyPort {
    NetworkPolicyPort { protocol: Some("TCP".into()), port: Some(IntOrString::Int(port)), end_port: None }
}
