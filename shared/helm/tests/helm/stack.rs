//! What every test here needs of the real stack: a namespace of its own, a step, and a look at the world.

use std::path::Path;
use std::time::Duration;

use cluster::Cluster;
use engine::phase::{Owner, Scope, Step};
use helm::{Helm, Release};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use model::{PhaseName, RunId, Slug, TenantId};
use serde_json::{Value, json};
use testing::{ClaimedStep, required};
use tokio_util::sync::CancellationToken;

pub const PREFIX: &str = "matih.ai";

/// A namespace with a tenant, gone with the test.
pub struct ReleaseFixture {
    pub helm: Helm,
    pub client: Client,
    pub namespace: testing::Namespace,
    pub tenant: TenantId,
    pub run: RunId,
}

impl ReleaseFixture {
    pub async fn new() -> Self {
        required("KUBECONFIG");
        let tenant = TenantId::generate();
        let place = Self::at(&format!("matih-helm-{}", &tenant.to_string()[24..]), tenant).await;
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(place.namespace.to_string());
        Api::all(place.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        place
    }

    pub async fn at(namespace: &str, tenant: TenantId) -> Self {
        let cluster = Cluster::connect().await.unwrap();
        let helm = Helm::connect(&cluster).unwrap();
        Self {
            helm,
            client: cluster.client(),
            namespace: testing::Namespace(namespace.into()),
            tenant,
            run: RunId::generate(),
        }
    }

    pub fn owner(&self, scope: Scope) -> Owner {
        let slug: Slug = self.namespace["matih-".len()..].parse().unwrap();
        Owner { tenant_id: self.tenant, slug, run_id: self.run, epoch: 1, scope }
    }

    pub fn step(&self) -> Step {
        self.cancellable(CancellationToken::new())
    }

    pub fn cancellable(&self, cancel: CancellationToken) -> Step {
        ClaimedStep::of(PhaseName::new("TEST"), self.owner(Scope::Run)).cancel(cancel).step()
    }

    /// The query engine from the stack's chart repository.
    pub fn query_engine(&self) -> Release {
        self.release("query-engine", &required("CHART_REPOSITORY_URL"), json!({ "replicaCount": 1 }))
    }

    pub fn release(&self, chart: &str, repository_url: &str, values: Value) -> Release {
        let slug: Slug = self.namespace["matih-".len()..].parse().unwrap();
        Release {
            namespace: model::Namespace::of("matih-", &slug),
            name: chart.into(),
            chart: chart.into(),
            version: "0.1.0".into(),
            repository_url: repository_url.into(),
            values,
            label_prefix: PREFIX.into(),
        }
    }

    /// Helm's storage: status of each revision of a release, oldest first, with the Secrets.
    pub async fn storage(&self, name: &str) -> Vec<(String, Secret)> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let selector = format!("owner=helm,name={name}");
        let mut secrets = api.list(&ListParams::default().labels(&selector)).await.unwrap().items;
        secrets.sort_by_key(|secret| secret.labels()["version"].parse::<u32>().unwrap());
        secrets.into_iter().map(|secret| (secret.labels()["status"].clone(), secret)).collect()
    }

    pub async fn statuses(&self, name: &str) -> Vec<String> {
        self.storage(name).await.into_iter().map(|(status, _)| status).collect()
    }

    /// Waits until the release has a revision in this state.
    pub async fn until(&self, name: &str, status: &str) {
        for _ in 0..600 {
            if self.statuses(name).await.iter().any(|is| is == status) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{name} never became {status}: {:?}", self.statuses(name).await);
    }

    pub async fn delete_namespace(&self) {
        let api: Api<Namespace> = Api::all(self.client.clone());
        drop(api.delete(&self.namespace, &DeleteParams::default()).await);
    }
}

/// The helms at work in this namespace.
pub fn helms_of(namespace: &str) -> Vec<i32> {
    let argument = format!("--namespace={namespace}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

/// Whether a process is there, be it only as a zombie that nobody has waited for.
pub fn exists(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
