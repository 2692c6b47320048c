//! A tenant with a namespace made by CREATE_NAMESPACE, and the cluster as its operator sees it.

use std::time::{Duration, Instant};

use create_namespace::CreateNamespace;
use create_tenant_ingress::{Checkpoint, CreateTenantIngress};
use engine::phase::{Phase, Progress, Result, Scope, Step};
use model::platform::{Platform, Seconds};
use model::{RunId, Tenant};
use serde_json::Value;
use testing::{ClaimedStep, Namespace, WITHIN, kubectl, planned, prepare, required, waits_for};

/// The tenant, whose namespace goes with the test.
pub struct World {
    pub platform: Platform,
    pub tenant: Tenant,
    pub run: RunId,
    pub namespace: Namespace,
    /// `acme.matih.ai`.
    pub host: String,
    /// The Certificate and its Secret.
    pub certificate: String,
}

impl World {
    pub async fn new() -> Self {
        required("KUBECONFIG");
        let mut platform = Platform::default();
        platform.certificates.cleanup_within = Seconds(10.0);
        let tenant = testing::tenant("tls");
        let world = Self {
            namespace: Namespace(platform.namespace(&tenant.slug).to_string()),
            host: format!("{}.matih.ai", tenant.slug),
            certificate: format!("{}-tls-certificate", tenant.slug),
            run: RunId::generate(),
            platform,
            tenant,
        };
        prepare::<CreateNamespace>(&world.platform, &world.tenant, world.run).await;
        world
    }

    /// The zone's name.
    pub fn zone(&self) -> String {
        format!("{}.", self.host)
    }

    fn step(&self, run_id: RunId, scope: Scope, waits: i32, waited: Duration) -> Step {
        let step = ClaimedStep::new(CreateTenantIngress::NAME, &self.tenant, run_id);
        step.scope(scope).waited(waits, waited).step()
    }

    /// One attempt, after so many waits and so much time of them.
    pub async fn attempt(&self, waits: i32, waited: Duration) -> Result<Progress<Checkpoint>> {
        let (phase, plan) = planned::<CreateTenantIngress>(&self.platform, &self.tenant).await;
        phase.apply(&plan, &self.step(self.run, Scope::Run, waits, waited)).await
    }

    /// Attempts until done, as the engine would; says what was waited for.
    pub async fn create_by(&self, run: RunId) -> (Checkpoint, Vec<String>) {
        let (phase, plan) = planned::<CreateTenantIngress>(&self.platform, &self.tenant).await;
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
        let (phase, plan) = planned::<CreateTenantIngress>(&self.platform, &self.tenant).await;
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
        let (phase, plan) = planned::<CreateTenantIngress>(&self.platform, &self.tenant).await;
        phase.revert(&plan, None, &self.step(self.run, scope, 0, Duration::ZERO)).await
    }

    /// An object of the namespace; none when it is not there.
    pub fn object(&self, what: &[&str]) -> Option<Value> {
        testing::object(&[what, &["-n", &self.namespace]].concat())
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
