//! A control plane's database with a tenant, a platform with licence keys, and the cluster as its operator sees it.

use std::io::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use create_namespace::CreateNamespace;
use engine::phase::{Checkpoints, Error, Owner, Phase, Progress, Scope, Step};
use issue_license::{Checkpoint, IssueLicense, Plan};
use license::Claims;
use license::seal::{Purpose, Sealed};
use model::platform::Platform;
use model::secret::SecretRef;
use model::{DeploymentType, RunId, Tenant};
use serde_json::{Value, json};
use sqlx::PgPool;
use tenants::Store;
use testing::{
    ClaimedStep, Database, Namespace, kubectl, prepare, recorded, required, until_done_at_once, with_database,
};

/// The database goes with the test, the keys with the folder.
pub struct World {
    pub store: Store,
    pub pool: PgPool,
    pub platform: Platform,
    folder: tempfile::TempDir,
}

impl World {
    pub async fn run(test: impl AsyncFnOnce(&mut Self)) {
        required("KUBECONFIG");
        with_database("license", async |Database { store, pool }| {
            let folder = tempfile::tempdir().unwrap();
            let mut world = Self { store, pool, platform: Platform::default(), folder };
            world.sign_with("s1");
            world.seal_with("k1");
            test(&mut world).await;
        })
        .await;
    }

    /// A file with this text, as a secret's reference.
    pub fn file(&self, name: &str, text: &str) -> SecretRef {
        let path = self.folder.path().join(name);
        writeln!(std::fs::File::create(&path).unwrap(), "{text}").unwrap();
        SecretRef::File(path.display().to_string())
    }

    /// A new signing key, which signs from now on.
    pub fn sign_with(&mut self, id: &str) {
        let key = self.file(id, &STANDARD.encode([id.as_bytes()[1]; 32]));
        self.platform.license.signing_keys.insert(id.into(), key);
        self.platform.license.sign_with = id.into();
    }

    /// A new key-encryption key, which seals from now on.
    pub fn seal_with(&mut self, id: &str) {
        let key = self.file(id, &STANDARD.encode([id.as_bytes()[1]; 32]));
        self.platform.license.key_encryption_keys.insert(id.into(), key);
        self.platform.license.seal_with = id.into();
    }

    /// A free tenant of the pooled instance with a run that nobody works on.
    pub async fn tenant(&self) -> Life {
        self.tenant_of(DeploymentType::Shared).await
    }

    /// A free tenant with a namespace made by CREATE_NAMESPACE.
    pub async fn own_tenant(&self) -> Life {
        let life = self.tenant_of(DeploymentType::ContainerPerTenant).await;
        prepare::<CreateNamespace>(&self.platform, &life.tenant, life.run).await;
        life
    }

    async fn tenant_of(&self, deployment_type: DeploymentType) -> Life {
        let tenant = Tenant { deployment_type, has_dedicated_database: false, ..testing::tenant("t") };
        let (tenant, run) = recorded(&self.store, tenant, IssueLicense::NAME).await;
        let namespace = Platform::default().namespace(&tenant.slug).to_string();
        let own = deployment_type == DeploymentType::ContainerPerTenant;
        Life { tenant, run, _namespace: own.then(|| Namespace(namespace)) }
    }

    /// Applies the phase as this run does.
    pub async fn apply(&self, life: &Life) -> Result<Checkpoint, Error> {
        self.apply_in(life, life.run, Duration::ZERO).await
    }

    /// Applies the phase in a run, so long after now.
    pub async fn apply_in(&self, life: &Life, run: RunId, later: Duration) -> Result<Checkpoint, Error> {
        self.applied(&self.platform, life, run, later).await
    }

    /// Applies the phase as a process with this configuration does.
    pub async fn apply_with(&self, platform: &Platform, life: &Life) -> Result<Checkpoint, Error> {
        self.applied(platform, life, life.run, Duration::ZERO).await
    }

    async fn applied(
        &self,
        platform: &Platform,
        life: &Life,
        run: RunId,
        later: Duration,
    ) -> Result<Checkpoint, Error> {
        let phase = IssueLicense::connect(&(platform, self.store.runs())).await?;
        let plan = phase.plan(&life.tenant, platform, &Checkpoints::default())?;
        let step = step(life, run, false, Scope::Run).after(Vec::new(), chrono::Utc::now() + later);
        until_done_at_once(async || phase.apply(&plan, &step).await).await
    }

    /// What is planned for the tenant now.
    pub async fn plan(&self, life: &Life) -> Plan {
        let phase = IssueLicense::connect(&(&self.platform, self.store.runs())).await.unwrap();
        phase.plan(&life.tenant, &self.platform, &Checkpoints::default()).unwrap()
    }

