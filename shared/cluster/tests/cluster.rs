//! The crate against a real API server, looked at through a client of the test's own.
#![expect(clippy::unwrap_used, reason = "clippy knows only functions marked as tests for tests")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster::{Cluster, Deployments, Effect, Target};
use engine::phase::{Error, Kind, Owner, Progress, Scope};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use model::{RunId, TenantId};
use serde_json::json;

const PREFIX: &str = "matih.ai";

/// A namespace name of the test's own, gone when the test is.
struct World {
    cluster: Cluster,
    client: Client,
    name: String,
}

impl World {
    async fn new(test: &str) -> Self {
        testing::required("KUBECONFIG");
        let cluster = Cluster::connect().await.unwrap();
        let name = format!("t-cluster-{test}-{}", &RunId::generate().to_string()[24..]);
        Self { client: cluster.client(), cluster, name }
    }

    fn namespace(&self) -> Namespace {
        Namespace {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            ..Namespace::default()
        }
    }

    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.client.clone())
    }

    fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.name)
    }

    fn config_map(&self, name: &str, value: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([("key".into(), value.into())])),
            ..ConfigMap::default()
        }
    }

    fn target(&self, name: &str) -> Target {
        Target::of::<ConfigMap>(Some(&self.name), name)
    }

    async fn clean(self) {
        self.namespaces().delete(&self.name, &DeleteParams::default()).await.ok();
    }
}

fn owner(scope: Scope) -> Owner {
    Owner {
        tenant_id: TenantId::generate(),
        slug: "acme".parse().unwrap(),
        run_id: RunId::generate(),
        epoch: 3,
        scope,
    }
}

fn later_run(owner: &Owner) -> Owner {
    Owner { run_id: RunId::generate(), epoch: 9, ..owner.clone() }
}

fn waiting(error: &Error) -> &str {
    match &error.kind {
        Kind::Parked(wait) => &wait.on,
        kind => panic!("not parked but {kind:?}: {error}"),
    }
}

#[tokio::test]
async fn what_is_ours_is_applied_to_and_keeps_the_run_that_created_it() {
    let world = World::new("apply").await;
    let first = owner(Scope::Run);
    let ours = world.cluster.owned_by(&first, PREFIX);
    let made = ours.ensure(&world.namespace()).await.unwrap();
    assert_eq!((made.effect, made.created_by), (Effect::Created, Some(first.run_id)));
    ours.ensure(&world.config_map("a", "one")).await.unwrap();

    let second = later_run(&first);
    let again = world.cluster.owned_by(&second, PREFIX).ensure(&world.config_map("a", "two")).await.unwrap();
    assert_eq!((again.effect, again.created_by), (Effect::Changed, Some(first.run_id)));

    let found = world.config_maps().get("a").await.unwrap();
    assert_eq!(found.data.as_ref().unwrap()["key"], "two");
    assert_eq!(found.labels()["matih.ai/tenant-id"], first.tenant_id.to_string());
    assert_eq!(found.annotations()["matih.ai/run-id"], first.run_id.to_string());
    assert_eq!(found.annotations()["matih.ai/run-epoch"], "3");
    assert_eq!(found.uid().unwrap(), again.uid);
    let managers: Vec<_> = found.managed_fields().iter().filter_map(|field| field.manager.clone()).collect();
    assert!(managers.iter().all(|manager| manager == "tenantry"), "{managers:?}");

    let kept =
        world.cluster.owned_by(&second, PREFIX).ensure_kept(&world.config_map("a", "three")).await.unwrap();
    assert_eq!(kept.effect, Effect::Kept);
    assert_eq!(world.config_maps().get("a").await.unwrap().data.unwrap()["key"], "two");
    world.clean().await;
}

