//! A tenant's own instance: recorded in the database, seen in a real cluster.

use std::sync::Arc;
use std::time::Duration;

use cluster::Cluster;
use engine::phase::{Owner, Scope};
use model::{DeploymentType, RunId, TenantId};
use reqwest::Method;
use serde_json::{Value, json};
use tenant_service::App;
use tenants::NewDeployment;
use testing::{Namespace, create, kubectl};

use crate::world::{Answer, World, body, with_app, with_platform, with_world};

/// A namespace that goes with the test.
fn fresh_namespace() -> Namespace {
    let name = format!("deployment-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    kubectl(&["create", "namespace", &name]);
    Namespace(name)
}

/// A Deployment as PROVISION_DEPLOYMENT names it, on the simulated nodes; its uid.
fn deploy(namespace: &Namespace, never_ready: bool) -> String {
    let labels = json!({ "app.kubernetes.io/name": "tenant-api",
                         "tenantry.test/never-ready": never_ready.to_string() });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "tenant-api", "namespace": namespace.0 },
        "spec": {
            "replicas": 2, "selector": { "matchLabels": { "app.kubernetes.io/name": "tenant-api" } },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "tenant-api", "image": "ip4x/tenant-api:seen" }] },
            },
        },
    });
    create(&deployment)["metadata"]["uid"].as_str().unwrap().to_owned()
}

async fn record(world: &World, tenant: TenantId, namespace: &str, container: &str) {
    let run_id = RunId(world.store.status(tenant).await.unwrap().unwrap().run.id);
    let slug = "acme".parse().unwrap();
    let owner = Owner { tenant_id: tenant, slug, run_id, epoch: 1, scope: Scope::Run };
    let row = NewDeployment {
        container_id: container.into(),
        namespace: namespace.into(),
        name: "tenant-api".into(),
        endpoint: "http://tenant-api-control.matih-acme.svc:8080".into(),
        url: "https://api.acme.matih.ai".into(),
        image: "ip4x/tenant-api:recorded".into(),
        size: "small".into(),
        resources: json!({ "requests_cpu": "250m" }),
        replicas: 2,
    };
    assert!(world.store.record_deployment(&owner, &row).await.unwrap());
}

async fn shown(world: &World) -> Value {
    world.get("/api/v1/tenants/acme/deployment").await.ok(200).body
}

