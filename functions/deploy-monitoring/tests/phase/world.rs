//! A tenant with a namespace made by CREATE_NAMESPACE, gone with the test, and the phase that is tested on it.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cluster::Cluster;
use create_namespace::CreateNamespace;
use engine::phase::{Checkpoints, Error, Fence, Interrupt, Operation, Phase, Scope, Step};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, PostParams};
use kube::{Client, Resource};
use model::platform::{Charts, Platform, RegionCluster};
use model::secret::SecretRef;
use model::{RunId, Tenant, Tier};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use testing::{ClaimedStep, WITHIN, prepare, required, until_done};

/// Keeps what the operations would write to the control plane's database.
#[derive(Default)]
struct Written(Mutex<String>);

#[async_trait]
impl Fence for Written {
    async fn record(&self, operations: &[Operation]) -> Result<(), Interrupt> {
        self.0.lock().unwrap().push_str(&serde_json::to_string(operations).unwrap());
        Ok(())
    }
}

pub struct World<P> {
    pub tenant: Tenant,
    pub namespace: String,
    pub platform: Platform,
    phase: P,
    run: RunId,
    client: Client,
    kubeconfig: String,
    written: Arc<Written>,
}

impl<P: Phase> World<P> {
    pub async fn new(tier: Tier) -> Self {
        // Where the tenant's region has a cluster of its own, and the process's is another.
        let region = std::env::var("REGION_KUBECONFIG").ok();
        let cluster = region.clone().map(|kubeconfig| RegionCluster {
            region: "eastus".into(),
            kubeconfig: SecretRef::File(kubeconfig),
        });
        let kubeconfig = region.unwrap_or_else(|| required("KUBECONFIG"));
        let platform = Platform {
            charts: Charts { repository_url: required("CHART_REPOSITORY_URL"), ..Charts::default() },
            observability: testing::observability(),
            simulated_nodes: true,
            cluster,
            ..Platform::default()
        };
        let tenant = Tenant { tier, ..testing::tenant("mon") };
        let namespace = platform.namespace(&tenant.slug).to_string();
        let client = Cluster::of(&platform).await.unwrap().client();
        let phase = P::connect(&platform).await.unwrap();
        let (run, written) = (RunId::generate(), Arc::default());
        let world = Self { tenant, namespace, platform, phase, run, client, kubeconfig, written };
        // Another run's, so that the rollbacks below leave it.
        prepare::<CreateNamespace>(&world.platform, &world.tenant, RunId::generate()).await;
        world
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
        let step = ClaimedStep::new(P::NAME, &self.tenant, run_id);
        step.scope(scope).fence(self.written.clone()).step()
    }

    /// The operations' results so far.
    pub fn written(&self) -> String {
        self.written.0.lock().unwrap().clone()
    }

    fn plan(&self) -> P::Plan {
        self.phase.plan(&self.tenant, &self.platform, &Checkpoints::default()).unwrap()
    }

    /// Applies until done, as the engine would; in the run whose rollback `revert` is.
    pub async fn apply(&self) -> P::Checkpoint {
        self.apply_in(self.run).await
    }

    pub async fn apply_in(&self, run: RunId) -> P::Checkpoint {
        let plan = self.plan();
        until_done(async || Box::pin(self.phase.apply(&plan, &self.step(run, Scope::Run))).await)
            .await
            .unwrap()
    }

    /// The error that it fails with.
    pub async fn fails(&self) -> Error {
        match Box::pin(self.phase.apply(&self.plan(), &self.step(self.run, Scope::Run))).await {
            Err(error) => error,
            Ok(_) => panic!("it does not fail"),
        }
    }

    pub async fn revert(&self, scope: Scope) {
        self.revert_of(self.run, scope).await;
    }

    pub async fn revert_of(&self, run: RunId, scope: Scope) {
        let plan = self.plan();
        until_done(async || Box::pin(self.phase.revert(&plan, None, &self.step(run, scope))).await)
            .await
            .unwrap();
    }

    /// Everything in the namespace, by kind, name and uid, but what tells of events and leases.
    pub fn listing(&self) -> BTreeSet<String> {
        let kinds =
            kubectl(&self.kubeconfig, &["api-resources", "--verbs=list", "--namespaced", "--output=name"]);
        let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
        let kinds = kinds.join(",");
        let listed = ["get", &kinds, "--namespace", &self.namespace, "--output=json"];
        let all = kubectl(&self.kubeconfig, &listed);
        let all: Value = serde_json::from_str(&all).unwrap();
        let all = all["items"].as_array().unwrap().iter();
        all.map(|it| format!("{} {} {}", it["kind"], it["metadata"]["name"], it["metadata"]["uid"])).collect()
    }

    /// Controllers take away what hung on deleted objects.
    pub async fn until_listed(&self, wanted: &BTreeSet<String>) {
        let began = Instant::now();
        loop {
            let listed = self.listing();
            if listed == *wanted {
                return;
            }
            assert!(began.elapsed() < WITHIN, "left: {:#?}", listed.difference(wanted));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// What a tool says of a file; it must accept it.
pub fn checked(tool: &[&str], file: &str, content: &str) -> String {
    run_on(tool, file, content, &[])
}

/// As [`checked`], with arguments after the file.
pub fn run_on(tool: &[&str], file: &str, content: &str, more: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file);
    std::fs::write(&path, content).unwrap();
    let done =
        Command::new(tool[0]).args(&tool[1..]).arg(&path).args(more).current_dir(folder.path()).output();
    let done = done.unwrap_or_else(|error| panic!("{}: {error}; run `make test`", tool[0]));
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{tool:?}: {said}\n{content}");
    said
}

fn kubectl(kubeconfig: &str, arguments: &[&str]) -> String {
    let done = Command::new("kubectl").env("KUBECONFIG", kubeconfig).args(arguments).output().unwrap();
    assert!(done.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

impl<P> Drop for World<P> {
    fn drop(&mut self) {
        let arguments = ["delete", "namespace", &self.namespace, "--wait=false", "--ignore-not-found"];
        drop(Command::new("kubectl").env("KUBECONFIG", &self.kubeconfig).args(arguments).output());
    }
}
