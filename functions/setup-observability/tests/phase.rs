//! The phase on a real API server and with a real collector. What it makes is read back from there.
#![expect(clippy::unwrap_used, reason = "clippy knows only functions marked as tests for tests")]

#[path = "../../deploy-monitoring/tests/phase/world.rs"]
mod world;

use engine::phase::Scope;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, ListParams};
use model::{RunId, Tier};
use serde_json::{Value, json};
use setup_observability::{COLLECTOR, KEY, LOGS, SetupObservability};

use world::checked;

type World = world::World<SetupObservability>;

#[tokio::test]
async fn a_tenants_logs_and_traces_arrive_stamped_and_nothing_but_history_stays() {
    let world = World::new(Tier::Free).await;
    let before = world.listing();
    let checkpoint = world.apply().await;

    // What was sent through a collector of the configuration that the API server has, came out stamped.
    let written: Value = last(&world);
    let tried = &operation(&written, "log and trace pipeline")["result"];
    assert_eq!(
        tried["logLine"]["tenant"],
        json!(world.tenant.id),
        "not the slug, which is free again one day"
    );
    assert_eq!(tried["logLine"]["arrivedAt"], "/otlp/v1/logs");
    assert_eq!(tried["span"]["tenant"], json!(world.tenant.id));
    assert_eq!(tried["span"]["arrivedAt"], "/v1/traces");
    assert!(tried["simulated"].as_str().unwrap().contains("receivers in memory for Loki and Tempo"));
    assert_eq!(collectors(), [0; 0], "no collector outlives the step");

    // The configurations are the collector's own kind.
    let maps: Api<ConfigMap> = world.api();
    let mut texts = Vec::new();
    for name in [COLLECTOR, LOGS] {
        texts.push(maps.get(name).await.unwrap().data.unwrap().remove(KEY).unwrap());
    }
    checked(&["otelcol", "validate", "--config"], "collector.yaml", &texts[0]);
    checked(&["otelcol", "validate", "--config"], "node.yaml", &texts[1]);
    assert!(texts[0].contains(&format!("\"value\": \"{}\"", world.tenant.id)), "{}", texts[0]);

    // As whom it is kept, and asked for by Grafana.
    for (name, key, at) in [
        ("loki-overrides", "overrides.yaml", format!("/overrides/{}/retention_period", world.tenant.id)),
        ("tempo-overrides", "overrides.yaml", format!("/overrides/{}/compaction", world.tenant.id)),
        (
            "datasource-observability",
            "observability.yaml",
            "/datasources/0/secureJsonData/httpHeaderValue1".into(),
        ),
    ] {
        let text = maps.get(name).await.unwrap().data.unwrap().remove(key).unwrap();
        let told: Value = serde_json::from_str(&text).unwrap();
        assert!(told.pointer(&at).is_some(), "{name}: {text}");
        assert!(text.contains(&world.tenant.id.to_string()), "{name}: {text}");
    }

    // One pod, within the quota, reached and reaching by the policies that choose it.
    let pods: Api<Pod> = world.api();
    let quota = world.api::<ResourceQuota>().get("tenant-quota").await.unwrap();
    let used = quota.status.unwrap().used.unwrap();
    let used =
        ["requests.cpu", "limits.cpu", "requests.memory", "limits.memory"].map(|key| used[key].0.clone());
    assert_eq!(used, ["100m", "150m", "192Mi", "512Mi"]);
    let chosen = ListParams::default().labels("app.kubernetes.io/name=opentelemetry-collector");
    assert_eq!(pods.list(&chosen).await.unwrap().items.len(), 1);
    let policy = world.api::<NetworkPolicy>().get("allow-collector-egress").await.unwrap();
    let policy = serde_json::to_value(policy.spec.unwrap()).unwrap();
    assert_eq!(
        policy["podSelector"]["matchLabels"],
        json!({ "app.kubernetes.io/name": "opentelemetry-collector" })
    );
    assert_eq!(policy["egress"].as_array().unwrap().len(), 2);

    // A later run changes nothing, and its rollback takes nothing.
    let made = world.listing();
    let later = RunId::generate();
    world.apply_in(later).await;
    assert_eq!(world.listing(), made);
    world.revert_of(later, Scope::Run).await;
    assert_eq!(world.listing(), made);

    // Undone, twice; what Loki and Tempo keep is said before.
    let kept: Vec<(&str, u32)> =
        checkpoint.kept.iter().map(|kept| (kept.system.as_str(), kept.hours)).collect();
    assert_eq!(kept, [("Loki", 744), ("Tempo", 336)]);
    world.revert(Scope::Run).await;
    world.until_listed(&before).await;
    world.revert(Scope::Run).await;
}

#[tokio::test]
async fn what_belongs_to_somebody_else_is_left_as_it_is() {
    let world = World::new(Tier::Free).await;
    let theirs = json!({ "metadata": { "name": COLLECTOR }, "data": { "theirs": "1" } });
    world.create::<ConfigMap>(&theirs).await;
    assert_eq!(world.fails().await.code, "foreign_object");
    world.revert(Scope::Tenant).await;
    let after = world.api::<ConfigMap>().get(COLLECTOR).await.unwrap();
    assert_eq!(serde_json::to_value(after.data).unwrap(), json!({ "theirs": "1" }));
    assert!(after.metadata.labels.is_none(), "it is not marked as the tenant's");
}

/// The operations as they were written last.
fn last(world: &World) -> Value {
    let written = world.written();
    let all = serde_json::Deserializer::from_str(&written).into_iter::<Value>();
    all.last().unwrap().unwrap()
}

fn operation<'a>(operations: &'a Value, name: &str) -> &'a Value {
    operations.as_array().unwrap().iter().find(|operation| operation["name"] == name).unwrap()
}

/// The collectors that this process has started, and that are still there.
fn collectors() -> Vec<u32> {
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().unwrap_or_default().split_whitespace().nth(1).map(str::to_owned);
        if parent.as_deref() == Some(&own) && stat.contains("(otelcol)") {
            found.push(id);
        }
    }
    found
}
