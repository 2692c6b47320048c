//! All nine services of a tenant, deployed and removed by the two phases on a real API server with real quotas.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails here")]

use std::time::Duration;

use cluster::Cluster;
use create_namespace::CreateNamespace;
use deploy_core_services::DeployCoreServices;
use deploy_data_services::DeployDataServices;
use engine::phase::{Kind, Phase, Progress, Scope, Step};
use helm::Helm;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use model::platform::{Charts, Platform, Seconds};
use model::{RunId, Tenant, Tier};
use serde_json::json;
use testing::{ClaimedStep, Namespace, planned, required, until_done};

const NINE: [&str; 9] = [
    "ai-service",
    "bi-service",
    "catalog-service",
    "data-quality-service",
    "ml-service",
    "pipeline-service",
    "query-engine",
    "render-service",
    "semantic-layer",
];

/// A tenant with a namespace made by CREATE_NAMESPACE, gone with the test.
struct World {
    platform: Platform,
    tenant: Tenant,
    run: RunId,
    namespace: Namespace,
    client: Client,
}

impl World {
    async fn new(tier: Tier) -> Self {
        required("KUBECONFIG");
        let platform = Platform {
            charts: Charts { repository_url: required("CHART_REPOSITORY_URL"), ..Charts::default() },
            ..Platform::default()
        };
        let tenant = Tenant { tier, ..testing::tenant("svc") };
        let namespace = Namespace(platform.namespace(&tenant.slug).to_string());
        let client = Cluster::connect().await.unwrap().client();
        let world = Self { platform, tenant, run: RunId::generate(), namespace, client };
        world.finish::<CreateNamespace>().await;
        world
    }

    fn step(&self, scope: Scope, waited: Duration) -> Step {
        let phase = "TEST".to_owned().into();
        ClaimedStep::new(phase, &self.tenant, self.run).scope(scope).waited(0, waited).step()
    }

    async fn plan<P: Phase>(&self) -> (P, P::Plan) {
        planned(&self.platform, &self.tenant).await
    }

    /// Applies until done, as the engine would.
    async fn finish<P: Phase>(&self) -> P::Checkpoint {
        let (phase, plan) = self.plan::<P>().await;
        let done =
            until_done(async || phase.apply(&plan, &self.step(Scope::Run, Duration::ZERO)).await).await;
        done.unwrap_or_else(|error| panic!("{}: {error}", P::NAME))
    }

    async fn revert<P: Phase>(&self, scope: Scope) {
        let (phase, plan) = self.plan::<P>().await;
        let reverted = phase.revert(&plan, None, &self.step(scope, Duration::ZERO)).await.unwrap();
        assert_eq!(reverted, Progress::Done(()));
    }

    async fn deployments(&self) -> Vec<Deployment> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut items = api.list(&ListParams::default()).await.unwrap().items;
        items.sort_by_key(ResourceExt::name_any);
        items
    }

    async fn names(&self) -> Vec<String> {
        self.deployments().await.iter().map(ResourceExt::name_any).collect()
    }
}