    /// Makes what was so before a change again, as the change's undo does.
    pub async fn take_back(&self, life: &Life, before: &Plan, run: RunId) -> Checkpoint {
        let phase = IssueLicense::connect(&(&self.platform, self.store.runs())).await.unwrap();
        let step = step(life, run, true, Scope::Run);
        until_done_at_once(async || phase.apply(before, &step).await).await.unwrap()
    }

    /// Undoes the phase.
    pub async fn revert(&self, life: &Life, run: RunId, scope: Scope) {
        until_done_at_once(async || self.revert_in(life, run, scope).await).await.unwrap();
    }

    /// Undoes the phase as this run's rollback does.
    pub async fn try_revert(&self, life: &Life) -> Result<Progress<()>, Error> {
        self.revert_in(life, life.run, Scope::Run).await
    }

    /// No key is needed for that, so there is none; but for a Secret that a former licence comes back into.
    async fn revert_in(&self, life: &Life, run: RunId, scope: Scope) -> Result<Progress<()>, Error> {
        let none = Platform::default();
        let shared = life.tenant.deployment_type == DeploymentType::Shared;
        let phase =
            IssueLicense::connect(&(if shared { &none } else { &self.platform }, self.store.runs())).await?;
        let plan: Plan = phase.plan(&life.tenant, &self.platform, &Checkpoints::default())?;
        phase.revert(&plan, None, &step(life, run, true, scope)).await
    }

    /// The current licence's claims, opened with the platform's keys and checked by the public ones.
    pub async fn claims(&self, life: &Life) -> Option<Claims> {
        let stored = self.store.license(life.tenant.id).await.unwrap()?;
        let text = license::seals(&self.platform.license)
            .unwrap()
            .open(Purpose::License, life.tenant.id, &Sealed::from(&stored))
            .unwrap_or_else(|error| panic!("{error}"));
        let public = license::signer(&self.platform.license).unwrap().public_keys();
        Some(public.verify(&text, life.tenant.id, chrono::Utc::now().timestamp()).unwrap())
    }

    /// How many licences of the tenant there are, current or not.
    pub async fn licenses(&self, life: &Life) -> i64 {
        self.count("SELECT count(*) FROM tenant_licenses WHERE tenant_id = $1", life).await
    }

    /// How many notices to the data plane were written.
    pub async fn notices(&self, life: &Life) -> i64 {
        self.count("SELECT count(*) FROM outbox WHERE sink = 'license' AND tenant_id = $1", life).await
    }

    async fn count(&self, query: &'static str, life: &Life) -> i64 {
        sqlx::query_scalar(query).bind(life.tenant.id.0).fetch_one(&self.pool).await.unwrap()
    }
}

/// A tenant and its run. Its namespace goes with it.
pub struct Life {
    pub tenant: Tenant,
    pub run: RunId,
    _namespace: Option<Namespace>,
}

impl Life {
    pub fn namespace(&self) -> String {
        Platform::default().namespace(&self.tenant.slug).to_string()
    }

    /// The Secret's only value, as a pod reads it; none without the Secret.
    pub fn mounted(&self) -> Option<String> {
        let data = self.secret()?["data"].clone();
        let data = data.as_object().unwrap();
        assert_eq!(data.keys().collect::<Vec<_>>(), ["license"]);
        Some(String::from_utf8(STANDARD.decode(data["license"].as_str().unwrap()).unwrap()).unwrap())
    }

    /// The Secret with the licence; none when it is not there.
    pub fn secret(&self) -> Option<Value> {
        testing::object(&["secret", "tenant-api-license", "--namespace", &self.namespace()])
    }

    /// A Secret of that name that somebody else has made.
    pub fn foreign_secret(&self) -> Value {
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": { "license": "theirs" },
            "metadata": { "name": "tenant-api-license", "namespace": self.namespace() },
        });
        testing::create(&object);
        self.secret().unwrap()
    }

    /// Everything in the cluster that is marked as the tenant's, of the kinds that anybody makes for one.
    pub fn objects(&self) -> String {
        let ours = format!("--selector=matih.ai/tenant-id={}", self.tenant.id);
        let kinds = "namespaces,secrets,configmaps,serviceaccounts,deployments";
        kubectl(&["get", kinds, "--all-namespaces", &ours, "-o=name"])
    }
}

fn owner(life: &Life, run_id: RunId, scope: Scope) -> Owner {
    Owner { tenant_id: life.tenant.id, slug: life.tenant.slug.clone(), run_id, epoch: 1, scope }
}

fn step(life: &Life, run: RunId, backward: bool, scope: Scope) -> Step {
    ClaimedStep::of(IssueLicense::NAME, owner(life, run, scope)).backward(backward).step()
}
