//! A tenant with a namespace made by CREATE_NAMESPACE, gone with the test.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use create_namespace::CreateNamespace;
use deploy_monitoring::DeployMonitoring;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::cluster::Cluster;
use shared::model::{Alerting, DeploymentType, RunId, Tenant, TenantId, Tier};
use shared::phase::{
    Checkpoints, Error, Fence, Interrupt, Kind, Operation, Owner, Phase, Progress, Result, Scope, Step,
    StepParts,
};
use shared::platform::{Charts, Platform};
use tokio_util::sync::CancellationToken;

/// Longest wait for anything.
const WITHIN: Duration = Duration::from_secs(60);

/// Keeps what the operations would write to the control plane's database.
#[derive(Default)]
struct Written(Mutex<String>);

#[async_trait]
impl Fence for Written {
    async fn record(&self, operations: &[Operation]) -> std::result::Result<(), Interrupt> {
        self.0.lock().unwrap().push_str(&serde_json::to_string(operations).unwrap());
        Ok(())
    }
}

pub struct World {
    pub tenant: Tenant,
    pub namespace: String,
    platform: Platform,
    run: RunId,
    client: Client,
    written: Arc<Written>,
}

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; these tests need the local stack: run `make test`"))
}

impl World {
    pub async fn new(tier: Tier) -> Self {
        variable("KUBECONFIG");
        let id = TenantId::generate();
        let platform = Platform {
            charts: Charts { repository_url: variable("CHART_REPOSITORY_URL"), ..Charts::default() },
            ..Platform::default()
        };
        let tenant = Tenant {
            id,
            slug: format!("mon-{}", &id.to_string()[24..]).parse().unwrap(),
            name: "Monitored".into(),
            tier,
            region: "eastus".into(),
            admin_email: "admin@example.com".into(),
            deployment_type: DeploymentType::ContainerPerTenant,
            has_dedicated_database: true,
            cost_center: None,
            alerting: Alerting::default(),
            created_by: "test".into(),
            created_at: "2026-02-12T10:00:00Z".parse().unwrap(),
        };
        let namespace = platform.namespace(&tenant.slug).to_string();
        let client = Cluster::connect().await.unwrap().client();
        let world =
            Self { tenant, namespace, platform, run: RunId::generate(), client, written: Arc::default() };
        // Another run's, so that the rollbacks below leave it.
        let run = RunId::generate();
        let phase = CreateNamespace::connect(&world.platform).await.unwrap();
        let plan = phase.plan(&world.tenant, &world.platform, &Checkpoints::default()).unwrap();
        phase.apply(&plan, &world.step(run, Scope::Run)).await.unwrap();
        world
    }

