//! A control plane's database with a tenant, a platform with licence keys, and the cluster as its operator sees it.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use create_namespace::CreateNamespace;
use engine::phase::{
    Checkpoints, Error, Fence, Interrupt, Kind, Operation, Owner, Phase, Progress, Scope, Step, StepParts,
};
use engine::store::{KeyUse, Store, StoredResponse};
use issue_license::{Checkpoint, IssueLicense, Plan};
use license::Claims;
use license::seal::{Purpose, Sealed};
use model::platform::{Platform, Seconds};
use model::secret::SecretRef;
use model::{DeploymentType, RunId, Tenant, TenantId};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

struct Open;

#[async_trait]
impl Fence for Open {
    async fn record(&self, _: &[Operation]) -> Result<(), Interrupt> {
        Ok(())
    }
}

/// Longest wait for anything.
const WITHIN: Duration = Duration::from_mins(3);

/// What kubectl prints. It must succeed.
pub fn kubectl(arguments: &[&str]) -> String {
    let done = Command::new("kubectl").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "kubectl {arguments:?}: {said}");
    String::from_utf8(done.stdout).unwrap()
}

/// The database goes with the test, the keys with the folder.
pub struct World {
    pub store: Store,
    pub pool: PgPool,
    pub platform: Platform,
    folder: tempfile::TempDir,
}

impl World {
    pub async fn run(test: impl AsyncFnOnce(&mut Self)) {
        let url = std::env::var("DATABASE_URL").expect("DATABASE_URL: run this test by `make test`");
        std::env::var("KUBECONFIG").expect("KUBECONFIG: run this test by `make test`");
        let name = format!("license_{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&url).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
        let path = url.rfind('/').unwrap();
        let own = format!("{}/{name}", &url[..path]);
        let store = Store::connect_to(&own, 8).unwrap();
        store.migrate().await.unwrap();
        let pool = PgPool::connect(&own).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut world =
            Self { store: store.clone(), pool: pool.clone(), platform: Platform::default(), folder };
        world.sign_with("s1");
        world.seal_with("k1");
        let ended = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(test(&mut world))).await;
        pool.close().await;
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
        let phase = CreateNamespace::connect(&self.platform).await.unwrap();
        let plan = phase.plan(&life.tenant, &self.platform, &Checkpoints::default()).unwrap();
        phase.apply(&plan, &step(&life, life.run, false, Scope::Run)).await.unwrap();
        life
    }

    async fn tenant_of(&self, deployment_type: DeploymentType) -> Life {
        let slug = format!("t-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let new = engine::store::NewTenant {
            slug: slug.parse().unwrap(),
            name: "Test".into(),
            tier: model::Tier::Free,
            region: "eastus".into(),
            admin_email: "a@example.com".into(),
            domain: None,
            compliance_required: false,
            member_count: 0,
            monthly_api_calls: 0,
            deployment_type,
            deployment_reason: "test".into(),
            has_dedicated_database: false,
            cost_center: None,
            alerting: None,
            on_failure: model::OnFailure::Rollback,
            actor: "tester".into(),
            phases: vec![IssueLicense::NAME],
        };
        let key = KeyUse { actor: "tester", key: &slug, body_hash: b"test", kept: Seconds(60.0) };
        let domains = model::platform::Domains::default();
        let made = self.store.create_tenant(&new, &key, Seconds(0.0), &domains, |row| StoredResponse {
            status: 202,
            body: json!({ "id": row.id }),
            headers: json!({}),
        });
        let id: TenantId = made.await.unwrap().body["id"].as_str().unwrap().parse().unwrap();
        let tenant = serde_json::from_value(json!({
            "id": id, "slug": slug, "name": "Test", "tier": "free", "region": "eastus",
            "admin_email": "a@example.com", "deployment_type": deployment_type, "has_dedicated_database": false,
            "created_by": "tester", "created_at": "2026-02-12T10:00:00Z",
        }))
        .unwrap();
        Life { tenant, run: RunId(self.store.status(id).await.unwrap().unwrap().run.id) }
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
        let phase = IssueLicense::connect(&(platform, &self.store)).await?;
        let plan = phase.plan(&life.tenant, platform, &Checkpoints::default())?;
        let step = step(life, run, false, Scope::Run).after(Vec::new(), chrono::Utc::now() + later);
        until(async || phase.apply(&plan, &step).await).await
    }

