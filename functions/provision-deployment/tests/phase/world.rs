//! A tenant with a namespace made by CREATE_NAMESPACE, the control plane's database, and the cluster as its operator sees it.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use create_namespace::CreateNamespace;
use engine::phase::{
    Checkpoints, Error, Fence, Interrupt, Kind, Operation, Owner, Phase, Progress, Result, Scope, Step,
    StepParts,
};
use engine::store::{DeploymentRow, KeyUse, NewTenant, Store, StoredResponse};
use model::platform::{Platform, Seconds};
use model::secret::SecretRef;
use model::{RunId, Tenant, TenantId};
use provision_deployment::{Checkpoint, Plan, ProvisionDeployment};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
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

/// Creates an object that is none of ours.
pub fn create(object: &Value) {
    let mut child = Command::new("kubectl")
        .args(["create", "--filename=-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(object.to_string().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{object}");
}

/// One tenant. Namespace and database go with the test.
pub struct World {
    pub platform: Platform,
    pub tenant: Tenant,
    /// A run that nobody works on.
    pub run: RunId,
    pub namespace: String,
    pub store: Store,
    folder: tempfile::TempDir,
}

impl World {
    /// Runs the test with a free tenant whose slug ends in `suffix`, which the simulated nodes heed.
    pub async fn run(suffix: &str, test: impl AsyncFnOnce(&mut Self)) {
        let url = std::env::var("DATABASE_URL").expect("DATABASE_URL: run this test by `make test`");
        std::env::var("KUBECONFIG").expect("KUBECONFIG: run this test by `make test`");
        let name = format!("deployment_{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&url).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
        let (before, _) = url.rsplit_once('/').unwrap();
        let store = Store::connect_to(&format!("{before}/{name}"), 4).unwrap();
        let mut world = Self::new(store.clone(), suffix).await;
        let ended = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(test(&mut world))).await;
        store.close();
        // Postgres's own vacuum may be in it for a moment, whom only a superuser may send away.
        for _ in 0..20 {
            let gone = sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")));
            if gone.execute(&mut admin).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    }

    async fn new(store: Store, suffix: &str) -> Self {
        store.migrate().await.unwrap();
        let slug = format!("own-{}{suffix}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let (tenant, run) = tenant(&store, &slug).await;
        let folder = tempfile::tempdir().unwrap();
        let region = json!({
            "tenant_api_url": "http://127.0.0.1:1", "internal_secret": "env:NONE",
            "database": { "host": "db.eastus", "port": 5432, "shared_database": "region_eastus",
                          "admin_user": "admin", "admin_password": "env:NONE" },
        });
        let mut platform = Platform::default();
        platform.regions.insert("eastus".into(), serde_json::from_value(region).unwrap());
        let namespace = platform.namespace(&tenant.slug).to_string();
        let mut world = Self { platform, tenant, run, namespace, store, folder };
        world.internal_secret("region-secret");
        let phase = CreateNamespace::connect(&world.platform).await.unwrap();
        let plan = phase.plan(&world.tenant, &world.platform, &Checkpoints::default()).unwrap();
        phase.apply(&plan, &world.step(world.run, Scope::Run, Duration::ZERO)).await.unwrap();
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
        let slug = self.tenant.slug.clone();
        Step::new(StepParts {
            owner: Owner { tenant_id: self.tenant.id, slug, run_id, epoch: 1, scope },
            phase: ProvisionDeployment::NAME,
            backward: false,
            failures: 0,
            waits: 0,
            waited,
            fence: Arc::new(NeverLost),
            cancel: CancellationToken::new(),
        })
    }

    async fn phase(&self) -> (ProvisionDeployment, <ProvisionDeployment as Phase>::Plan) {
        let phase = ProvisionDeployment::connect(&(&self.platform, &self.store)).await.unwrap();
        let plan = phase.plan(&self.tenant, &self.platform, &Checkpoints::default()).unwrap();
        (phase, plan)
    }

    /// What earlier phases have left; a change finds the database among it.
    pub async fn attempt_after(
        &self,
        earlier: Checkpoints,
        waited: Duration,
    ) -> Result<Progress<Checkpoint>> {
        let phase = ProvisionDeployment::connect(&(&self.platform, &self.store)).await.unwrap();
        let plan = phase.plan(&self.tenant, &self.platform, &earlier).unwrap();
        phase.apply(&plan, &self.step(self.run, Scope::Run, waited)).await
    }

    /// What a change would do now: the tenant's database is there.
    pub async fn plan(&self) -> Plan {
        let earlier = [("SETUP_DATABASE".to_owned(), json!({ "secret": null }))].into();
        let phase = ProvisionDeployment::connect(&(&self.platform, &self.store)).await.unwrap();
        phase.plan(&self.tenant, &self.platform, &Checkpoints::new(earlier)).unwrap()
    }

    /// Does a plan in the region as it is now, until done: a change, or the undo of one by the plan of before.
    pub async fn make(&self, plan: &Plan, run: RunId) -> Checkpoint {
        let phase = ProvisionDeployment::connect(&(&self.platform, &self.store)).await.unwrap();
        until(async || phase.apply(plan, &self.step_now(run, Scope::Run)).await).await
    }

    /// Takes away what a plan has made, in the region as it is now, until done.
    pub async fn take_away(&self, plan: &Plan, run: RunId, scope: Scope) {
        let phase = ProvisionDeployment::connect(&(&self.platform, &self.store)).await.unwrap();
        until(async || phase.revert(plan, None, &self.step_now(run, scope)).await).await;
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
        until(async || phase.apply(&plan, &self.step(run, Scope::Run, Duration::ZERO)).await).await
    }

    pub async fn provision(&self) -> Checkpoint {
        self.provision_by(self.run).await
    }

    /// Undoes until done.
    pub async fn undo(&self, run: RunId, scope: Scope) {
        let (phase, plan) = self.phase().await;
        until(async || phase.revert(&plan, None, &self.step(run, scope, Duration::ZERO)).await).await;
    }

    /// An object of the namespace; none when it is not there.
    pub fn object(&self, kind: &str, name: &str) -> Option<Value> {
        let arguments = ["get", kind, name, "--namespace", &self.namespace, "--ignore-not-found", "-o=json"];
        let found = kubectl(&arguments);
        (!found.trim().is_empty()).then(|| serde_json::from_str(&found).unwrap())
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

async fn until<T>(attempt: impl AsyncFn() -> Result<Progress<T>>) -> T {
    let began = Instant::now();
    loop {
        let wait = match attempt().await {
            Ok(Progress::Done(value)) => return value,
            Ok(Progress::Wait(wait)) | Err(Error { kind: Kind::Parked(wait), .. }) => wait,
            Err(error) => panic!("{error}"),
        };
        assert!(began.elapsed() < WITHIN, "still waits: {}", wait.on);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn tenant(store: &Store, slug: &str) -> (Tenant, RunId) {
    let new = NewTenant {
        slug: slug.parse().unwrap(),
        name: "Own".into(),
        tier: model::Tier::Free,
        region: "eastus".into(),
        admin_email: "a@example.com".into(),
        domain: None,
        compliance_required: false,
        member_count: 0,
        monthly_api_calls: 0,
        deployment_type: model::DeploymentType::ContainerPerTenant,
        deployment_reason: "test".into(),
        has_dedicated_database: true,
        cost_center: None,
        alerting: None,
        on_failure: model::OnFailure::Rollback,
        actor: "tester".into(),
        phases: vec![ProvisionDeployment::NAME],
    };
    let key = KeyUse { actor: "tester", key: slug, body_hash: b"test", kept: Seconds(60.0) };
    let domains = model::platform::Domains::default();
    let made = store.create_tenant(&new, &key, Seconds(0.0), &domains, |row| StoredResponse {
        status: 202,
        body: json!({ "id": row.id }),
        headers: json!({}),
    });
    let id: TenantId = made.await.unwrap().body["id"].as_str().unwrap().parse().unwrap();
    let tenant = serde_json::from_value(json!({
        "id": id, "slug": slug, "name": "Own", "tier": "free", "region": "eastus",
        "admin_email": "a@example.com", "deployment_type": "container_per_tenant",
        "has_dedicated_database": true, "created_by": "tester", "created_at": "2026-02-12T10:00:00Z",
    }))
    .unwrap();
    (tenant, RunId(store.status(id).await.unwrap().unwrap().run.id))
}

impl Drop for World {
    fn drop(&mut self) {
        let arguments = ["delete", "namespace", &self.namespace, "--wait=false", "--ignore-not-found"];
        drop(Command::new("kubectl").args(arguments).output());
    }
}
