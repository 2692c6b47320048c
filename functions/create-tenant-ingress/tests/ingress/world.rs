//! A tenant with a namespace made by CREATE_NAMESPACE, and the cluster as its operator sees it.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use create_namespace::CreateNamespace;
use create_tenant_ingress::{Checkpoint, CreateTenantIngress};
use engine::phase::{
    Checkpoints, Error, Fence, Interrupt, Kind, Operation, Owner, Phase, Progress, Result, Scope, Step,
    StepParts,
};
use model::platform::{Platform, Seconds};
use model::{DeploymentType, RunId, Tenant, TenantId, Tier};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::zone::required;

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

/// The tenant, whose namespace goes with the test.
pub struct World {
    pub platform: Platform,
    pub tenant: Tenant,
    pub run: RunId,
    pub namespace: String,
    /// `acme.matih.ai`.
    pub host: String,
    /// The Certificate and its Secret.
    pub certificate: String,
}

impl World {
    pub async fn new() -> Self {
        required("KUBECONFIG");
        let id = TenantId::generate();
        let mut platform = Platform::default();
        platform.certificates.cleanup_within = Seconds(10.0);
        let tenant = Tenant {
            id,
            slug: format!("tls-{}", &id.to_string()[26..]).parse().unwrap(),
            name: "TLS".into(),
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
        let world = Self {
            namespace: platform.namespace(&tenant.slug).to_string(),
            host: format!("{}.matih.ai", tenant.slug),
            certificate: format!("{}-tls-certificate", tenant.slug),
            run: RunId::generate(),
            platform,
            tenant,
        };
        let (phase, plan) = world.planned::<CreateNamespace>().await;
        phase.apply(&plan, &world.step(world.run, Scope::Run, 0, Duration::ZERO)).await.unwrap();
        world
    }

    /// The zone's name.
    pub fn zone(&self) -> String {
        format!("{}.", self.host)
    }

    fn step(&self, run_id: RunId, scope: Scope, waits: i32, waited: Duration) -> Step {
        let slug = self.tenant.slug.clone();
        Step::new(StepParts {
            owner: Owner { tenant_id: self.tenant.id, slug, run_id, epoch: 1, scope },
            phase: CreateTenantIngress::NAME,
            backward: false,
            failures: 0,
            waits,
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

    /// One attempt, after so many waits and so much time of them.
    pub async fn attempt(&self, waits: i32, waited: Duration) -> Result<Progress<Checkpoint>> {
        let (phase, plan) = self.planned::<CreateTenantIngress>().await;
        phase.apply(&plan, &self.step(self.run, Scope::Run, waits, waited)).await
    }

    /// Attempts until done, as the engine would; says what was waited for.
    pub async fn create_by(&self, run: RunId) -> (Checkpoint, Vec<String>) {
        let (phase, plan) = self.planned::<CreateTenantIngress>().await;
        let (began, mut waited) = (Instant::now(), Vec::new());
        loop {
            let waits = i32::try_from(waited.len()).unwrap();
            let step = self.step(run, Scope::Run, waits, Duration::ZERO);
            match phase.apply(&plan, &step).await {
                Ok(Progress::Done(checkpoint)) => return (checkpoint, waited),
                attempt => {
                    let wait = waits_for(attempt);
                    assert!(began.elapsed() < WITHIN, "still waits: {wait}");
                    waited.push(wait);
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    /// Attempts until the wait says `what`.
    pub async fn until_waiting(&self, what: &str) -> String {
        let (began, mut waits) = (Instant::now(), 0);
        loop {
            let on = waits_for(self.attempt(waits, Duration::ZERO).await);
            if on.contains(what) {
                return on;
            }
            assert!(began.elapsed() < WITHIN, "waits for {on} and not for {what}");
            waits += 1;
        }
    }

    /// Undoes until done.
    pub async fn undo(&self, run: RunId, scope: Scope) {
        let (phase, plan) = self.planned::<CreateTenantIngress>().await;
        let began = Instant::now();
        loop {
            match phase.revert(&plan, None, &self.step(run, scope, 0, began.elapsed())).await {
                Ok(Progress::Done(())) => return,
                attempt => {
                    let wait = waits_for(attempt);
                    assert!(began.elapsed() < WITHIN, "still waits: {wait}");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    pub async fn undo_once(&self, scope: Scope) -> Result<Progress<()>> {
        let (phase, plan) = self.planned::<CreateTenantIngress>().await;
        phase.revert(&plan, None, &self.step(self.run, scope, 0, Duration::ZERO)).await
    }

    /// An object of the namespace; none when it is not there.
    pub fn object(&self, what: &[&str]) -> Option<Value> {
        let found =
            kubectl(&[&["get", "-n", &self.namespace, "--ignore-not-found", "-o=json"], what].concat());
        (!found.trim().is_empty()).then(|| serde_json::from_str(&found).unwrap())
    }

    /// Everything of the phase and of cert-manager that is there: kind, name, uid and version.
    pub fn there(&self) -> Vec<String> {
        let kinds = "ingresses,services,secrets,certificates,certificaterequests,orders,challenges";
        let format = r#"-o=jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid} {.metadata.generation}{"\n"}{end}"#;
        kubectl(&["get", kinds, "-n", &self.namespace, format]).lines().map(str::to_owned).collect()
    }
}

impl World {
    /// As [`World::there`], once cert-manager has taken the challenges away, which it does a little after their order is done.
    pub async fn there_after_the_challenges(&self) -> Vec<String> {
        let began = Instant::now();
        loop {
            let there = self.there();
            if !there.iter().any(|line| line.starts_with("Challenge/")) {
                return there;
            }
            assert!(began.elapsed() < WITHIN, "challenges stay: {there:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
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
    }
}
