//! A tenant with a namespace made by CREATE_NAMESPACE, and the cluster as its operator sees it.

use std::process::Command;
use std::time::Duration;

use create_namespace::CreateNamespace;
use deploy_ingress_controller::{Checkpoint, DeployIngressController};
use engine::phase::{Phase, Progress, Result, Scope, Step};
use model::platform::Platform;
use model::{RunId, Tenant};
use testing::{ClaimedStep, Namespace, kubectl, planned, prepare, required, until_done};

/// The tenant, gone with the test.
pub struct World {
    pub platform: Platform,
    pub tenant: Tenant,
    pub run: RunId,
    pub namespace: Namespace,
}

impl World {
    /// `end` is the end of the namespace's name, by which the local stack chooses a bad case.
    pub async fn new(end: &str, adjust: impl FnOnce(&mut Platform)) -> Self {
        required("KUBECONFIG");
        let mut platform = Platform::default();
        platform.charts.repository_url = required("CHART_REPOSITORY_URL");
        adjust(&mut platform);
        let tenant = testing::tenant_ending("ing", end);
        let namespace = Namespace(platform.namespace(&tenant.slug).to_string());
        let world = Self { platform, tenant, run: RunId::generate(), namespace };
        prepare::<CreateNamespace>(&world.platform, &world.tenant, world.run).await;
        world
    }

    pub fn step(&self, scope: Scope, waited: Duration) -> Step {
        self.step_of(self.run, scope, waited)
    }

    pub fn step_of(&self, run_id: RunId, scope: Scope, waited: Duration) -> Step {
        let step = ClaimedStep::new(DeployIngressController::NAME, &self.tenant, run_id);
        step.scope(scope).waited(0, waited).step()
    }

    /// One attempt.
    pub async fn attempt(&self, waited: Duration) -> Result<Progress<Checkpoint>> {
        let (phase, plan) = planned::<DeployIngressController>(&self.platform, &self.tenant).await;
        phase.apply(&plan, &self.step(Scope::Run, waited)).await
    }

    /// Attempts until done, as the engine would.
    pub async fn deploy(&self) -> Checkpoint {
        self.deploy_by(self.run).await
    }

    pub async fn deploy_by(&self, run: RunId) -> Checkpoint {
        let (phase, plan) = planned::<DeployIngressController>(&self.platform, &self.tenant).await;
        until_done(async || phase.apply(&plan, &self.step_of(run, Scope::Run, Duration::ZERO)).await)
            .await
            .unwrap()
    }

    /// Undoes until done, as the engine would.
    pub async fn undo(&self, run: RunId, scope: Scope) {
        let (phase, plan) = planned::<DeployIngressController>(&self.platform, &self.tenant).await;
        until_done(async || phase.revert(&plan, None, &self.step_of(run, scope, Duration::ZERO)).await)
            .await
            .unwrap();
    }

    /// One attempt to undo.
    pub async fn undo_once(&self, scope: Scope) -> Result<Progress<()>> {
        let (phase, plan) = planned::<DeployIngressController>(&self.platform, &self.tenant).await;
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

impl Drop for World {
    fn drop(&mut self) {
        let label = format!("-lmatih.ai/tenant-id={}", self.tenant.id);
        let arguments = ["delete", "ingressclasses,clusterroles,clusterrolebindings", &label, "--wait=false"];
        drop(Command::new("kubectl").args(arguments).output());
    }
}
