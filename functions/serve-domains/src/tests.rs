use model::RunId;
use serde_json::json;

use super::*;

fn tenant() -> Tenant {
    Tenant { domains: vec![OwnDomain { number: 3, domain: "portal.acme.example".into() }], ..testing::acme() }
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
