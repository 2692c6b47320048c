//! The objects, built from the plan alone.

use cluster::certificate::Certificate;
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};
use kube::core::ObjectMeta;
use model::platform::DomainChallenge;
use model::{OwnDomain, RunId, TenantId};
use serde_json::json;

use crate::Plan;

/// By which cert-manager answers an HTTP-01 challenge through this class rather than the issuer's own.
const OVERRIDE: &str = "acme.cert-manager.io/http01-override-ingress-ingressclassname";

/// The Service in front of the tenant's API, and its port, as CREATE_TENANT_INGRESS makes it.
const API_GATEWAY: (&str, i32) = ("api-gateway", 8080);

/// The annotation that says which domain an object is for.
pub(crate) fn mark(plan: &Plan) -> String {
    format!("{}/domain", plan.label_prefix)
}

fn named(plan: &Plan, domain: &OwnDomain) -> ObjectMeta {
    ObjectMeta {
        name: Some(plan.name(domain)),
        namespace: Some(plan.namespace.to_string()),
        annotations: Some([(mark(plan), domain.domain.clone())].into()),
        ..ObjectMeta::default()
    }
}

/// Its Secret gets the marks of ownership with it.
pub(crate) fn certificate(plan: &Plan, domain: &OwnDomain, tenant: TenantId, run: RunId) -> Certificate {
    let key = |name: &str| format!("{}/{name}", plan.label_prefix);
    let mut metadata = named(plan, domain);
    if plan.challenge == DomainChallenge::Http01 {
        metadata.annotations.get_or_insert_default().insert(OVERRIDE.to_owned(), plan.class.clone());
    }
    let spec = json!({
        "secretName": plan.name(domain),
        "dnsNames": [domain.domain],
        "issuerRef": { "group": "cert-manager.io", "kind": plan.issuer_kind, "name": plan.issuer },
        "secretTemplate": {
            "labels": { (key("tenant-id")): tenant },
            "annotations": { (key("run-id")): run, (mark(plan)): domain.domain },
        },
        "privateKey": { "algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always" },
    });
    Certificate::new(metadata, spec)
}

/// The tenant's API under the domain, as it is under the tenant's own name.
pub(crate) fn ingress(plan: &Plan, domain: &OwnDomain) -> Ingress {
    let (service, port) = API_GATEWAY;
    Ingress {
        metadata: named(plan, domain),
        spec: Some(IngressSpec {
            ingress_class_name: Some(plan.class.clone()),
            tls: Some(vec![IngressTLS {
                hosts: Some(vec![domain.domain.clone()]),
                secret_name: Some(plan.name(domain)),
            }]),
            rules: Some(vec![IngressRule {
                host: Some(domain.domain.clone()),
                http: Some(HTTPIngressRuleValue {
                    paths: vec![HTTPIngressPath {
                        path: Some("/api".into()),
                        path_type: "Prefix".into(),
                        backend: IngressBackend {
                            service: Some(IngressServiceBackend {
                                name: service.to_owned(),
                                port: Some(ServiceBackendPort { number: Some(port), name: None }),
                            }),
                            resource: None,
                        },
                    }],
                }),
            }]),
            default_backend: None,
        }),
        status: None,
    }
}
