use engine::phase::Kind;
use model::platform::{AzureCredential, AzureDnsSettings, DnsProviderKind, PowerDnsSettings};
use serde_json::json;

use super::*;

fn tenant() -> Tenant {
    testing::acme()
}

fn platform() -> Platform {
    let mut platform = Platform::default();
    platform.dns.provider = DnsProviderKind::PowerDns;
    platform.dns.name_servers = vec!["ns1.matih.ai.".into()];
    platform.dns.powerdns = Some(PowerDnsSettings {
        url: "http://dns".into(),
        parent_url: None,
        api_key: "env:PDNS_API_KEY".parse().unwrap(),
        update_key: None,
        kind: "Native".into(),
    });
    platform
}

fn earlier(address: &str) -> Checkpoints {
    Checkpoints::new(
        [(reads::DEPLOY_INGRESS_CONTROLLER.to_owned(), json!({ "address": address, "more": 1 }))].into(),
    )
}

#[test]
fn the_names_are_the_references() {
    let plan = plan(&tenant(), &platform(), &earlier("20.85.123.45")).unwrap();
    assert_eq!((plan.zone.as_str(), plan.parent.as_str(), plan.ttl), ("acme.matih.ai", "matih.ai", 60));
    let hosts: Vec<String> = plan.hosts().map(|host| host.to_string()).collect();
    assert_eq!(hosts, ["acme.matih.ai", "api.acme.matih.ai", "bi.acme.matih.ai", "*.acme.matih.ai"]);
    assert_eq!(plan.address, Ipv4Addr::new(20, 85, 123, 45));
}

#[test]
fn a_parent_zone_above_the_domain_delegates_too() {
    let mut platform = platform();
    platform.domain = "apps.matih.ai".into();
    platform.dns.parent_zone = Some("matih.ai".into());
    let plan = plan(&tenant(), &platform, &earlier("20.85.123.45")).unwrap();
    assert_eq!((plan.zone.as_str(), plan.parent.as_str()), ("acme.apps.matih.ai", "matih.ai"));
}

#[test]
fn a_setting_or_an_address_that_cannot_be_used_is_fatal_and_named() {
    let fails = |platform: &Platform, earlier: &Checkpoints, code: &str, naming: &str| {
        let error = plan(&tenant(), platform, earlier).unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Fatal, code));
        assert!(error.message.contains(naming) && !error.next_action.is_empty(), "{}", error.message);
    };
    let good = earlier("20.85.123.45");
    fails(&platform(), &Checkpoints::default(), "no_address", reads::DEPLOY_INGRESS_CONTROLLER);
    fails(&platform(), &earlier("lb.example"), "no_address", "lb.example");
    fails(&Platform::default(), &good, "dns_config", "dns.azure");
    let change = |change: fn(&mut Platform)| {
        let mut platform = platform();
        change(&mut platform);
        platform
    };
    fails(&change(|platform| platform.dns.powerdns = None), &good, "dns_config", "dns.powerdns");
    fails(&change(|platform| platform.dns.name_servers.clear()), &good, "dns_config", "dns.name_servers");
    fails(&change(|platform| platform.dns.ttl = 0), &good, "dns_config", "dns.ttl");
    let elsewhere = change(|platform| platform.dns.parent_zone = Some("example.com".into()));
    fails(&elsewhere, &good, "dns_config", "dns.parent_zone");
}

#[test]
fn a_plan_holds_references_to_secrets_and_reads_as_it_was_stored() {
    let mut azure = platform();
    azure.dns.provider = DnsProviderKind::Azure;
    azure.dns.azure = Some(AzureDnsSettings {
        subscription: "s".into(),
        resource_group: "tenants".into(),
        parent_resource_group: Some("platform".into()),
        endpoint: "https://management.azure.com".into(),
        authority: "https://login.microsoftonline.com".into(),
        credential: AzureCredential::ClientSecret {
            tenant_id: "t".into(),
            client_id: "c".into(),
            secret: "k8s:matih-system/azure#secret".parse().unwrap(),
        },
    });
    for platform in [platform(), azure] {
        let plan = plan(&tenant(), &platform, &earlier("20.85.123.45")).unwrap();
        let stored = serde_json::to_value(&plan).unwrap();
        assert!(plan.server.secret().is_some_and(|secret| stored.to_string().contains(&secret.to_string())));
        assert_eq!(serde_json::from_value::<Plan>(stored).unwrap(), plan);
    }
}
