//! A tenant with a namespace made by CREATE_NAMESPACE, and the cluster as its operator sees it.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use create_namespace::CreateNamespace;
use deploy_ingress_controller::{Checkpoint, DeployIngressController};
use engine::phase::{
    Checkpoints, Error, Fence, Interrupt, Kind, Operation, Owner, Phase, Progress, Result, Scope, Step,
    StepParts,
};
use model::platform::Platform;
use model::{DeploymentType, RunId, Tenant, TenantId, Tier};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything.
const WITHIN: Duration = Duration::from_mins(3);

struct NeverLost;

#[async_trait]
impl Fence for NeverLost {
    async fn record(&self, _: &[Operation]) -> std::result::Result<(), Interrupt> {
        Ok(())
    }
}

/// What kubectl prints. It must succeed.
pub fn kubectl(arguments: &[&str]) -> String {
    let done = Command::new("kubectl").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "kubectl {arguments:?}: {said}");
    String::from_utf8(done.stdout).unwrap()
}

/// An object as it is; none when it is not there.
pub fn object(what: &[&str]) -> Option<Value> {
    let found = kubectl(&[&["get", "--ignore-not-found", "-o=json"], what].concat());
    (!found.trim().is_empty()).then(|| serde_json::from_str(&found).unwrap())
}

/// The tenant, gone with the test.
pub struct World {
    pub platform: Platform,
    pub tenant: Tenant,
    pub run: RunId,
    pub namespace: String,
}

impl World {
    /// `end` is the end of the namespace's name, by which the local stack chooses a bad case.
    pub async fn new(end: &str, adjust: impl FnOnce(&mut Platform)) -> Self {
        let required = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| {
                panic!("{name} is not set; these tests need the local stack: run `make test`")
            })
        };
        required("KUBECONFIG");
        let id = TenantId::generate();
        let mut platform = Platform::default();
        platform.charts.repository_url = required("CHART_REPOSITORY_URL");
        adjust(&mut platform);
        let tenant = Tenant {
            id,
            slug: format!("ing-{}{end}", &id.to_string()[28..]).parse().unwrap(),
            name: "Ingress".into(),
            tier: Tier::Free,
            region: "eastus".into(),
            admin_email: "admin@example.com".into(),
            deployment_type: DeploymentType::ContainerPerTenant,
            has_dedicated_database: true,
            cost_center: None,
            alerting: model::Alerting::default(),
            suspended: false,
            container: model::Container::default(),
            domains: Vec::new(),
            created_by: "test".into(),
            created_at: "2026-02-12T10:00:00Z".parse().unwrap(),
        };
        let namespace = platform.namespace(&tenant.slug).to_string();
        let world = Self { platform, tenant, run: RunId::generate(), namespace };
        let (phase, plan) = world.planned::<CreateNamespace>().await;
        phase.apply(&plan, &world.step(Scope::Run, Duration::ZERO)).await.unwrap();
        world
    }

    pub fn step(&self, scope: Scope, waited: Duration) -> Step {
        self.step_of(self.run, scope, waited)
    }

    pub fn step_of(&self, run_id: RunId, scope: Scope, waited: Duration) -> Step {
        let slug = self.tenant.slug.clone();
        Step::new(StepParts {
            owner: Owner { tenant_id: self.tenant.id, slug, run_id, epoch: 1, scope },
            phase: DeployIngressController::NAME,
            backward: false,
            failures: 0,
            waits: 0,
            waited,
            fence: Arc::new(NeverLost),
            cancel: CancellationToken::new(),
        })
    }

    async fn planned<P: Phase>(&self) -> (P, P::Plan) {
        let phase = P::connect(&self.platform).await.unwrap();
        let plan = phase.plan(&self.tenant, &self.platform, &Checkpoints::default()).unwrap();
        (phase, plan)
    }

    /// One attempt.
    pub async fn attempt(&self, waited: Duration) -> Result<Progress<Checkpoint>> {
        let (phase, plan) = self.planned::<DeployIngressController>().await;
        phase.apply(&plan, &self.step(Scope::Run, waited)).await
    }

    /// Attempts until done, as the engine would.
    pub async fn deploy(&self) -> Checkpoint {
        self.deploy_by(self.run).await
    }

    pub async fn deploy_by(&self, run: RunId) -> Checkpoint {
        let (phase, plan) = self.planned::<DeployIngressController>().await;
        until_done(async || phase.apply(&plan, &self.step_of(run, Scope::Run, Duration::ZERO)).await)
            .await
            .unwrap()
    }

    /// Undoes until done, as the engine would.
    pub async fn undo(&self, run: RunId, scope: Scope) {
        let (phase, plan) = self.planned::<DeployIngressController>().await;
        until_done(async || phase.revert(&plan, None, &self.step_of(run, scope, Duration::ZERO)).await)
            .await
            .unwrap();
    }

    /// One attempt to undo.
    pub async fn undo_once(&self, scope: Scope) -> Result<Progress<()>> {
        let (phase, plan) = self.planned::<DeployIngressController>().await;
        phase.revert(&plan, None, &self.step(scope, Duration::ZERO)).await
    }

    /// Everything of the phase that is there: kind, name, uid and version, those cluster-scoped too.
    pub fn there(&self) -> Vec<String> {
        let label = format!("matih.ai/tenant-id={}", self.tenant.id);
        let mut lines = lines("ingressclasses,clusterroles,clusterrolebindings", &["-l", &label]);
        let inside = "services,deployments,configmaps,serviceaccounts,roles,rolebindings,poddisruptionbudgets,\
                      networkpolicies";
        let of_the_namespace = ["/default ", "/tenant-workload ", "/kube-root-ca.crt "];
        lines.extend(self::lines(inside, &["-n", &self.namespace]));
        lines.extend(self::lines("secrets", &["-n", &self.namespace, "-l", "owner=helm"]));
        lines.retain(|line| !of_the_namespace.iter().any(|own| line.contains(own)));
        lines
    }
}

fn lines(kinds: &str, how: &[&str]) -> Vec<String> {
    // A Deployment's version changes with its status.
    let format = r#"-o=jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid} {.metadata.generation}{"\n"}{end}"#;
    let found = kubectl(&[&["get", kinds, format], how].concat());
    found.lines().map(str::to_owned).collect()
}

async fn until_done<T>(call: impl AsyncFn() -> Result<Progress<T>>) -> Result<T> {
    let began = std::time::Instant::now();
    loop {
        match call().await {
            Ok(Progress::Done(value)) => return Ok(value),
            Ok(Progress::Wait(wait)) | Err(Error { kind: Kind::Parked(wait), .. }) => {
                assert!(began.elapsed() < WITHIN, "still waits: {}", wait.on);
                tokio::time::sleep(wait.after).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// What a parked attempt waits for.
pub fn waits_for<T: std::fmt::Debug>(attempt: Result<Progress<T>>) -> String {
    match attempt {
        Ok(Progress::Wait(wait)) | Err(Error { kind: Kind::Parked(wait), .. }) => wait.on,
        other => panic!("does not wait: {other:?}"),
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let arguments = ["delete", "namespace", &self.namespace, "--wait=false", "--ignore-not-found"];
        drop(Command::new("kubectl").args(arguments).output());
        let label = format!("-lmatih.ai/tenant-id={}", self.tenant.id);
        let arguments = ["delete", "ingressclasses,clusterroles,clusterrolebindings", &label, "--wait=false"];
        drop(Command::new("kubectl").args(arguments).output());
    }
}
