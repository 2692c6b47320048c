use super::*;
use serde_json::json;
use shared::model::{Alerting, DeploymentType};

fn planned() -> Plan {
    let tenant = Tenant {
        id: "550e8400-e29b-41d4-a716-446655440000".parse().unwrap(),
        slug: "acme".parse().unwrap(),
        name: "Acme".into(),
        tier: Tier::Free,
        region: "eastus".into(),
        admin_email: "admin@acme.example".into(),
        deployment_type: DeploymentType::ContainerPerTenant,
        has_dedicated_database: true,
        cost_center: None,
        alerting: Alerting::default(),
        suspended: false,
        container: shared::model::Container::default(),
        domains: Vec::new(),
        created_by: "admin@matih.ai".into(),
        created_at: "2026-02-12T10:00:00Z".parse().unwrap(),
    };
    let mut platform = Platform::default();
    platform.charts.repository_url = "http://charts.example".into();
    plan(&tenant, &platform).unwrap()
}

/// Provisioning reference, phase 10, "Observability Stack Per Tenant".
#[test]
fn everything_that_leaves_the_collector_says_whose_it_is() {
    let config = config::collector(&planned());
    let stamps = &config["processors"]["resource/tenant"]["attributes"];
    for (key, value) in [
        ("tenant_id", "acme"),
        ("tenant_uuid", "550e8400-e29b-41d4-a716-446655440000"),
        ("namespace", "matih-acme"),
    ] {
        let stamp = json!({ "key": key, "value": value, "action": "upsert" });
        assert!(stamps.as_array().unwrap().contains(&stamp), "{key}");
    }
    for (name, pipeline) in config["service"]["pipelines"].as_object().unwrap() {
        assert!(pipeline["processors"].as_array().unwrap().contains(&json!("resource/tenant")), "{name}");
    }
    for (name, exporter) in config["exporters"].as_object().unwrap() {
        assert_eq!(exporter["headers"]["X-Scope-OrgID"], "acme", "{name}");
    }
}

#[test]
fn loki_and_tempo_are_told_how_long_to_keep_what_is_the_tenants() {
    let maps = config::config_maps(&planned()).unwrap();
    let of = |name: &str| -> Value {
        let map = maps.iter().find(|map| map.name_any() == name).unwrap();
        serde_json::from_str(map.data.as_ref().unwrap().values().next().unwrap()).unwrap()
    };
    assert_eq!(of("loki-overrides")["overrides"]["acme"]["retention_period"], "744h");
    assert_eq!(of("tempo-overrides")["overrides"]["acme"]["compaction"]["block_retention"], "336h");
    for source in of("datasource-observability")["datasources"].as_array().unwrap() {
        assert_eq!(source["jsonData"]["httpHeaderName1"], "X-Scope-OrgID");
        assert_eq!(source["secureJsonData"]["httpHeaderValue1"], "acme");
    }
}

#[test]
fn another_configuration_is_another_pod() {
    let (one, mut other) = (planned(), planned());
    other.loki.ingest_port += 1;
    let annotations = |plan: &Plan| collector::release(plan).values["podAnnotations"].clone();
    assert_eq!(annotations(&one), annotations(&planned()));
    assert_ne!(annotations(&one), annotations(&other));
}
