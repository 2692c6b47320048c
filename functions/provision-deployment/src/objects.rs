//! The objects, built from the plan alone.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{Secret, Service, ServiceAccount, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec, ServiceBackendPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::ObjectMeta;
use model::secret;

use crate::Plan;

mod pod;

pub(crate) use pod::{DATABASE_FOLDER, INTERNAL_FOLDER, JOBS_FOLDER, LICENSE_FOLDER, STORAGE_FOLDER};

/// Deployment, ServiceAccount, Ingress, and the Service with the pods that are ready.
pub const NAME: &str = "tenant-api";
/// The Service with all of its pods, ready or not: the control plane asks an instance that has no database yet to make it.
pub const CONTROL_SERVICE: &str = "tenant-api-control";
/// The Secret with what the instance accepts as internal secrets.
pub const INTERNAL_SECRET: &str = "tenant-api-internal";
/// The Secret with the login to the job broker.
pub const JOBS_SECRET: &str = "tenant-api-jobs";
/// The NetworkPolicy from the control plane to the instance.
pub const POLICY: &str = "allow-control-plane-to-tenant-api";
/// The NetworkPolicy from the instance to the job broker.
pub const JOBS_POLICY: &str = "allow-tenant-api-to-job-broker";

/// Where the instance listens; `api-gateway` of CREATE_TENANT_INGRESS reaches it by the port's name.
pub(crate) const PORT: i32 = 8080;
const PORT_NAME: &str = "http";

/// How the control plane reaches the instance.
pub(crate) fn endpoint(plan: &Plan) -> String {
    format!("http://{CONTROL_SERVICE}.{}.svc:{PORT}", plan.namespace)
}

pub(crate) fn named(plan: &Plan, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(plan.namespace.to_string()),
        ..ObjectMeta::default()
    }
}

/// What selects the instance's pods, here and for the Service `api-gateway`.
pub(crate) fn selector() -> BTreeMap<String, String> {
    [("app.kubernetes.io/name".to_owned(), NAME.to_owned())].into()
}

pub(crate) fn internal_secret(plan: &Plan, accepted: &[secret::Secret]) -> Secret {
    // Both are always there, and an empty one is none: a key that a later apply left out would stay as it was.
    let value = |nth: usize| accepted.get(nth).map(|secret| secret.expose().as_bytes().to_vec());
    let data = ["current", "former"].into_iter().enumerate();
    let data = data.map(|(nth, name)| (name.to_owned(), ByteString(value(nth).unwrap_or_default())));
    Secret {
        metadata: named(plan, INTERNAL_SECRET),
        type_: Some("Opaque".to_owned()),
        data: Some(data.collect()),
        ..Secret::default()
    }
}

/// An account without rights: the instance asks nothing of the API server.
pub(crate) fn service_account(plan: &Plan) -> ServiceAccount {
    ServiceAccount {
        metadata: named(plan, NAME),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// The tenant's ingress controller and its own services reach it by the policies of CONFIGURE_NETWORKING.
pub(crate) fn policy(plan: &Plan) -> NetworkPolicy {
    let control_plane =
        [("kubernetes.io/metadata.name".to_owned(), plan.control_plane_namespace.clone())].into();
    let from = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some(control_plane),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    };
    let port = NetworkPolicyPort {
        protocol: Some("TCP".into()),
        port: Some(IntOrString::Int(PORT)),
        end_port: None,
    };
    NetworkPolicy {
        metadata: named(plan, POLICY),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(selector()), ..LabelSelector::default() }),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(vec![NetworkPolicyIngressRule { from: Some(vec![from]), ports: Some(vec![port]) }]),
            ..NetworkPolicySpec::default()
        }),
    }
}

