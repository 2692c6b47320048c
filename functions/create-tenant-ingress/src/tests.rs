use model::RunId;
use serde_json::json;

use super::*;

fn tenant() -> Tenant {
    testing::acme()
}

/// Provisioning reference, phase 8, "Ingress Resource", word for word.
#[test]
fn the_ingress_is_the_references() {
    let plan = plan(&tenant(), &Platform::default(), &Checkpoints::default()).unwrap();
    assert_eq!(
        serde_json::to_value(objects::ingress(&plan)).unwrap(),
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {
                "name": "tenant-ingress",
                "namespace": "matih-acme",
                "annotations": { "cert-manager.io/cluster-issuer": "letsencrypt-prod-dns01" },
            },
            "spec": {
                "ingressClassName": "nginx-acme",
                "tls": [{ "hosts": ["acme.matih.ai", "*.acme.matih.ai"], "secretName": "acme-tls-certificate" }],
                "rules": [
                    { "host": "acme.matih.ai", "http": { "paths": [{
                        "path": "/api", "pathType": "Prefix",
                        "backend": { "service": { "name": "api-gateway", "port": { "number": 8080 } } },
                    }] } },
                    { "host": "bi.acme.matih.ai", "http": { "paths": [{
                        "path": "/", "pathType": "Prefix",
                        "backend": { "service": { "name": "bi-workbench", "port": { "number": 3000 } } },
                    }] } },
                ],
            },
        })
    );
}

#[test]
fn the_certificate_is_for_both_names_and_marks_its_secret() {
    let plan = plan(&tenant(), &Platform::default(), &Checkpoints::default()).unwrap();
    let run = RunId::generate();
    let certificate = objects::certificate(&plan, tenant().id, run);
    assert_eq!(certificate.metadata.name.as_deref(), Some("acme-tls-certificate"));
    for (key, value) in [
        ("secretName", json!("acme-tls-certificate")),
        ("dnsNames", json!(["acme.matih.ai", "*.acme.matih.ai"])),
        (
            "issuerRef",
            json!({ "group": "cert-manager.io", "kind": "ClusterIssuer", "name": "letsencrypt-prod-dns01" }),
        ),
        (
            "secretTemplate",
            json!({
                "labels": { "matih.ai/tenant-id": "550e8400-e29b-41d4-a716-446655440000" },
                "annotations": { "matih.ai/run-id": run },
            }),
        ),
    ] {
        assert_eq!(certificate.spec[key], value, "{key}");
    }
}

#[test]
fn another_platforms_names_and_issuer_are_followed() {
    let mut platform = Platform { domain: "example.com".into(), ..Platform::default() };
    platform.certificates.issuer = "corporate".into();
    platform.certificates.issuer_kind = IssuerKind::Issuer;
    platform.ingress.class = "edge-{slug}".into();
    let plan = plan(&tenant(), &platform, &Checkpoints::default()).unwrap();
    let ingress = objects::ingress(&plan);
    assert_eq!(ingress.metadata.annotations.unwrap()["cert-manager.io/issuer"], "corporate");
    assert_eq!(ingress.spec.unwrap().ingress_class_name.as_deref(), Some("edge-acme"));
    let certificate = objects::certificate(&plan, tenant().id, RunId::generate());
    assert_eq!(certificate.spec["issuerRef"]["kind"], "Issuer");
    assert_eq!(certificate.spec["dnsNames"], json!(["acme.example.com", "*.acme.example.com"]));
}

#[test]
fn the_routes_services_stand_in_front_of_tenant_api_and_bi_service() {
    let plan = plan(&tenant(), &Platform::default(), &Checkpoints::default()).unwrap();
    let services: Vec<_> =
        objects::services(&plan).into_iter().map(|it| serde_json::to_value(it).unwrap()).collect();
    for (service, (name, port, application)) in
        services.iter().zip([("api-gateway", 8080, "tenant-api"), ("bi-workbench", 3000, "bi-service")])
    {
        assert_eq!(service["metadata"]["name"], name);
        assert_eq!(service["spec"]["selector"], json!({ "app.kubernetes.io/name": application }));
        assert_eq!(service["spec"]["ports"], json!([{ "name": "http", "port": port, "targetPort": "http" }]));
    }
}

#[test]
fn the_tenants_own_instance_is_awaited_where_there_is_one() {
    let platform = Platform::default();
    assert_eq!(plan(&tenant(), &platform, &Checkpoints::default()).unwrap().serves, None);
    let provisioned = json!({ "deployment": "tenant-api", "containerId": "a", "endpoint": "http://a" });
    let earlier = Checkpoints::new([("PROVISION_DEPLOYMENT".to_owned(), provisioned)].into());
    let planned = plan(&tenant(), &platform, &earlier).unwrap();
    assert_eq!(planned.serves.unwrap().deployment, "tenant-api");
}