async fn until(world: &World, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..300 {
        let now = shown(world).await;
        if wanted(&now) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("waited for {what}, but it is {:#}", shown(world).await);
}

#[tokio::test]
async fn a_deployment_is_shown_as_recorded_and_as_the_cluster_sees_it() {
    with_world(|world| async move {
        let tenant = world.tenant("acme").await;
        let namespace = fresh_namespace();
        let uid = deploy(&namespace, false);
        record(&world, tenant, &namespace.0, &uid).await;
        let ready = until(&world, "ready pods and their events", |now| {
            let events = now["events"].as_array().unwrap();
            now["state"] == "ready" && events.iter().any(|event| event["reason"] == "ScalingReplicaSet")
        })
        .await;
        assert_eq!(ready["replicas"], json!({ "desired": 2, "updated": 2, "ready": 2, "available": 2 }));
        assert_eq!((&ready["containerId"], &ready["reason"]), (&json!(uid), &json!(null)));
        assert_eq!((&ready["cluster"], &ready["clusterReason"]), (&json!("reachable"), &json!(null)));
        assert_eq!(ready["image"], "ip4x/tenant-api:seen", "what runs");
        assert_eq!((&ready["size"], &ready["url"]), (&json!("small"), &json!("https://api.acme.matih.ai")));
        let events = ready["events"].as_array().unwrap();
        assert!(events.len() <= 20 && events.iter().all(|event| event["object"] != ""), "{events:#?}");
        let time = |event: &Value| -> chrono::DateTime<chrono::Utc> {
            event["at"].as_str().unwrap().parse().unwrap()
        };
        let times: Vec<_> = events.iter().map(time).collect();
        assert!(times.is_sorted_by(|one, other| one >= other), "the newest first: {times:?}");
        let kubectl_logs = ready["logs"]["kubectl"].as_str().unwrap();
        assert!(kubectl_logs.contains(&namespace.0) && kubectl_logs.contains("deployment/tenant-api"));
        assert_eq!(ready["logs"]["loki"]["tenant"], json!(tenant));
        let query = ready["logs"]["loki"]["query"].as_str().unwrap();
        assert!(query.contains(&format!("namespace=\"{}\"", namespace.0)), "{query}");

        // Another of its name is not the tenant's, and none is none.
        kubectl(&["delete", "deployment", "tenant-api", "-n", &namespace]);
        let gone = shown(&world).await;
        assert_eq!((&gone["state"], &gone["replicas"]), (&json!("missing"), &json!(null)), "{gone:#}");
        deploy(&namespace, true);
        let other = shown(&world).await;
        assert_eq!(
            (&other["state"], &other["image"]),
            (&json!("missing"), &json!("ip4x/tenant-api:recorded"))
        );
        assert!(other["reason"].as_str().unwrap().contains("another one"), "{other:#}");
    })
    .await;
}

#[tokio::test]
async fn a_deployment_that_is_not_ready_says_why() {
    with_world(|world| async move {
        let tenant = world.tenant("acme").await;
        let namespace = fresh_namespace();
        record(&world, tenant, &namespace.0, &deploy(&namespace, true)).await;
        let unready =
            until(&world, "pods that run", |now| now["reason"].to_string().contains("ContainersNotReady"))
                .await;
        assert_eq!(unready["state"], "unready");
        assert_eq!(unready["replicas"]["ready"], 0);
    })
    .await;
}

#[tokio::test]
async fn without_an_answer_of_the_cluster_what_is_recorded_is_answered() {
    // Refuses; and takes what is sent, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for port in [1, silent.local_addr().unwrap().port()] {
        let config = kube::Config::new(format!("http://127.0.0.1:{port}").parse().unwrap());
        let cluster = Cluster::with(config).unwrap();
        let reading = |app: App| app.reading(cluster);
        with_app(
            |_| {},
            reading,
            |world: Arc<World>| async move {
                let tenant = world.tenant("acme").await;
                record(&world, tenant, "matih-acme", "the-uid").await;
                let answer = shown(&world).await;
                assert_eq!(
                    (&answer["cluster"], &answer["state"]),
                    (&json!("unreachable"), &json!("unknown"))
                );
                assert!(answer["clusterReason"].as_str().unwrap().len() > 10, "{answer:#}");
                assert_eq!(answer["containerId"], "the-uid");
                assert_eq!(
                    (&answer["image"], &answer["replicas"]),
                    (&json!("ip4x/tenant-api:recorded"), &json!(null))
                );
                assert_eq!(answer["events"], json!([]));
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_tenant_without_one_is_404_and_says_which_kind() {
    let shared = |platform: &mut model::platform::Platform| {
        platform.deployment.available.push(DeploymentType::Shared);
    };
    with_platform(shared, |world| async move {
        world.tenant("acme").await;
        let own = world.get("/api/v1/tenants/acme/deployment").await.problem(404, "deployment_not_found");
        assert!(own.body["detail"].as_str().unwrap().contains("PENDING"), "{:#}", own.body);
        let mut pooled = body("pooled");
        let fields = pooled.as_object_mut().unwrap();
        fields.insert("deploymentType".into(), json!("shared"));
        fields.insert("hasDedicatedDatabase".into(), json!(false));
        world.create("pooled", &pooled).await.ok(202);
        let none = world.get("/api/v1/tenants/pooled/deployment").await.problem(404, "deployment_shared");
        assert!(none.body["detail"].as_str().unwrap().contains("eastus"), "{:#}", none.body);
        world.get("/api/v1/tenants/nobody/deployment").await.problem(404, "tenant_not_found");
    })
    .await;
}

async fn patch(world: &World, tenant: &str, body: &Value) -> Answer {
    let path = format!("/api/v1/tenants/{tenant}/deployment");
    Answer::of(world.request(Method::PATCH, &path).json(body).send().await.unwrap()).await
}

#[tokio::test]
async fn another_image_or_size_is_a_run_and_what_is_left_out_stays() {
    with_world(|world| async move {
        let tenant = world.tenant("acme").await;
        let image = json!({ "image": "ip4x/tenant-api:2" });
        patch(&world, "acme", &image).await.problem(404, "deployment_not_found");
        record(&world, tenant, "matih-acme", "the-uid").await;
        patch(&world, "acme", &image).await.problem(409, "invalid_transition");
        world.finish(tenant).await;

        let begun = patch(&world, "acme", &image).await.ok(202).body;
        assert_eq!(patch(&world, "acme", &image).await.ok(202).body["runId"], begun["runId"], "the same run");
        let status = world.status("acme").await;
        assert_eq!((&status["run"]["kind"], &status["run"]["id"]), (&json!("change"), &begun["runId"]));
        let phases = status["phases"].as_array().unwrap().iter().map(|phase| phase["name"].clone());
        assert_eq!(phases.collect::<Vec<_>>(), ["PROVISION_DEPLOYMENT"]);
        patch(&world, "acme", &json!({ "size": "large" })).await.problem(409, "invalid_transition");
        world.finish(tenant).await;
        patch(&world, "acme", &image).await.ok(200);

        patch(&world, "acme", &json!({ "size": "large" })).await.ok(202);
        let change = world.status("acme").await["run"]["change"].clone();
        assert_eq!(change, json!({ "container": { "image": "ip4x/tenant-api:2", "size": "large" } }));
    })
    .await;
}

#[tokio::test]
async fn null_takes_a_choice_away_and_what_is_left_out_stays() {
    with_world(|world| async move {
        let tenant = world.tenant("acme").await;
        record(&world, tenant, "matih-acme", "the-uid").await;
        world.finish(tenant).await;
        let chosen = async || world.store.deployment(tenant).await.unwrap().unwrap().chosen.0;
        let both = json!({ "image": "ip4x/tenant-api:2", "size": "large" });
        patch(&world, "acme", &both).await.ok(202);
        world.finish(tenant).await;
        assert_eq!(json!(chosen().await), both);

        patch(&world, "acme", &json!({ "image": null })).await.ok(202);
        patch(&world, "acme", &json!({ "image": null })).await.ok(202);
        assert_eq!(world.status("acme").await["run"]["change"], json!({ "container": { "size": "large" } }));
        world.finish(tenant).await;
        assert_eq!(json!(chosen().await), json!({ "size": "large" }));
        patch(&world, "acme", &json!({ "image": null })).await.ok(200);

        patch(&world, "acme", &json!({ "image": "ip4x/tenant-api:3", "size": null })).await.ok(202);
        world.finish(tenant).await;
        assert_eq!(json!(chosen().await), json!({ "image": "ip4x/tenant-api:3" }));
        patch(&world, "acme", &json!({ "image": null, "size": null })).await.ok(202);
        world.finish(tenant).await;
        assert_eq!(json!(chosen().await), json!({}));
        let refused = patch(&world, "acme", &json!({ "image": null, "size": "huge" })).await;
        assert_eq!(refused.problem(422, "invalid_fields").fields(), ["size"]);
    })
    .await;
}

async fn refresh(world: &World, tenant: &str) -> Answer {
    let path = format!("/api/v1/tenants/{tenant}/deployment/refresh");
    Answer::of(world.request(Method::POST, &path).send().await.unwrap()).await
}

#[tokio::test]
async fn a_refresh_is_a_run_of_the_instances_phase_and_asked_again_meanwhile_the_same_one() {
    let shared = |platform: &mut model::platform::Platform| {
        platform.deployment.available.push(DeploymentType::Shared);
    };
    with_platform(shared, |world| async move {
        let tenant = world.tenant("acme").await;
        refresh(&world, "acme").await.problem(404, "deployment_not_found");
        record(&world, tenant, "matih-acme", "the-uid").await;
        refresh(&world, "acme").await.problem(409, "invalid_transition");
        world.finish(tenant).await;

        let begun = refresh(&world, "acme").await.ok(202).body;
        assert_eq!(refresh(&world, "acme").await.ok(202).body["runId"], begun["runId"]);
        let status = world.status("acme").await;
        assert_eq!((&status["run"]["kind"], &status["run"]["id"]), (&json!("change"), &begun["runId"]));
        assert_eq!(status["run"]["change"], json!({ "refreshesDeployment": true }));
        let phases = status["phases"].as_array().unwrap().iter().map(|phase| phase["name"].clone());
        assert_eq!(phases.collect::<Vec<_>>(), ["PROVISION_DEPLOYMENT"]);
        patch(&world, "acme", &json!({ "size": "large" })).await.problem(409, "invalid_transition");
        world.finish(tenant).await;
        let again = refresh(&world, "acme").await.ok(202).body;
        assert_ne!(again["runId"], begun["runId"], "it is never so already");

        let mut pooled = body("pooled");
        let fields = pooled.as_object_mut().unwrap();
        fields.insert("deploymentType".into(), json!("shared"));
        fields.insert("hasDedicatedDatabase".into(), json!(false));
        world.create("pooled", &pooled).await.ok(202);
        refresh(&world, "pooled").await.problem(409, "deployment_shared");
        refresh(&world, "nobody").await.problem(404, "tenant_not_found");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_image_or_size_is_refused_and_begins_nothing() {
    let shared = |platform: &mut model::platform::Platform| {
        platform.deployment.available.push(DeploymentType::Shared);
    };
    with_platform(shared, |world| async move {
        let tenant = world.tenant("acme").await;
        record(&world, tenant, "matih-acme", "the-uid").await;
        world.finish(tenant).await;
        let before = world.number("SELECT count(*) FROM provisioning_runs").await;
        for (body, fields) in [
            (json!({}), vec!["image"]),
            (json!({ "image": "Not an image" }), vec!["image"]),
            (json!({ "image": "ip4x/tenant-api" }), vec!["image"]),
            (json!({ "image": 7, "size": "huge" }), vec!["image", "size"]),
            (json!({ "size": "small", "replicas": 3 }), vec!["replicas"]),
        ] {
            let refused = patch(&world, "acme", &body).await.problem(422, "invalid_fields");
            assert_eq!(refused.fields(), fields, "{body}");
        }
        let mut pooled = body("pooled");
        let fields = pooled.as_object_mut().unwrap();
        fields.insert("deploymentType".into(), json!("shared"));
        fields.insert("hasDedicatedDatabase".into(), json!(false));
        world.create("pooled", &pooled).await.ok(202);
        patch(&world, "pooled", &json!({ "size": "small" })).await.problem(409, "deployment_shared");
        patch(&world, "nobody", &json!({ "size": "small" })).await.problem(404, "tenant_not_found");
        assert_eq!(
            world.number("SELECT count(*) FROM provisioning_runs").await,
            before + 1,
            "the pooled one's"
        );
    })
    .await;
}