#[tokio::test]
async fn a_foreign_object_is_fatal_and_stays_as_it_is() {
    let world = World::new("foreign").await;
    world.namespaces().create(&PostParams::default(), &world.namespace()).await.unwrap();
    let before = world.namespaces().get(&world.name).await.unwrap();
    let somebody = owner(Scope::Tenant);
    let hands = world.cluster.owned_by(&somebody, PREFIX);

    let refused = hands.ensure(&world.namespace()).await.unwrap_err();
    assert_eq!((refused.code, refused.kind), ("foreign_object", Kind::Fatal));
    let target = Target::of::<Namespace>(None, &world.name);
    assert_eq!(hands.ensure_deleted(&target).await.unwrap(), Progress::Done(()));
    let refused = hands.adjust(&world.config_map("a", "one")).await.unwrap_err();
    assert_eq!(refused.code, "foreign_object");

    let after = world.namespaces().get(&world.name).await.unwrap();
    assert_eq!(before.uid(), after.uid());
    assert_eq!(before.metadata.labels, after.metadata.labels);
    assert_eq!(before.metadata.annotations, after.metadata.annotations);
    assert!(after.metadata.deletion_timestamp.is_none());
    world.clean().await;
}

#[tokio::test]
async fn a_terminating_namespace_parks_and_names_what_holds_it() {
    let world = World::new("held").await;
    let first = owner(Scope::Run);
    let ours = world.cluster.owned_by(&first, PREFIX);
    ours.ensure(&world.namespace()).await.unwrap();
    let mut held = world.config_map("held", "one");
    held.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    ours.ensure(&held).await.unwrap();

    let target = Target::of::<Namespace>(None, &world.name);
    let began = Instant::now();
    loop {
        let Progress::Wait(wait) = ours.ensure_deleted(&target).await.unwrap() else {
            panic!("done, though held")
        };
        assert!(wait.on.contains(&world.name), "{}", wait.on);
        if wait.on.contains("example.com/hold") {
            break;
        }
        assert!(began.elapsed() < Duration::from_mins(3), "{}", wait.on);
    }

    // Neither the namespace nor anything in it can be made meanwhile; both are waited for, not failed.
    let refused = ours.ensure(&world.namespace()).await.unwrap_err();
    assert!(waiting(&refused).contains(&world.name), "{refused}");
    let refused = ours.ensure(&world.config_map("new", "one")).await.unwrap_err();
    assert!(waiting(&refused).contains(&world.name), "{refused}");
    let refused = ours.ensure(&held).await.unwrap_err();
    assert!(!waiting(&refused).is_empty());

    let left = world.cluster.inventory(first.tenant_id, PREFIX).await.unwrap();
    assert!(
        left.iter().any(|left| left.kind == "Namespace" && left.state.contains("terminating")),
        "{left:?}"
    );
    assert!(
        left.iter().any(|left| left.name == "held" && left.state.contains("example.com/hold")),
        "{left:?}"
    );

    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    world.config_maps().patch("held", &PatchParams::default(), &release).await.unwrap();
    let ended = Instant::now();
    while ours.ensure_deleted(&target).await.unwrap() != Progress::Done(()) {
        assert!(ended.elapsed() < Duration::from_mins(3), "still there");
    }
    assert_eq!(ours.ensure_deleted(&target).await.unwrap(), Progress::Done(()), "a second time");
    assert_eq!(world.cluster.inventory(first.tenant_id, PREFIX).await.unwrap(), []);
}

#[tokio::test]
async fn a_rollback_deletes_only_what_its_own_run_created() {
    let world = World::new("scope").await;
    let first = owner(Scope::Run);
    let second = later_run(&first);
    world.cluster.owned_by(&first, PREFIX).ensure(&world.namespace()).await.unwrap();
    world.cluster.owned_by(&first, PREFIX).ensure(&world.config_map("old", "one")).await.unwrap();
    let hands = world.cluster.owned_by(&second, PREFIX);
    hands.ensure(&world.config_map("old", "two")).await.unwrap();
    hands.ensure(&world.config_map("new", "one")).await.unwrap();
    for name in ["old", "new", "never-made"] {
        assert_eq!(hands.ensure_deleted(&world.target(name)).await.unwrap(), Progress::Done(()));
    }
    assert!(world.config_maps().get_opt("old").await.unwrap().is_some());
    assert!(world.config_maps().get_opt("new").await.unwrap().is_none());

    let all = Owner { scope: Scope::Tenant, ..second };
    let done = world.cluster.owned_by(&all, PREFIX).ensure_deleted(&world.target("old")).await.unwrap();
    assert_eq!(done, Progress::Done(()));
    assert!(world.config_maps().get_opt("old").await.unwrap().is_none());
    world.clean().await;
}