    /// What is planned for the tenant now.
    pub async fn plan(&self, life: &Life) -> Plan {
        let phase = IssueLicense::connect(&(&self.platform, &self.store)).await.unwrap();
        phase.plan(&life.tenant, &self.platform, &Checkpoints::default()).unwrap()
    }

    /// Makes what was so before a change again, as the change's undo does.
    pub async fn take_back(&self, life: &Life, before: &Plan, run: RunId) -> Checkpoint {
        let phase = IssueLicense::connect(&(&self.platform, &self.store)).await.unwrap();
        let step = step(life, run, true, Scope::Run);
        until(async || phase.apply(before, &step).await).await.unwrap()
    }

    /// Undoes the phase.
    pub async fn revert(&self, life: &Life, run: RunId, scope: Scope) {
        until(async || self.revert_in(life, run, scope).await).await.unwrap();
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
            IssueLicense::connect(&(if shared { &none } else { &self.platform }, &self.store)).await?;
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
        let namespace = self.namespace();
        let name = ["get", "secret", "tenant-api-license", "--namespace", &namespace];
        let found = kubectl(&[&name[..], &["--ignore-not-found", "-o=json"]].concat());
        (!found.trim().is_empty()).then(|| serde_json::from_str(&found).unwrap())
    }

    /// A Secret of that name that somebody else has made.
    pub fn foreign_secret(&self) -> Value {
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": { "license": "theirs" },
            "metadata": { "name": "tenant-api-license", "namespace": self.namespace() },
        });
        let mut child = Command::new("kubectl")
            .args(["create", "--filename=-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(object.to_string().as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{object}");
        self.secret().unwrap()
    }

    /// Everything in the cluster that is marked as the tenant's, of the kinds that anybody makes for one.
    pub fn objects(&self) -> String {
        let ours = format!("--selector=matih.ai/tenant-id={}", self.tenant.id);
        let kinds = "namespaces,secrets,configmaps,serviceaccounts,deployments";
        kubectl(&["get", kinds, "--all-namespaces", &ours, "-o=name"])
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if self.tenant.deployment_type == DeploymentType::ContainerPerTenant {
            let namespace = self.namespace();
            let arguments = ["delete", "namespace", &namespace, "--wait=false", "--ignore-not-found"];
            drop(Command::new("kubectl").args(arguments).output());
        }
    }
}

/// Tries until it no longer waits, as the engine would.
async fn until<T>(attempt: impl AsyncFn() -> Result<Progress<T>, Error>) -> Result<T, Error> {
    let began = Instant::now();
    loop {
        let wait = match attempt().await {
            Ok(Progress::Done(value)) => return Ok(value),
            Ok(Progress::Wait(wait)) | Err(Error { kind: Kind::Parked(wait), .. }) => wait,
            Err(error) => return Err(error),
        };
        assert!(began.elapsed() < WITHIN, "still waits: {}", wait.on);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn owner(life: &Life, run_id: RunId, scope: Scope) -> Owner {
    Owner { tenant_id: life.tenant.id, slug: life.tenant.slug.clone(), run_id, epoch: 1, scope }
}

fn step(life: &Life, run: RunId, backward: bool, scope: Scope) -> Step {
    Step::new(StepParts {
        owner: owner(life, run, scope),
        phase: IssueLicense::NAME,
        backward,
        failures: 0,
        waits: 0,
        waited: Duration::ZERO,
        fence: Arc::new(Open),
        cancel: CancellationToken::new(),
    })
}