pub(crate) fn services(plan: &Plan) -> [Service; 2] {
    // Its port has another name: Prometheus scrapes what is named `http`, and would have the same pods twice.
    [(NAME, PORT_NAME, None), (CONTROL_SERVICE, "internal", Some(true))].map(|(name, port, unready)| {
        Service {
            metadata: named(plan, name),
            spec: Some(ServiceSpec {
                selector: Some(selector()),
                publish_not_ready_addresses: unready,
                ports: Some(vec![ServicePort {
                    name: Some(port.to_owned()),
                    port: PORT,
                    target_port: Some(IntOrString::String(PORT_NAME.into())),
                    ..ServicePort::default()
                }]),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        }
    })
}

pub(crate) fn deployment(plan: &Plan) -> Deployment {
    Deployment {
        metadata: named(plan, NAME),
        spec: DeploymentSpec {
            replicas: Some(plan.size.replicas),
            selector: LabelSelector { match_labels: Some(selector()), ..LabelSelector::default() },
            // The tier's quota has room for one more.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: pod::template(plan),
            ..DeploymentSpec::default()
        },
        ..Deployment::default()
    }
}

/// Only what is the tenant's: the internal interface is at another path, and stays within the cluster. The certificate is of
/// CREATE_TENANT_INGRESS and valid for all names below the tenant's.
pub(crate) fn ingress(plan: &Plan) -> Ingress {
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: NAME.to_owned(),
            port: Some(ServiceBackendPort { number: Some(PORT), name: None }),
        }),
        resource: None,
    };
    let path = HTTPIngressPath { path: Some("/api".into()), path_type: "Prefix".into(), backend };
    Ingress {
        metadata: named(plan, NAME),
        spec: Some(IngressSpec {
            ingress_class_name: Some(plan.class.clone()),
            tls: Some(vec![IngressTLS {
                hosts: Some(vec![plan.host.clone()]),
                secret_name: Some(plan.certificate.clone()),
            }]),
            rules: Some(vec![IngressRule {
                host: Some(plan.host.clone()),
                http: Some(HTTPIngressRuleValue { paths: vec![path] }),
            }]),
            ..IngressSpec::default()
        }),
        ..Ingress::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{ID, planned as plan, platform, tenant};
    use model::Tier;
    use serde_json::{Value, json};

    fn planned() -> Plan {
        plan(&tenant(Tier::Free), &platform()).unwrap()
    }

    fn value(object: impl serde::Serialize) -> Value {
        serde_json::to_value(object).unwrap()
    }

    #[test]
    fn the_services_of_this_and_of_the_ingress_phase_select_its_pods_by_name_and_port() {
        let plan = planned();
        let deployment = value(deployment(&plan));
        let pods = &deployment["spec"]["template"];
        // As CREATE_TENANT_INGRESS has it for `api-gateway`.
        assert_eq!(pods["metadata"]["labels"]["app.kubernetes.io/name"], "tenant-api");
        assert_eq!(pods["metadata"]["labels"]["matih.ai/tenant-id"], ID);
        assert_eq!(pods["metadata"]["annotations"], Value::Null, "run and epoch are on no pod");
        let ports = &pods["spec"]["containers"][0]["ports"];
        assert_eq!(*ports, json!([{ "name": "http", "containerPort": 8080 }]));
        for service in services(&plan).map(value) {
            assert_eq!(service["spec"]["selector"], json!({ "app.kubernetes.io/name": "tenant-api" }));
            assert_eq!(service["spec"]["ports"][0]["targetPort"], "http");
        }
        let [ready, all] = services(&plan).map(value);
        assert_eq!(ready["spec"]["publishNotReadyAddresses"], Value::Null);
        assert_eq!(all["spec"]["publishNotReadyAddresses"], true);
        assert_eq!(endpoint(&plan), "http://tenant-api-control.matih-acme.svc:8080");
    }

    #[test]
    fn the_public_is_let_to_its_api_and_nothing_else_of_it() {
        let ingress = value(ingress(&planned()));
        assert_eq!(ingress["spec"]["ingressClassName"], "nginx-acme");
        assert_eq!(
            ingress["spec"]["tls"],
            json!([{ "hosts": ["api.acme.matih.ai"], "secretName": "acme-tls-certificate" }])
        );
        let rules = ingress["spec"]["rules"].as_array().unwrap();
        assert_eq!((rules.len(), &rules[0]["host"]), (1, &json!("api.acme.matih.ai")));
        let paths = rules[0]["http"]["paths"].as_array().unwrap();
        assert_eq!((paths.len(), &paths[0]["path"]), (1, &json!("/api")));
    }

    #[test]
    fn the_control_plane_reaches_its_one_port() {
        assert_eq!(
            value(policy(&planned()))["spec"],
            json!({
                "podSelector": { "matchLabels": { "app.kubernetes.io/name": "tenant-api" } },
                "policyTypes": ["Ingress"],
                "ingress": [{
                    "from": [{ "namespaceSelector": { "matchLabels": {
                        "kubernetes.io/metadata.name": "matih-system",
                    } } }],
                    "ports": [{ "protocol": "TCP", "port": 8080 }],
                }],
            })
        );
    }

    #[test]
    fn a_former_secret_is_accepted_beside_the_current_one() {
        let accepted = ["new", "old"].map(secret::Secret::new);
        let data = |accepted| -> Vec<(String, String)> {
            let data = internal_secret(&planned(), accepted).data.unwrap().into_iter();
            data.map(|(name, value)| (name, String::from_utf8(value.0).unwrap())).collect()
        };
        let both = [("current".to_owned(), "new".to_owned()), ("former".to_owned(), "old".to_owned())];
        assert_eq!(data(&accepted), both);
        let one = [("current".to_owned(), "new".to_owned()), ("former".to_owned(), String::new())];
        assert_eq!(data(&accepted[..1]), one);
    }
}
