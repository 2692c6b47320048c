//! The phase on a real API server with the real Prometheus operator: what it makes is read back from there, and the rules
//! and the routing that the operator rendered from it are put before Prometheus's and Alertmanager's own tools.
#![expect(clippy::unwrap_used, reason = "clippy knows only functions marked as tests for tests")]

mod rules;
mod world;

use std::process::{Command, Stdio};

use deploy_monitoring::DeployMonitoring;
use engine::phase::{Kind, Scope};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ResourceQuota, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use model::platform::Seconds;
use model::{Alerting, RunId, Tier};
use serde_json::{Value, json};

use world::{checked, run_on};

type World = world::World<DeployMonitoring>;

const WEBHOOK: &str = "https://hooks.slack.example/services/T0/B0/not-to-be-seen";

/// Slack by a Secret of the tenant's own namespace.
fn with_slack(world: &mut World) {
    world.tenant.alerting = Alerting {
        email: Some("ops@acme.example".into()),
        slack_webhook_ref: Some(format!("k8s:{}/slack#url", world.namespace).parse().unwrap()),
    };
}

#[tokio::test]
async fn a_free_tenants_monitoring_runs_within_its_quota_sees_its_namespace_only_and_goes_whole() {
    let mut world = World::new(Tier::Free).await;
    with_slack(&mut world);
    let webhook = json!({ "metadata": { "name": "slack" }, "stringData": { "url": WEBHOOK } });
    world.create::<Secret>(&webhook).await;
    let before = world.listing();
    world.apply().await;

    // What runs: three pods, each with its whole share, counted by the quota.
    let pods: Api<Pod> = world.api();
    let mut names: Vec<String> =
        pods.list(&ListParams::default()).await.unwrap().iter().map(ResourceExt::name_any).collect();
    names.sort();
    let slug = &world.tenant.slug;
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(names[0], format!("alertmanager-{slug}-0"));
    assert!(names[1].starts_with(&format!("grafana-{slug}-")));
    assert_eq!(names[2], format!("prometheus-{slug}-0"));
    let quota = world.api::<ResourceQuota>().get("tenant-quota").await.unwrap();
    let used = quota.status.unwrap().used.unwrap();
    let used =
        ["requests.cpu", "limits.cpu", "requests.memory", "limits.memory"].map(|key| used[key].0.clone());
    assert_eq!(used, ["250m", "400m", "480Mi", "1280Mi"]);

    // What it may see: its own namespace, and no Secret of it.
    for role in world.api::<Role>().list(&ListParams::default()).await.unwrap() {
        for rule in role.rules.iter().flatten() {
            let resources = rule.resources.clone().unwrap_or_default();
            assert!(!resources.iter().any(|it| it == "secrets" || it == "*"), "{}", role.name_any());
        }
    }
    let id = world.tenant.id.to_string();
    let everywhere = ListParams::default().labels(&format!("matih.ai/tenant-id={id}"));
    assert_eq!(
        Api::<ClusterRole>::all(world.api::<Role>().into_client())
            .list(&everywhere)
            .await
            .unwrap()
            .items
            .len(),
        0
    );
    let rendered = unzipped(&world, &format!("prometheus-{slug}"), "prometheus.yaml.gz").await;
    let discoveries = rendered.matches("kubernetes_sd_configs:").count();
    let words = rendered.split_whitespace().collect::<Vec<_>>().join(" ");
    let within = format!("namespaces: names: - {} ", world.namespace);
    assert!(discoveries >= 3, "services, ingress and Alertmanager: {rendered}");
    assert_eq!(words.matches(&within).count(), discoveries, "each in its own namespace only: {rendered}");
    assert!(rendered.contains(&format!("namespace=\"{}\"}}", world.namespace)), "{rendered}");

    // Whom it tells: by mail and by Slack.
    let routing = unzipped(&world, &format!("alertmanager-{slug}-generated"), "alertmanager.yaml.gz").await;
    let said = checked(&["amtool", "check-config"], "alertmanager.yml", &routing);
    assert!(said.contains("SUCCESS") && said.contains("2 receivers"), "{said}");
    assert!(routing.contains("to: ops@acme.example"), "{routing}");
    assert!(routing.contains(&format!("api_url: {WEBHOOK}")), "the operator read the Secret");
    let route = ["amtool", "config", "routes", "test", "--config.file"];
    let labels = [&format!("namespace={}", world.namespace), "severity=critical", "alertname=PodRestart"];
    let receiver = run_on(&route, "alertmanager.yml", &routing, &labels);
    assert_eq!(receiver.lines().next().unwrap(), format!("{}/tenant/tenant", world.namespace));

    // The rules as the operator hands them to Prometheus.
    let files: Api<ConfigMap> = world.api();
    let files = files.get(&format!("prometheus-{slug}-rulefiles-0")).await.unwrap();
    let rules = files.data.unwrap().into_values().next().unwrap();
    rules::hold(&world, &rules);

    // Grafana's sidecars find what they look for.
    let labelled = |label: &str| ListParams::default().labels(&format!("{label}=1"));
    let maps: Api<ConfigMap> = world.api();
    assert_eq!(maps.list(&labelled("grafana_dashboard")).await.unwrap().items.len(), 2);
    assert_eq!(maps.list(&labelled("grafana_datasource")).await.unwrap().items.len(), 1);
    let policies: Api<NetworkPolicy> = world.api();
    for policy in ["allow-prometheus", "allow-alertmanager", "allow-grafana"] {
        let selector = policies.get(policy).await.unwrap().spec.unwrap().pod_selector.unwrap();
        let labels = selector.match_labels.unwrap();
        let selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let chosen = pods.list(&ListParams::default().labels(&selector.join(","))).await.unwrap();
        assert_eq!(chosen.items.len(), 1, "{policy} is of a pod that is there");
    }

    // The webhook is in the tenant's Secrets, and nowhere else that the phase writes to.
    let written = world.written();
    assert!(written.contains("notification channels"));
    assert!(!written.contains("not-to-be-seen"), "no operation's result holds it");
    world.revert(Scope::Run).await;
    world.until_listed(&before).await;
    world.revert(Scope::Run).await;
}