#[tokio::test]
async fn an_object_in_a_namespace_that_is_not_there_is_tried_again() {
    let world = World::new("absent").await;
    let hands = world.cluster.owned_by(&owner(Scope::Run), PREFIX);
    let refused = hands.ensure(&world.config_map("a", "one")).await.unwrap_err();
    assert_eq!((refused.code, refused.kind), ("object_missing", Kind::Retryable));
    let done = hands.ensure_deleted(&world.target("a")).await.unwrap();
    assert_eq!(done, Progress::Done(()));
}

#[tokio::test]
async fn a_server_out_of_reach_is_unavailable() {
    // Port 1 refuses; the second address belongs to a listener that accepts and hangs up.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging_up = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    for address in ["https://127.0.0.1:1", &hanging_up] {
        let cluster = Cluster::with(kube::Config::new(address.parse().unwrap())).unwrap();
        let hands = cluster.owned_by(&owner(Scope::Run), PREFIX);
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some("nowhere".into()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        for error in [
            hands.ensure(&namespace).await.unwrap_err(),
            hands.ensure_deleted(&Target::of::<Namespace>(None, "nowhere")).await.unwrap_err(),
            cluster.ready("nowhere", Deployments::Named(&["a"])).await.unwrap_err(),
            cluster.read_secret("nowhere", "a").await.unwrap_err(),
            cluster.inventory(TenantId::generate(), PREFIX).await.unwrap_err(),
        ] {
            assert_eq!(error.kind, Kind::Unavailable { dependency: "cluster".into() }, "{error}");
        }
    }
    server.abort();
}

#[tokio::test]
async fn an_invalid_object_is_fatal() {
    let world = World::new("invalid").await;
    let hands = world.cluster.owned_by(&owner(Scope::Run), PREFIX);
    hands.ensure(&world.namespace()).await.unwrap();
    let mut wrong = world.config_map("a", "one");
    wrong.data = Some(BTreeMap::from([("no such key!".into(), "x".into())]));
    let refused = hands.ensure(&wrong).await.unwrap_err();
    assert_eq!((refused.code, refused.kind), ("object_invalid", Kind::Fatal));
    let secret = Secret {
        metadata: wrong.metadata.clone(),
        string_data: Some(BTreeMap::from([("no such key!".into(), "hunter2".into())])),
        ..Secret::default()
    };
    let refused = hands.ensure(&secret).await.unwrap_err();
    assert_eq!(refused.code, "object_invalid");
    assert!(!format!("{refused:?}").contains("hunter2"), "{refused:?}");
    world.clean().await;
}

#[tokio::test]
async fn a_secret_is_read_by_its_reference() {
    let world = World::new("secret").await;
    let hands = world.cluster.owned_by(&owner(Scope::Run), PREFIX);
    hands.ensure(&world.namespace()).await.unwrap();
    let metadata = world.config_map("keys", "").metadata;
    let string_data = Some(BTreeMap::from([("a".into(), "hunter2".into())]));
    hands.ensure(&Secret { metadata, string_data, ..Secret::default() }).await.unwrap();
    let reference = |key: &str| format!("k8s:{}/keys#{key}", world.name).parse().unwrap();
    assert!(world.cluster.resolve(&reference("a")).await.unwrap().matches("hunter2"));
    assert_eq!(world.cluster.resolve(&reference("b")).await.unwrap_err().code, "secret_missing");
    assert!(world.cluster.read_secret(&world.name, "other").await.unwrap().is_none());
    world.clean().await;
}

