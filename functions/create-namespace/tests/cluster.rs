//! The phase against a real API server, looked at through a client of the test's own.
#![expect(clippy::unwrap_used, reason = "clippy knows only functions marked as tests for tests")]

use std::time::{Duration, Instant};

use cluster::{Cluster, Effect};
use create_namespace::{CreateNamespace, Plan};
use engine::phase::{Kind, Phase, Progress, Scope, Step};
use k8s_openapi::api::core::v1::{ConfigMap, LimitRange, Namespace, Pod, ResourceQuota, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, ResourceExt};
use model::platform::Platform;
use model::{RunId, Tenant, Tier};
use serde_json::json;
use testing::{ClaimedStep, planned, required, until_done};

struct World {
    phase: CreateNamespace,
    client: Client,
    tenant: Tenant,
    plan: Plan,
}

impl World {
    async fn new(test: &str, tier: Tier) -> Self {
        required("KUBECONFIG");
        let tenant = Tenant {
            tier,
            cost_center: Some("cc-7".into()),
            created_at: "2026-02-12T10:00:00Z".parse().unwrap(),
            ..testing::tenant(&format!("t-{test}"))
        };
        let (phase, plan) = planned(&Platform::default(), &tenant).await;
        Self { phase, client: Cluster::connect().await.unwrap().client(), tenant, plan }
    }

    fn step(&self, run_id: RunId, scope: Scope) -> Step {
        ClaimedStep::new(CreateNamespace::NAME, &self.tenant, run_id).scope(scope).step()
    }

    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.client.clone())
    }

    fn within<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), self.plan.namespace.as_str())
    }

    /// Reverts until it is done, as the engine does when it is told to wait.
    async fn revert(&self, run: RunId, scope: Scope) {
        until_done(async || self.phase.revert(&self.plan, None, &self.step(run, scope)).await).await.unwrap();
    }
}

