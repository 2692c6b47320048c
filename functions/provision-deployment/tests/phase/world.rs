//! A tenant with a namespace made by CREATE_NAMESPACE, the control plane's database, and the cluster as its operator sees it.

use std::time::Duration;

use create_namespace::CreateNamespace;
use engine::phase::{Checkpoints, Phase, Progress, Result, Scope, Step};
use model::platform::Platform;
use model::secret::SecretRef;
use model::{RunId, Tenant};
use provision_deployment::{Checkpoint, Plan, ProvisionDeployment};
use serde_json::{Value, json};
use tenants::{DeploymentRow, Store};
use testing::{
    ClaimedStep, Namespace, kubectl, prepare, recorded, required, tenant_ending, until_done_at_once,
    with_database,
};

/// One tenant. Namespace and database go with the test.
pub struct World {
    pub platform: Platform,
    pub tenant: Tenant,
    /// A run that nobody works on.
    pub run: RunId,
    pub namespace: Namespace,
    pub store: Store,
    folder: tempfile::TempDir,
}

impl World {
    /// Runs the test with a free tenant whose slug ends in `suffix`, which the simulated nodes heed.
    pub async fn run(suffix: &str, test: impl AsyncFnOnce(&mut Self)) {
        required("KUBECONFIG");
        with_database("deployment", async |database| {
            let mut world = Self::new(database.store, suffix).await;
            test(&mut world).await;
        })
        .await;
    }

    async fn new(store: Store, suffix: &str) -> Self {
        let tenant = tenant_ending("own", suffix);
        let (tenant, run) = recorded(&store, tenant, ProvisionDeployment::NAME).await;
        let folder = tempfile::tempdir().unwrap();
        let region = json!({
            "tenant_api_url": "http://127.0.0.1:1", "internal_secret": "env:NONE",
            "database": { "host": "db.eastus", "port": 5432, "shared_database": "region_eastus",
                          "admin_user": "admin", "admin_password": "env:NONE" },
        });
        let mut platform = Platform::default();
        platform.regions.insert("eastus".into(), serde_json::from_value(region).unwrap());
        let namespace = Namespace(platform.namespace(&tenant.slug).to_string());
        let mut world = Self { platform, tenant, run, namespace, store, folder };
        world.internal_secret("region-secret");
        prepare::<CreateNamespace>(&world.platform, &world.tenant, world.run).await;
        let restricted = "pod-security.kubernetes.io/enforce=restricted";
        kubectl(&["label", "namespace", &world.namespace, restricted]);
        world
    }

    /// A file with this secret.
    pub fn file(&self, value: &str) -> SecretRef {
        let path = self.folder.path().join(uuid::Uuid::new_v4().to_string());
        std::fs::write(&path, format!("{value}\n")).unwrap();
        SecretRef::File(path.display().to_string())
    }

    /// The region's internal secret from now on.
    pub fn internal_secret(&mut self, value: &str) {
        let reference = self.file(value);
        self.platform.regions.get_mut("eastus").unwrap().internal_secret = reference;
    }

    /// The one that is accepted beside it.
    pub fn former_internal_secret(&mut self, value: Option<&str>) {
        let former = value.map(|value| ("eastus".to_owned(), self.file(value)));
        self.platform.tenant_api.former_internal_secrets = former.into_iter().collect();
    }

    pub fn step(&self, run_id: RunId, scope: Scope, waited: Duration) -> Step {
        let step = ClaimedStep::new(ProvisionDeployment::NAME, &self.tenant, run_id);
        step.scope(scope).waited(0, waited).step()
    }

    async fn phase(&self) -> (ProvisionDeployment, <ProvisionDeployment as Phase>::Plan) {
        let phase = ProvisionDeployment::connect(&(&self.platform, self.store.runs())).await.unwrap();
        let plan = phase.plan(&self.tenant, &self.platform, &Checkpoints::default()).unwrap();
        (phase, plan)
    }