#[tokio::test]
async fn the_inventory_lists_every_kind_cluster_scoped_too() {
    let world = World::new("inventory").await;
    let tenant = owner(Scope::Tenant);
    let hands = world.cluster.owned_by(&tenant, PREFIX);
    assert_eq!(world.cluster.inventory(tenant.tenant_id, PREFIX).await.unwrap(), []);
    hands.ensure(&world.namespace()).await.unwrap();
    let role = ClusterRole {
        metadata: ObjectMeta { name: Some(world.name.clone()), ..ObjectMeta::default() },
        ..ClusterRole::default()
    };
    hands.ensure(&role).await.unwrap();
    // Unlabelled, but inside: a chart's own objects look like this.
    world.config_maps().create(&PostParams::default(), &world.config_map("inside", "one")).await.unwrap();
    let left = world.cluster.inventory(tenant.tenant_id, PREFIX).await.unwrap();
    let left: Vec<String> = left.iter().map(ToString::to_string).collect();
    let name = &world.name;
    assert_eq!(
        left,
        [
            format!("ClusterRole {name} (present)"),
            format!("ConfigMap {name}/inside (present)"),
            format!("Namespace {name} (present)"),
        ]
    );
    hands.ensure_deleted(&Target::of::<ClusterRole>(None, name)).await.unwrap();
    world.clean().await;
}

fn deployment(world: &World, name: &str, never_ready: bool) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": world.name, "labels": {"app.kubernetes.io/instance": name}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name, "tenantry.test/never-ready": never_ready.to_string()}},
                "spec": {"containers": [{"name": "main", "image": "example.invalid/main"}]},
            },
        },
    }))
    .unwrap()
}

#[tokio::test]
async fn readiness_is_noticed_and_its_absence_explained() {
    let world = World::new("ready").await;
    let hands = world.cluster.owned_by(&owner(Scope::Tenant), PREFIX);
    hands.ensure(&world.namespace()).await.unwrap();

    let names = ["well", "unwell"];
    hands.ensure(&deployment(&world, "well", false)).await.unwrap();
    let absent = world.cluster.ready(&world.name, Deployments::Named(&names)).await.unwrap();
    let Progress::Wait(wait) = absent else { panic!("ready without one of them") };
    assert_eq!(wait.on, format!("Deployment {}/unwell: not there", world.name));
    assert_eq!(
        world.cluster.ready(&world.name, Deployments::Release("well")).await.unwrap(),
        Progress::Done(())
    );

    hands.ensure(&deployment(&world, "unwell", true)).await.unwrap();
    let unwell = world.cluster.ready(&world.name, Deployments::Named(&names)).await.unwrap();
    let Progress::Wait(wait) = unwell else { panic!("ready, though a pod never is") };
    assert!(wait.on.contains("unwell: 0 of 1 replicas ready (pod unwell-"), "{}", wait.on);

    let quota = json!({
        "metadata": {"name": "none", "namespace": world.name}, "spec": {"hard": {"pods": "2"}}
    });
    hands
        .ensure(&serde_json::from_value::<k8s_openapi::api::core::v1::ResourceQuota>(quota).unwrap())
        .await
        .unwrap();
    hands.ensure(&deployment(&world, "refused", false)).await.unwrap();
    let refused = world.cluster.ready(&world.name, Deployments::Release("refused")).await.unwrap();
    let Progress::Wait(wait) = refused else { panic!("ready, though the quota refuses its pod") };
    assert!(wait.on.contains("exceeded quota"), "{}", wait.on);

    let target = Target::of::<Deployment>(Some(&world.name), "well");
    while hands.ensure_deleted(&target).await.unwrap() != Progress::Done(()) {}
    assert!(
        Api::<Deployment>::namespaced(world.client.clone(), &world.name)
            .get_opt("well")
            .await
            .unwrap()
            .is_none()
    );
    world.clean().await;
}
