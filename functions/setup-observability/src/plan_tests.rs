use super::*;
use crate::plan::{kept, plan};
use kube::ResourceExt as _;
use serde_json::json;

const ID: &str = "550e8400-e29b-41d4-a716-446655440000";

pub(crate) fn planned() -> Plan {
    planned_for(ID)
}

fn planned_for(id: &str) -> Plan {
    let tenant = Tenant { id: id.parse().unwrap(), tier: Tier::Free, ..testing::acme() };
    let mut platform = Platform::default();
    platform.charts.repository_url = "http://charts.example".into();
    plan(&tenant, &platform).unwrap()
}

/// Provisioning reference, phase 10, "Observability Stack Per Tenant".
#[test]
fn everything_that_leaves_the_collector_says_whose_it_is() {
    let config = config::collector(&planned());
    let stamps = &config["processors"]["resource/tenant"]["attributes"];
    for (key, value) in [("tenant_id", "acme"), ("tenant_uuid", ID), ("namespace", "matih-acme")] {
        let stamp = json!({ "key": key, "value": value, "action": "upsert" });
        assert!(stamps.as_array().unwrap().contains(&stamp), "{key}");
    }
    for (name, pipeline) in config["service"]["pipelines"].as_object().unwrap() {
        assert!(pipeline["processors"].as_array().unwrap().contains(&json!("resource/tenant")), "{name}");
    }
    for (name, exporter) in config["exporters"].as_object().unwrap() {
        assert_eq!(exporter["headers"]["X-Scope-OrgID"], ID, "{name}");
    }
}

#[test]
fn loki_and_tempo_are_told_how_long_to_keep_what_is_the_tenants() {
    let maps = config::config_maps(&planned()).unwrap();
    let of = |name: &str| -> Value {
        let map = maps.iter().find(|map| map.name_any() == name).unwrap();
        serde_json::from_str(map.data.as_ref().unwrap().values().next().unwrap()).unwrap()
    };
    assert_eq!(of("loki-overrides")["overrides"][ID]["retention_period"], "744h");
    assert_eq!(of("tempo-overrides")["overrides"][ID]["compaction"]["block_retention"], "336h");
    for source in of("datasource-observability")["datasources"].as_array().unwrap() {
        assert_eq!(source["jsonData"]["httpHeaderName1"], "X-Scope-OrgID");
        assert_eq!(source["secureJsonData"]["httpHeaderValue1"], ID);
    }
}

/// History outlives its tenant, and the slug is soon free again.
#[test]
fn a_reused_slug_reads_and_writes_nothing_of_its_predecessors() {
    const NEXT: &str = "0b0e5a3c-5f4e-4a5e-9d0c-2f1f4a7b8c9d";
    let told = |id: &str| {
        let maps = config::config_maps(&planned_for(id)).unwrap();
        let texts = maps.into_iter().flat_map(|map| map.data.unwrap());
        texts.map(|(_, text)| text).collect::<Vec<_>>()
    };
    for (before, after) in [(ID, NEXT), (NEXT, ID)] {
        let scopes: Vec<String> = told(after).iter().flat_map(|text| scopes(text)).collect();
        assert_eq!(scopes, [after; 6], "two exporters, two overrides, two data sources");
        assert!(told(after).iter().all(|text| !text.contains(before)));
    }
    for kept in kept(&planned()) {
        assert!(kept.selector.ends_with(&format!("of tenant {ID}")), "{}", kept.selector);
    }
}

/// As whom Loki and Tempo are written to, told of and asked.
fn scopes(text: &str) -> Vec<String> {
    let told: Value = serde_json::from_str(text).unwrap();
    let members = |of: &Value| of.as_object().cloned().unwrap_or_default().into_iter();
    let written = members(&told["exporters"]).map(|(_, to)| to["headers"][TENANT_HEADER].clone());
    let told_of = members(&told["overrides"]).map(|(tenant, _)| Value::from(tenant));
    let sources = told["datasources"].as_array().cloned().unwrap_or_default().into_iter();
    let asked = sources.map(|source| source["secureJsonData"]["httpHeaderValue1"].clone());
    let all = written.chain(told_of).chain(asked);
    all.filter_map(|scope| scope.as_str().map(str::to_owned)).collect()
}

#[test]
fn another_configuration_is_another_pod() {
    let (one, mut other) = (planned(), planned());
    other.loki.ingest_port += 1;
    let annotations = |plan: &Plan| collector::release(plan).values["podAnnotations"].clone();
    assert_eq!(annotations(&one), annotations(&planned()));
    assert_ne!(annotations(&one), annotations(&other));
}