#[tokio::test]
async fn a_later_run_changes_nothing_and_its_rollback_takes_nothing() {
    let world = World::new(Tier::Professional).await;
    world.apply().await;
    let uids = world.listing();
    let password = world.api::<Secret>().get("grafana-admin").await.unwrap().data;
    let later = RunId::generate();
    world.apply_in(later).await;
    assert_eq!(world.listing(), uids);
    assert_eq!(world.api::<Secret>().get("grafana-admin").await.unwrap().data, password);
    world.revert_of(later, Scope::Run).await;
    assert_eq!(world.listing(), uids);
    world.revert_of(later, Scope::Tenant).await;
    let left = world.api::<StatefulSet>().list(&ListParams::default()).await.unwrap();
    assert_eq!(left.items.len(), 0);
}

#[tokio::test]
async fn a_webhook_that_is_not_there_yet_is_waited_for_by_name_and_no_longer_than_it_may_take() {
    let mut world = World::new(Tier::Free).await;
    with_slack(&mut world);
    let name = format!("k8s:{}/slack#url", world.namespace);
    let waits = world.fails().await;
    assert!(matches!(&waits.kind, Kind::Parked(wait) if wait.on.contains(&name)), "{waits:?}");
    // One without the key is as good as none.
    world.create::<Secret>(&json!({ "metadata": { "name": "slack" } })).await;
    let waits = world.fails().await;
    assert!(matches!(&waits.kind, Kind::Parked(wait) if wait.on.contains(&name)), "{waits:?}");

    let ready_within = std::mem::replace(&mut world.platform.monitoring.ready_within, Seconds(0.0));
    let error = world.fails().await;
    assert_eq!((&error.kind, error.code), (&Kind::Retryable, "secret_missing"));
    assert!(error.message.contains(&name), "{error}");

    world.platform.monitoring.ready_within = ready_within;
    let webhook: Secret = serde_json::from_value(json!({ "stringData": { "url": WEBHOOK } })).unwrap();
    let params = PatchParams::default();
    world.api::<Secret>().patch("slack", &params, &Patch::Merge(&webhook)).await.unwrap();
    world.apply().await;
    let channels = world.api::<Secret>().get("alert-channels").await.unwrap().data.unwrap();
    assert_eq!(channels["slack-webhook-url"].0, WEBHOOK.as_bytes());
    world.revert(Scope::Run).await;
}