#[tokio::test]
async fn a_namespace_is_made_whole_and_taken_back_whole() {
    let world = World::new("whole", Tier::Free).await;
    let run = RunId::generate();
    let name = world.plan.namespace.to_string();
    let Progress::Done(first) = world.phase.apply(&world.plan, &world.step(run, Scope::Run)).await.unwrap()
    else {
        panic!("nothing to wait for")
    };
    assert_eq!((first.ensured.effect, first.ensured.created_by), (Effect::Created, Some(run)));
    let again = world.phase.apply(&world.plan, &world.step(run, Scope::Run)).await.unwrap();
    let Progress::Done(again) = again else { panic!("nothing to wait for") };
    assert_eq!((again.ensured.effect, &again.ensured.uid), (Effect::Changed, &first.ensured.uid));

    let found = world.namespaces().get(&name).await.unwrap();
    for (key, value) in [
        ("tenant-id", world.tenant.id.to_string()),
        ("tenant-slug", world.tenant.slug.to_string()),
        ("tier", "free".into()),
        ("region", "eastus".into()),
        ("managed-by", "tenant-service".into()),
    ] {
        assert_eq!(found.labels()[&format!("matih.ai/{key}")], value);
    }
    assert_eq!(found.annotations()["matih.ai/cost-center"], "cc-7");
    assert_eq!(found.annotations()["matih.ai/provisioned-at"], "2026-02-12T10:00:00Z");
    assert_eq!(found.annotations()["matih.ai/provisioned-by"], "tester");
    let default = world.within::<ServiceAccount>().get("default").await.unwrap();
    assert_eq!(default.automount_service_account_token, Some(false));
    world.within::<ServiceAccount>().get("tenant-workload").await.unwrap();
    world.within::<Role>().get("tenant-workload").await.unwrap();
    world.within::<RoleBinding>().get("tenant-workload").await.unwrap();
    world.within::<LimitRange>().get("tenant-limits").await.unwrap();
    let quota = world.within::<ResourceQuota>().get("tenant-quota").await.unwrap();
    assert_eq!(quota.spec.unwrap().hard.unwrap()["requests.memory"].0, "4Gi");

    // The real admission: a pod that says nothing is let in with the defaults, a greedy one is refused.
    let pod = |name: &str, cpu: Option<&str>| -> Pod {
        let resources = cpu.map(|cpu| json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}));
        let container = json!({"name": "main", "image": "example.invalid/main", "resources": resources});
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"containers": [container]}}))
            .unwrap()
    };
    let modest = until_the_quota_is_known(&world.within(), &pod("modest", None)).await.unwrap();
    let container = serde_json::to_value(&modest).unwrap()["spec"]["containers"][0]["resources"].clone();
    assert_eq!(
        container,
        json!({"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "150m", "memory": "256Mi"}})
    );
    let refused = world.within().create(&PostParams::default(), &pod("greedy", Some("3"))).await.unwrap_err();
    assert!(refused.to_string().contains("exceeded quota: tenant-quota"), "{refused}");

    world.revert(run, Scope::Run).await;
    assert!(world.namespaces().get_opt(&name).await.unwrap().is_none());
    world.revert(run, Scope::Run).await;
}

/// A quota's usage is counted by a controller; until it has been, admission refuses with "status unknown".
async fn until_the_quota_is_known(pods: &Api<Pod>, pod: &Pod) -> kube::Result<Pod> {
    let began = Instant::now();
    loop {
        match pods.create(&PostParams::default(), pod).await {
            Err(kube::Error::Api(status))
                if status.message.contains("status unknown") && began.elapsed() < Duration::from_secs(10) =>
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            answer => return answer,
        }
    }
}

#[tokio::test]
async fn a_tier_without_quota_has_none() {
    let world = World::new("unlimited", Tier::Enterprise).await;
    let run = RunId::generate();
    world.phase.apply(&world.plan, &world.step(run, Scope::Run)).await.unwrap();
    assert!(world.within::<ResourceQuota>().list(&ListParams::default()).await.unwrap().items.is_empty());
    assert!(world.within::<LimitRange>().list(&ListParams::default()).await.unwrap().items.is_empty());
    world.revert(run, Scope::Run).await;
}

#[tokio::test]
async fn an_undo_of_what_never_ran_does_nothing() {
    let world = World::new("never", Tier::Free).await;
    world.revert(RunId::generate(), Scope::Run).await;
    assert!(world.namespaces().get_opt(world.plan.namespace.as_str()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_rollback_leaves_the_namespace_of_another_run_and_takes_its_own_things_out() {
    let world = World::new("other", Tier::Free).await;
    let (first, second) = (RunId::generate(), RunId::generate());
    world.phase.apply(&world.plan, &world.step(first, Scope::Run)).await.unwrap();
    world.within::<ResourceQuota>().delete("tenant-quota", &DeleteParams::default()).await.unwrap();
    world.phase.apply(&world.plan, &world.step(second, Scope::Run)).await.unwrap();
    world.revert(second, Scope::Run).await;
    world.within::<LimitRange>().get("tenant-limits").await.unwrap();
    assert!(world.within::<ResourceQuota>().get_opt("tenant-quota").await.unwrap().is_none());
    world.revert(second, Scope::Tenant).await;
    assert!(world.namespaces().get_opt(world.plan.namespace.as_str()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_foreign_namespace_is_fatal_and_unchanged_after_the_undo() {
    let world = World::new("foreign", Tier::Free).await;
    let name = world.plan.namespace.to_string();
    let foreign =
        serde_json::from_value(json!({"metadata": {"name": name, "labels": {"team": "other"}}})).unwrap();
    world.namespaces().create(&PostParams::default(), &foreign).await.unwrap();
    let theirs = serde_json::from_value::<ConfigMap>(json!({"metadata": {"name": "theirs"}})).unwrap();
    world.within().create(&PostParams::default(), &theirs).await.unwrap();
    let before = world.namespaces().get(&name).await.unwrap();

    let run = RunId::generate();
    let error = world.phase.apply(&world.plan, &world.step(run, Scope::Run)).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Fatal, "foreign_object"));
    world.revert(run, Scope::Run).await;
    world.revert(run, Scope::Tenant).await;
    let after = world.namespaces().get(&name).await.unwrap();
    assert_eq!((before.uid(), &before.metadata.labels), (after.uid(), &after.metadata.labels));
    assert!(after.metadata.deletion_timestamp.is_none());
    world.within::<ConfigMap>().get("theirs").await.unwrap();
    world.namespaces().delete(&name, &DeleteParams::default()).await.unwrap();
}
