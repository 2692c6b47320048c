//! The phase on a real API server and with real collectors. What it makes is read back from there.
#![expect(clippy::unwrap_used, reason = "clippy knows only functions marked as tests for tests")]

#[path = "../../deploy-monitoring/tests/phase/world.rs"]
mod world;

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use engine::phase::Scope;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, ListParams};
use model::{RunId, Tier};
use reqwest::Client;
use serde_json::{Value, json};
use setup_observability::{COLLECTOR, KEY, LOGS, SetupObservability, TENANT_HEADER};
use tempfile::TempDir;
use testing::required;

use world::checked;

type World = world::World<SetupObservability>;

#[tokio::test]
async fn a_tenants_logs_and_traces_arrive_stamped_and_nothing_but_history_stays() {
    let world = World::new(Tier::Free).await;
    let before = world.listing();
    let checkpoint = world.apply().await;

    // What was sent through a collector of the configuration that the API server has is the tenant's, and nobody else's.
    let written: Value = last(&world);
    let tried = &operation(&written, "log and trace pipeline")["result"];
    let mark = tried["logLine"]["mark"].as_str().unwrap();
    let labels = labels_of(&world, &world.tenant.id.to_string(), mark).await.unwrap();
    assert_eq!(labels["tenant_id"], world.tenant.slug.as_str(), "not what the sender claims");
    assert_eq!(labels["tenant_uuid"], json!(world.tenant.id));
    assert_eq!(
        labels_of(&world, world.tenant.slug.as_str(), mark).await,
        None,
        "the slug is free again one day"
    );
    let trace =
        format!("{}/api/traces/{}", required("TEMPO_URL"), tried["span"]["traceId"].as_str().unwrap());
    let as_another = Client::new().get(&trace).header(TENANT_HEADER, world.tenant.slug.as_str());
    assert_eq!(as_another.send().await.unwrap().status(), 404);

    // The configurations are the collector's own kind.
    let maps: Api<ConfigMap> = world.api();
    let mut texts = Vec::new();
    for name in [COLLECTOR, LOGS] {
        texts.push(maps.get(name).await.unwrap().data.unwrap().remove(KEY).unwrap());
    }
    checked(&["otelcol", "validate", "--config"], "collector.yaml", &texts[0]);
    checked(&["otelcol", "validate", "--config"], "node.yaml", &texts[1]);
    assert!(texts[0].contains(&format!("\"value\": \"{}\"", world.tenant.id)), "{}", texts[0]);

    // What a pod writes comes through both: the node's file, the tenant's collector, Loki.
    let word = format!("pod-{}", world.tenant.id);
    let _collector = collect(&world, &texts, &word);
    assert_eq!(logged(&world, &word).await["tenant_uuid"], json!(world.tenant.id));

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

/// The labels of the tenant's line with this word, as Loki tells whoever asks in this name.
async fn labels_of(world: &World, asked_as: &str, word: &str) -> Option<Value> {
    let query = format!("{{namespace=\"{}\"}} |= \"{word}\"", world.namespace);
    let url = format!("{}/loki/api/v1/query_range", required("LOKI_URL"));
    let asked = Client::new().get(url).query(&[("query", &query)]).header(TENANT_HEADER, asked_as);
    let answer: Value = asked.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
    answer.pointer("/data/result/0/stream").cloned()
}

/// As [`labels_of`], once the line is there.
async fn logged(world: &World, word: &str) -> Value {
    let began = Instant::now();
    loop {
        if let Some(labels) = labels_of(world, &world.tenant.id.to_string(), word).await {
            return labels;
        }
        assert!(began.elapsed() < testing::WITHIN, "{word} has not arrived");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A collector that ends with the test.
struct Collector {
    process: Child,
    _folder: TempDir,
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A collector with both configurations, of the tenant and of the node, where a pod of the tenant has written the word.
fn collect(world: &World, configurations: &[String], word: &str) -> Collector {
    let folder = tempfile::tempdir().unwrap();
    let pod = folder.path().join(format!("pods/{}_pod_{}/main", world.namespace, world.tenant.id));
    std::fs::create_dir_all(&pod).unwrap();
    let line = format!("2026-01-01T00:00:00.000000000Z stdout F {word}\n");
    std::fs::write(pod.join("0.log"), line).unwrap();
    let mut command = Command::new("otelcol");
    for (name, text) in ["collector.yaml", "node.yaml"].iter().zip(configurations) {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        command.arg(format!("--config={}", path.display()));
    }
    let ports = [free_port(), free_port(), free_port()];
    let [http, grpc, health] = ports.map(|port| format!("127.0.0.1:{port}"));
    command
        .env("OTLP_HTTP_ENDPOINT", &http)
        .env("OTLP_GRPC_ENDPOINT", grpc)
        .env("HEALTH_ENDPOINT", health)
        .env("TENANT_COLLECTOR_ENDPOINT", format!("http://{http}"))
        .env("LOKI_ENDPOINT", format!("{}/otlp", required("LOKI_URL")))
        .env("TEMPO_ENDPOINT", required("TEMPO_URL"))
        .env("OTLP_ENCODING", "json")
        .env("OTLP_COMPRESSION", "none")
        .env("BATCH_TIMEOUT", "50ms")
        .env("POD_LOGS", folder.path().join("pods"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Collector { process: command.spawn().unwrap(), _folder: folder }
}

/// That nobody has at this moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