    /// What earlier phases have left; a change finds the database among it.
    pub async fn attempt_after(
        &self,
        earlier: Checkpoints,
        waited: Duration,
    ) -> Result<Progress<Checkpoint>> {
        let phase = ProvisionDeployment::connect(&(&self.platform, self.store.runs())).await.unwrap();
        let plan = phase.plan(&self.tenant, &self.platform, &earlier).unwrap();
        phase.apply(&plan, &self.step(self.run, Scope::Run, waited)).await
    }

    /// What a change would do now: the tenant's database is there.
    pub async fn plan(&self) -> Plan {
        let earlier = [("SETUP_DATABASE".to_owned(), json!({ "secret": null }))].into();
        let phase = ProvisionDeployment::connect(&(&self.platform, self.store.runs())).await.unwrap();
        phase.plan(&self.tenant, &self.platform, &Checkpoints::new(earlier)).unwrap()
    }

    /// Does a plan in the region as it is now, until done: a change, or the undo of one by the plan of before.
    pub async fn make(&self, plan: &Plan, run: RunId) -> Checkpoint {
        let phase = ProvisionDeployment::connect(&(&self.platform, self.store.runs())).await.unwrap();
        until_done_at_once(async || phase.apply(plan, &self.step_now(run, Scope::Run)).await).await.unwrap()
    }

    /// Takes away what a plan has made, in the region as it is now, until done.
    pub async fn take_away(&self, plan: &Plan, run: RunId, scope: Scope) {
        let phase = ProvisionDeployment::connect(&(&self.platform, self.store.runs())).await.unwrap();
        until_done_at_once(async || phase.revert(plan, None, &self.step_now(run, scope)).await)
            .await
            .unwrap();
    }

    fn step_now(&self, run: RunId, scope: Scope) -> Step {
        self.step(run, scope, Duration::ZERO).in_region(self.platform.regions.get("eastus").cloned())
    }

    /// One attempt of the first run, after it has been parked for so long.
    pub async fn attempt(&self, waited: Duration) -> Result<Progress<Checkpoint>> {
        let (phase, plan) = self.phase().await;
        phase.apply(&plan, &self.step(self.run, Scope::Run, waited)).await
    }

    /// Attempts until done, as the engine would.
    pub async fn provision_by(&self, run: RunId) -> Checkpoint {
        let (phase, plan) = self.phase().await;
        until_done_at_once(async || phase.apply(&plan, &self.step(run, Scope::Run, Duration::ZERO)).await)
            .await
            .unwrap()
    }

    pub async fn provision(&self) -> Checkpoint {
        self.provision_by(self.run).await
    }

    /// Undoes until done.
    pub async fn undo(&self, run: RunId, scope: Scope) {
        let (phase, plan) = self.phase().await;
        until_done_at_once(async || phase.revert(&plan, None, &self.step(run, scope, Duration::ZERO)).await)
            .await
            .unwrap();
    }

    /// An object of the namespace; none when it is not there.
    pub fn object(&self, kind: &str, name: &str) -> Option<Value> {
        testing::object(&[kind, name, "--namespace", &self.namespace])
    }

    /// Kind, name and uid of whatever is in the namespace besides what CREATE_NAMESPACE and Kubernetes have put there.
    pub fn there(&self) -> Vec<String> {
        let kinds = "deployments,replicasets,pods,services,ingresses,secrets,serviceaccounts,networkpolicies";
        let format = r#"-o=jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid}{"\n"}{end}"#;
        let mut there: Vec<String> = kubectl(&["get", kinds, "--namespace", &self.namespace, format])
            .lines()
            .filter(|line| !line.contains("/tenant-workload ") && !line.contains("/default "))
            .map(str::to_owned)
            .collect();
        there.sort();
        there
    }

    /// The control plane's row.
    pub async fn row(&self) -> Option<DeploymentRow> {
        self.store.deployment(self.tenant.id).await.unwrap()
    }
}
