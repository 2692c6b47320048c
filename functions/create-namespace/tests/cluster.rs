//! The phase against a real API server, looked at through a client of the test's own.
#![expect(clippy::unwrap_used, reason = "clippy knows only functions marked as tests for tests")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cluster::{Cluster, Effect};
use create_namespace::{CreateNamespace, Plan};
use engine::phase::{
    Checkpoints, Fence, Interrupt, Kind, Operation, Owner, Phase, Progress, Scope, Step, StepParts,
};
use k8s_openapi::api::core::v1::{ConfigMap, LimitRange, Namespace, Pod, ResourceQuota, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, ResourceExt};
use model::platform::Platform;
use model::{RunId, Tenant, TenantId};
use serde_json::json;

struct Open;

#[async_trait]
impl Fence for Open {
    async fn record(&self, _: &[Operation]) -> Result<(), Interrupt> {
        Ok(())
    }
}

struct World {
    phase: CreateNamespace,
    client: Client,
    tenant: Tenant,
    plan: Plan,
}

impl World {
    async fn new(test: &str, tier: &str) -> Self {
        assert!(
            std::env::var_os("KUBECONFIG").is_some(),
            "KUBECONFIG is not set: this test needs a real API server; run it by `make test`"
        );
        let id = TenantId::generate();
        let tenant: Tenant = serde_json::from_value(json!({
            "id": id, "slug": format!("t-{test}-{}", &id.to_string()[24..]), "name": "Test", "tier": tier,
            "region": "eastus", "admin_email": "a@example.com", "deployment_type": "container_per_tenant",
            "has_dedicated_database": true, "cost_center": "cc-7", "created_by": "tester",
            "created_at": "2026-02-12T10:00:00Z",
        }))
        .unwrap();
        let platform = Platform::default();
        let phase = CreateNamespace::connect(&platform).await.unwrap();
        let plan = phase.plan(&tenant, &platform, &Checkpoints::default()).unwrap();
        Self { phase, client: Cluster::connect().await.unwrap().client(), tenant, plan }
    }

    fn step(&self, run_id: RunId, scope: Scope) -> Step {
        Step::new(StepParts {
            owner: Owner {
                tenant_id: self.tenant.id,
                slug: self.tenant.slug.clone(),
                run_id,
                epoch: 1,
                scope,
            },
            phase: CreateNamespace::NAME,
            backward: false,
            failures: 0,
            waits: 0,
            waited: Duration::ZERO,
            fence: Arc::new(Open),
            cancel: tokio_util::sync::CancellationToken::new(),
        })
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
        let began = Instant::now();
        loop {
            match self.phase.revert(&self.plan, None, &self.step(run, scope)).await {
                Ok(Progress::Done(())) => return,
                Ok(Progress::Wait(_)) => {}
                Err(error) => assert!(matches!(error.kind, Kind::Parked(_)), "{error}"),
            }
            assert!(began.elapsed() < Duration::from_secs(90), "not gone");
        }
    }
}

#[tokio::test]
async fn a_namespace_is_made_whole_and_taken_back_whole() {
    let world = World::new("whole", "free").await;
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
    let world = World::new("unlimited", "enterprise").await;
    let run = RunId::generate();
    world.phase.apply(&world.plan, &world.step(run, Scope::Run)).await.unwrap();
    assert!(world.within::<ResourceQuota>().list(&ListParams::default()).await.unwrap().items.is_empty());
    assert!(world.within::<LimitRange>().list(&ListParams::default()).await.unwrap().items.is_empty());
    world.revert(run, Scope::Run).await;
}

#[tokio::test]
async fn an_undo_of_what_never_ran_does_nothing() {
    let world = World::new("never", "free").await;
    world.revert(RunId::generate(), Scope::Run).await;
    assert!(world.namespaces().get_opt(world.plan.namespace.as_str()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_rollback_leaves_the_namespace_of_another_run_and_takes_its_own_things_out() {
    let world = World::new("other", "free").await;
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
    let world = World::new("foreign", "free").await;
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
