use model::{DeploymentType, RunId, Tier};
use serde_json::json;

use super::*;

fn tenant() -> Tenant {
    Tenant {
        id: "550e8400-e29b-41d4-a716-446655440000".parse().unwrap(),
        slug: "acme".parse().unwrap(),
        name: "Acme".into(),
        tier: Tier::Professional,
        region: "eastus".into(),
        admin_email: "admin@acme.example".into(),
        deployment_type: DeploymentType::ContainerPerTenant,
        has_dedicated_database: true,
        cost_center: None,
        alerting: model::Alerting::default(),
        suspended: false,
        container: model::Container::default(),
        domains: vec![OwnDomain { number: 3, domain: "portal.acme.example".into() }],
        created_by: "admin@matih.ai".into(),
        created_at: "2026-02-12T10:00:00Z".parse().unwrap(),
    }
}

#[test]
fn a_domains_objects_are_named_after_its_number() {
    let plan = plan(&tenant(), &Platform::default()).unwrap();
    let domain = &plan.domains[0];
    let certificate = objects::certificate(&plan, domain, tenant().id, RunId::generate());
    let ingress = serde_json::to_value(objects::ingress(&plan, domain)).unwrap();
    assert_eq!(certificate.metadata.name.as_deref(), Some("acme-domain-3"));
    assert_eq!(certificate.spec["secretName"], "acme-domain-3");
    assert_eq!(certificate.spec["dnsNames"], json!(["portal.acme.example"]));
    assert_eq!(certificate.spec["issuerRef"]["name"], "letsencrypt-prod-dns01");
    assert_eq!(
        ingress["spec"]["tls"],
        json!([{ "hosts": ["portal.acme.example"], "secretName": "acme-domain-3" }])
    );
    assert_eq!(ingress["spec"]["ingressClassName"], "nginx-acme");
    let annotations = &ingress["metadata"]["annotations"];
    assert_eq!(
        annotations,
        &json!({ "matih.ai/domain": "portal.acme.example" }),
        "no issuer: it would make a second"
    );
}

#[test]
fn another_challenge_and_issuer_are_followed() {
    let mut platform = Platform::default();
    platform.domains.challenge = DomainChallenge::Http01;
    platform.domains.issuer = "letsencrypt-http01".into();
    let plan = plan(&tenant(), &platform).unwrap();
    let certificate = objects::certificate(&plan, &plan.domains[0], tenant().id, RunId::generate());
    assert_eq!(certificate.spec["issuerRef"]["name"], "letsencrypt-http01");
    let annotations = certificate.metadata.annotations.unwrap();
    assert_eq!(annotations["acme.cert-manager.io/http01-override-ingress-ingressclassname"], "nginx-acme");
    assert_eq!(platform.delegated_challenge("acme", 3), None);
}