/// Not a test: what the next test runs where the process's own cluster is away.
#[tokio::test]
#[ignore = "started with REGION_KUBECONFIG by a_tenants_own_webhook_is_read_where_the_tenant_is"]
async fn in_a_region_with_a_cluster_of_its_own() {
    let mut world = World::new(Tier::Free).await;
    with_slack(&mut world);
    world
        .create::<Secret>(&json!({ "metadata": { "name": "slack" }, "stringData": { "url": WEBHOOK } }))
        .await;
    world.apply().await;
    let channels = world.api::<Secret>().get("alert-channels").await.unwrap().data.unwrap();
    assert_eq!(channels["slack-webhook-url"].0, WEBHOOK.as_bytes());
    world.revert(Scope::Run).await;
}

#[tokio::test]
async fn a_tenants_own_webhook_is_read_where_the_tenant_is() {
    let region = std::env::var("KUBECONFIG").unwrap();
    // The same, with an address where nobody listens.
    let mut nowhere = kube::config::Kubeconfig::read_from(&region).unwrap();
    for cluster in nowhere.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        cluster.server = Some("https://127.0.0.1:1".into());
    }
    let own = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(own.path(), serde_json::to_vec(&nowhere).unwrap()).unwrap();
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_a_region_with_a_cluster_of_its_own", "--ignored"])
        .env("KUBECONFIG", own.path())
        .env("REGION_KUBECONFIG", region)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}

#[tokio::test]
async fn prometheus_and_grafana_may_reach_the_api_server_where_it_is() {
    let world = World::new(Tier::Free).await;
    world.apply().await;
    let client = world.api::<NetworkPolicy>().into_client();
    let service = Api::<Service>::namespaced(client.clone(), "default").get("kubernetes").await.unwrap();
    let slices: Api<EndpointSlice> = Api::namespaced(client, "default");
    let behind = ListParams::default().labels("kubernetes.io/service-name=kubernetes");
    // What stands behind it is not shown where that is a loopback address, as in the local stack.
    let mut wanted = vec![(service.spec.unwrap().cluster_ip.unwrap(), 443)];
    for slice in slices.list(&behind).await.unwrap() {
        let ports: Vec<i32> = slice.ports.iter().flatten().filter_map(|port| port.port).collect();
        let addresses = slice.endpoints.iter().flatten().flat_map(|endpoint| endpoint.addresses.clone());
        wanted.extend(
            addresses.flat_map(|ip| ports.iter().map(move |port| (ip.clone(), *port)).collect::<Vec<_>>()),
        );
    }
    for name in ["allow-prometheus", "allow-grafana"] {
        let policy = world.api::<NetworkPolicy>().get(name).await.unwrap();
        let egress = serde_json::to_value(policy.spec.unwrap().egress).unwrap();
        for (ip, port) in &wanted {
            let opens = egress.as_array().unwrap().iter().any(|rule| {
                let to = rule["to"].as_array().unwrap();
                let port = json!([{ "protocol": "TCP", "port": port }]);
                rule["ports"] == port && to.contains(&json!({ "ipBlock": { "cidr": format!("{ip}/32") } }))
            });
            assert!(opens, "{name} to {ip}:{port}: {egress:#}");
        }
    }
    world.revert(Scope::Run).await;
}

#[tokio::test]
async fn what_belongs_to_somebody_else_is_left_as_it_is() {
    let world = World::new(Tier::Free).await;
    let theirs = json!({
        "metadata": { "name": "allow-prometheus" }, "spec": { "podSelector": {}, "policyTypes": ["Ingress"] },
    });
    world.create::<NetworkPolicy>(&theirs).await;
    let before = world.api::<NetworkPolicy>().get("allow-prometheus").await.unwrap();
    assert_eq!(world.fails().await.code, "foreign_object");
    world.revert(Scope::Tenant).await;
    let after = world.api::<NetworkPolicy>().get("allow-prometheus").await.unwrap();
    assert_eq!(after.meta().uid, before.meta().uid);
    assert_eq!(
        serde_json::to_value(&after).unwrap()["metadata"]["labels"],
        Value::Null,
        "it is not marked as the tenant's"
    );
}

/// What the operator rendered, from the Secret that it hands to the pod.
async fn unzipped(world: &World, secret: &str, key: &str) -> String {
    let found = world.api::<Secret>().get(secret).await.unwrap();
    let zipped = found.data.unwrap().remove(key).unwrap().0;
    let mut gzip =
        Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = gzip.stdin.take().unwrap();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &zipped).unwrap());
    let done = gzip.wait_with_output().unwrap();
    writer.join().unwrap();
    String::from_utf8(done.stdout).unwrap()
}