    pub fn client(&self) -> Client {
        self.client.clone()
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub async fn create<K>(&self, object: &Value)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned,
    {
        let object: K = serde_json::from_value(object.clone()).unwrap();
        self.api::<K>().create(&PostParams::default(), &object).await.unwrap();
    }

    fn step(&self, run_id: RunId, scope: Scope) -> Step {
        let owner =
            Owner { tenant_id: self.tenant.id, slug: self.tenant.slug.clone(), run_id, epoch: 1, scope };
        Step::new(StepParts {
            owner,
            phase: DeployMonitoring::NAME,
            backward: false,
            failures: 0,
            waits: 0,
            waited: Duration::ZERO,
            fence: self.written.clone(),
            cancel: CancellationToken::new(),
        })
    }

    /// The operations' results so far.
    pub fn written(&self) -> String {
        let written = self.written.0.lock().unwrap().clone();
        assert!(written.contains("notification channels"));
        written
    }

    async fn phase(&self) -> (DeployMonitoring, <DeployMonitoring as Phase>::Plan) {
        let phase = DeployMonitoring::connect(&self.platform).await.unwrap();
        let plan = phase.plan(&self.tenant, &self.platform, &Checkpoints::default()).unwrap();
        (phase, plan)
    }

    /// Applies until done, as the engine would. The first run is the one whose rollback `revert` is.
    pub async fn apply(&self, run: RunId, scope: Scope) {
        let run = if self.written.0.lock().unwrap().contains("ready") { run } else { self.run };
        let (phase, plan) = self.phase().await;
        until_done(async || phase.apply(&plan, &self.step(run, scope)).await).await;
    }

    /// The error that it fails with.
    pub async fn fails(&self) -> Error {
        let (phase, plan) = self.phase().await;
        phase.apply(&plan, &self.step(self.run, Scope::Run)).await.unwrap_err()
    }

    pub async fn revert(&self, scope: Scope) {
        self.revert_of(self.run, scope).await;
    }

    pub async fn revert_of(&self, run: RunId, scope: Scope) {
        let (phase, plan) = self.phase().await;
        until_done(async || phase.revert(&plan, None, &self.step(run, scope)).await).await;
    }

    /// Everything in the namespace, by kind, name and uid, but what tells of events and leases.
    pub async fn listing(&self) -> BTreeSet<String> {
        let kinds = kubectl(&["api-resources", "--verbs=list", "--namespaced", "--output=name"]);
        let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
        let kinds = kinds.join(",");
        let all = kubectl(&["get", &kinds, "--namespace", &self.namespace, "--output=json"]);
        let all: Value = serde_json::from_str(&all).unwrap();
        let all = all["items"].as_array().unwrap().iter();
        all.map(|it| format!("{} {} {}", it["kind"], it["metadata"]["name"], it["metadata"]["uid"])).collect()
    }

    /// Controllers take away what hung on deleted objects.
    pub async fn until_listed(&self, wanted: &BTreeSet<String>) {
        let began = Instant::now();
        loop {
            let listed = self.listing().await;
            if listed == *wanted {
                return;
            }
            assert!(began.elapsed() < WITHIN, "left: {:#?}", listed.difference(wanted));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// What a tool says of a file; it must accept it.
    pub fn checked(&self, tool: &[&str], file: &str, content: &str) -> String {
        self.run_on(tool, file, content, &[])
    }

    /// As [`World::checked`], with arguments after the file.
    pub fn run_on(&self, tool: &[&str], file: &str, content: &str, more: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        std::fs::write(&path, content).unwrap();
        let done =
            Command::new(tool[0]).args(&tool[1..]).arg(&path).args(more).current_dir(folder.path()).output();
        let done = done.unwrap_or_else(|error| panic!("{}: {error}; run `make test`", tool[0]));
        let said =
            format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{tool:?}: {said}\n{content}");
        said
    }
}

async fn until_done<T>(call: impl AsyncFn() -> Result<Progress<T>>) -> T {
    let began = Instant::now();
    loop {
        let wait = match call().await {
            Ok(Progress::Done(value)) => return value,
            Ok(Progress::Wait(wait)) | Err(Error { kind: Kind::Parked(wait), .. }) => wait,
            Err(error) => panic!("{error}"),
        };
        assert!(began.elapsed() < WITHIN, "waits for {}", wait.on);
        tokio::time::sleep(wait.after).await;
    }
}

fn kubectl(arguments: &[&str]) -> String {
    let done = Command::new("kubectl").args(arguments).output().unwrap();
    assert!(done.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// What the operator rendered, from the Secret that it hands to the pod.
pub async fn unzipped(world: &World, secret: &str, key: &str) -> String {
    let found = world.api::<Secret>().get(secret).await.unwrap();
    let zipped = found.data.unwrap().remove(key).unwrap().0;
    let mut gzip =
        Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = gzip.stdin.take().unwrap();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &zipped).unwrap());
    let done = gzip.wait_with_output().unwrap();
    writer.join().unwrap();
    String::from_utf8(done.stdout).unwrap()
}

impl Drop for World {
    fn drop(&mut self) {
        let arguments = ["delete", "namespace", &self.namespace, "--wait=false", "--ignore-not-found"];
        drop(Command::new("kubectl").args(arguments).output());
    }
}