#[tokio::test]
async fn a_free_tenant_gets_all_nine_services_within_its_quota_and_loses_them_again() {
    let world = World::new(Tier::Free).await;
    let core = world.finish::<DeployCoreServices>().await;
    let data = world.finish::<DeployDataServices>().await;
    let made: Vec<_> = core.releases.iter().chain(&data.releases).collect();
    assert!(made.iter().all(|release| release.created_by == Some(world.run)), "{made:?}");

    assert_eq!(world.names().await, NINE);
    for deployment in world.deployments().await {
        let name = deployment.name_any();
        assert_eq!(deployment.status.unwrap().ready_replicas, Some(1), "{name}");
        assert_eq!(deployment.metadata.labels.unwrap()["matih.ai/tenant-id"], world.tenant.id.to_string());
        let pod = deployment.spec.template.spec.unwrap();
        let container = &pod.containers[0];
        assert_eq!(container.image.as_deref(), Some(format!("matih.azurecr.io/{name}:latest").as_str()));
        let env = serde_json::to_value(&container.env).unwrap();
        let env = |name: &str| env.as_array().unwrap().iter().find(|it| it["name"] == name).cloned().unwrap();
        assert_eq!(env("TENANT_ID")["value"], world.tenant.id.to_string());
        assert_eq!(
            env("DATABASE_URL")["valueFrom"]["secretKeyRef"],
            json!({ "name": "tenant-database-credentials", "key": "DATABASE_URL" })
        );
    }
    let quotas: Api<ResourceQuota> = Api::namespaced(world.client.clone(), &world.namespace);
    let quota = quotas.get("tenant-quota").await.unwrap().status.unwrap();
    assert_eq!(quota.used.unwrap()["limits.cpu"].0, "1350m", "the quota counts the nine");

    // Once more: nothing changes.
    let before: Vec<_> = world.deployments().await.iter().map(ResourceExt::resource_version).collect();
    world.finish::<DeployCoreServices>().await;
    world.finish::<DeployDataServices>().await;
    let after: Vec<_> = world.deployments().await.iter().map(ResourceExt::resource_version).collect();
    assert_eq!(before, after);

    for _ in 0..2 {
        world.revert::<DeployDataServices>(Scope::Run).await;
        assert_eq!(world.names().await, ["ai-service", "catalog-service", "query-engine"]);
    }
    world.revert::<DeployCoreServices>(Scope::Run).await;
    let helm = Helm::connect(&Cluster::connect().await.unwrap()).unwrap();
    assert_eq!(helm.inventory(world.tenant.id, "matih.ai").await.unwrap(), []);
    assert!(world.names().await.is_empty());
}

#[tokio::test]
async fn a_professional_tenants_services_have_the_references_resources_within_its_quota() {
    let world = World::new(Tier::Professional).await;
    world.finish::<DeployCoreServices>().await;
    world.finish::<DeployDataServices>().await;
    assert_eq!(world.names().await, NINE);
    for deployment in world.deployments().await {
        let container = &deployment.spec.template.spec.unwrap().containers[0];
        assert_eq!(
            serde_json::to_value(&container.resources).unwrap(),
            json!({
                "requests": { "cpu": "250m", "memory": "512Mi" },
                "limits": { "cpu": "1", "memory": "1Gi" },
            })
        );
    }
}

#[tokio::test]
async fn a_service_is_installed_only_when_what_it_needs_is_ready() {
    let world = World::new(Tier::Free).await;
    world.finish::<DeployCoreServices>().await;
    let (phase, mut plan) = world.plan::<DeployDataServices>().await;
    let semantic = plan.releases.iter_mut().find(|release| release.name == "semantic-layer").unwrap();
    // The simulated nodes keep a pod with this label from getting ready.
    semantic.values["podLabels"]["tenantry.test/never-ready"] = "true".into();

    let parked = phase.apply(&plan, &world.step(Scope::Run, Duration::ZERO)).await.unwrap_err();
    let waits_for = format!("Deployment {}/semantic-layer: 0 of 1 replicas ready", world.namespace);
    assert!(matches!(&parked.kind, Kind::Parked(wait) if wait.on.starts_with(&waits_for)), "{parked}");
    let names = world.names().await;
    assert!(names.contains(&"semantic-layer".into()) && names.contains(&"pipeline-service".into()));
    assert!(!names.contains(&"bi-service".into()) && !names.contains(&"render-service".into()), "{names:?}");

    // The budget of waiting is elapsed time.
    plan.ready_within = Seconds(60.0);
    let late = phase.apply(&plan, &world.step(Scope::Run, Duration::from_mins(1))).await.unwrap_err();
    assert_eq!((late.kind, late.code), (Kind::Retryable, "not_ready"));
    assert!(late.message.starts_with(&waits_for), "{}", late.message);

    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &world.namespace);
    let selector = ListParams::default().labels("app.kubernetes.io/instance=semantic-layer");
    for pod in pods.list(&selector).await.unwrap() {
        let ready = json!({ "metadata": { "labels": { "tenantry.test/never-ready": "false" } } });
        pods.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(ready)).await.unwrap();
    }
    until_done(async || phase.apply(&plan, &world.step(Scope::Run, Duration::ZERO)).await).await.unwrap();
    assert_eq!(world.names().await, NINE);
}
