//! The objects, built from the plan alone.

use cluster::Objects;
use cluster::certificate::Certificate;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;
use kube::core::ObjectMeta;
use model::{RunId, TenantId};
use serde_json::json;

use crate::Plan;

/// The Ingress.
pub const INGRESS: &str = "tenant-ingress";
/// The Service in front of the tenant's tenant-api.
pub const API_GATEWAY: &str = "api-gateway";
/// The Service in front of bi-service.
pub const BI_WORKBENCH: &str = "bi-workbench";

/// Service, port, and the application whose pods answer (label `app.kubernetes.io/name`). No phase of the reference makes
/// these Services; its Ingress names them.
const SERVICES: [(&str, i32, &str); 2] =
    [(API_GATEWAY, 8080, "tenant-api"), (BI_WORKBENCH, 3000, "bi-service")];

fn named(plan: &Plan, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(plan.namespace.to_string()),
        ..ObjectMeta::default()
    }
}

/// All of them, in the order in which the phase has them. The Certificate goes last: what it is for must be gone before.
pub(crate) fn all(plan: &Plan) -> Objects {
    let namespace = Some(plan.namespace.as_str());
    let objects = Objects::default().elsewhere::<Certificate>("certificate", namespace, &plan.certificate);
    let services = services(plan).into_iter();
    services
        .fold(objects, |objects, service| {
            let name = service.name_any();
            objects.apply_all("services", &[service]).undone_as(&name)
        })
        .apply("ingress", &ingress(plan))
}

/// What the certificate is for: the tenant's name and all below it.
pub(crate) fn hosts(plan: &Plan) -> Vec<String> {
    vec![plan.host.clone(), format!("*.{}", plan.host)]
}

pub(crate) fn services(plan: &Plan) -> Vec<Service> {
    let service = |(name, port, application): (&str, i32, &str)| Service {
        metadata: named(plan, name),
        spec: Some(ServiceSpec {
            selector: Some([("app.kubernetes.io/name".to_owned(), application.to_owned())].into()),
            ports: Some(vec![ServicePort {
                name: Some("http".into()),
                port,
                target_port: Some(IntOrString::String("http".into())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    SERVICES.into_iter().map(service).collect()
}

/// Its Secret gets the marks of ownership with it.
pub(crate) fn certificate(plan: &Plan, tenant: TenantId, run: RunId) -> Certificate {
    let mark = |name: &str| format!("{}/{name}", plan.label_prefix);
    let spec = json!({
        "secretName": plan.certificate,
        "dnsNames": hosts(plan),
        "issuerRef": { "group": "cert-manager.io", "kind": plan.issuer_kind, "name": plan.issuer },
        "privateKey": { "algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always" },
        "secretTemplate": {
            "labels": { (mark("tenant-id")): tenant },
            "annotations": { (mark("run-id")): run },
        },
    });
    Certificate::new(named(plan, &plan.certificate), spec)
}

/// Provisioning reference, phase 8, "Ingress Resource".
pub(crate) fn ingress(plan: &Plan) -> Ingress {
    let issuer = (plan.issuer_kind.annotation().to_owned(), plan.issuer.clone());
    let rule = |host: String, path: &str, service: &str| IngressRule {
        host: Some(host),
        http: Some(HTTPIngressRuleValue {
            paths: vec![HTTPIngressPath {
                path: Some(path.to_owned()),
                path_type: "Prefix".into(),
                backend: IngressBackend {
                    service: Some(IngressServiceBackend {
                        name: service.to_owned(),
                        port: Some(ServiceBackendPort { number: Some(port_of(service)), name: None }),
                    }),
                    resource: None,
                },
            }],
        }),
    };
    Ingress {
        metadata: ObjectMeta { annotations: Some([issuer].into()), ..named(plan, INGRESS) },
        spec: Some(IngressSpec {
            ingress_class_name: Some(plan.class.clone()),
            tls: Some(vec![IngressTLS {
                hosts: Some(hosts(plan)),
                secret_name: Some(plan.certificate.clone()),
            }]),
            rules: Some(vec![
                rule(plan.host.clone(), "/api", API_GATEWAY),
                rule(format!("bi.{}", plan.host), "/", BI_WORKBENCH),
            ]),
            default_backend: None,
        }),
        status: None,
    }
}

fn port_of(service: &str) -> i32 {
    SERVICES.iter().find(|(name, ..)| *name == service).map_or(0, |(_, port, _)| *port)
}
