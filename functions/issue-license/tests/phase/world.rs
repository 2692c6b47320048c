//! A control plane's database with a tenant, and a platform with licence keys.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use issue_license::{Checkpoint, IssueLicense, Plan};
use serde_json::json;
use shared::license::{self, Claims};
use shared::model::{RunId, Tenant, TenantId};
use shared::phase::{
    Checkpoints, Error, Fence, Interrupt, Operation, Owner, Phase, Progress, Scope, Step, StepParts,
};
use shared::platform::{Platform, Seconds};
use shared::seal::{Purpose, Sealed};
use shared::secret::SecretRef;
use shared::store::{KeyUse, Store, StoredResponse};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

struct Open;

#[async_trait]
impl Fence for Open {
    async fn record(&self, _: &[Operation]) -> Result<(), Interrupt> {
        Ok(())
    }
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
        sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
            .execute(&mut admin)
            .await
            .unwrap();
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

    /// A free tenant with a run that nobody works on.
    pub async fn tenant(&self) -> Life {
        let slug = format!("t-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let new = shared::store::NewTenant {
            slug: slug.parse().unwrap(),
            name: "Test".into(),
            tier: shared::model::Tier::Free,
            region: "eastus".into(),
            admin_email: "a@example.com".into(),
            domain: None,
            compliance_required: false,
            member_count: 0,
            monthly_api_calls: 0,
            deployment_type: shared::model::DeploymentType::Shared,
            deployment_reason: "test".into(),
            has_dedicated_database: false,
            cost_center: None,
            alerting: None,
            on_failure: shared::model::OnFailure::Rollback,
            actor: "tester".into(),
            phases: vec![IssueLicense::NAME],
        };
        let key = KeyUse { actor: "tester", key: &slug, body_hash: b"test", kept: Seconds(60.0) };
        let domains = shared::platform::Domains::default();
        let made = self.store.create_tenant(&new, &key, Seconds(0.0), &domains, |row| StoredResponse {
            status: 202,
            body: json!({ "id": row.id }),
            headers: json!({}),
        });
        let id: TenantId = made.await.unwrap().body["id"].as_str().unwrap().parse().unwrap();
        let tenant = serde_json::from_value(json!({
            "id": id, "slug": slug, "name": "Test", "tier": "free", "region": "eastus",
            "admin_email": "a@example.com", "deployment_type": "shared", "has_dedicated_database": false,
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
        let phase = IssueLicense::connect_beside(platform, &self.store).await?;
        let plan = phase.plan(&life.tenant, platform, &Checkpoints::default())?;
        let step = step(life, run, false, Scope::Run).after(Vec::new(), chrono::Utc::now() + later);
        match phase.apply(&plan, &step).await? {
            Progress::Done(done) => Ok(done),
            Progress::Wait(wait) => panic!("{wait:?}"),
        }
    }

    /// Undoes the phase.
    pub async fn revert(&self, life: &Life, run: RunId, scope: Scope) {
        let done = self.revert_in(life, run, scope).await.unwrap();
        assert_eq!(done, Progress::Done(()));
    }

    /// Undoes the phase as this run's rollback does.
    pub async fn try_revert(&self, life: &Life) -> Result<Progress<()>, Error> {
        self.revert_in(life, life.run, Scope::Run).await
    }

    /// No key is needed for that, so there is none.
    async fn revert_in(&self, life: &Life, run: RunId, scope: Scope) -> Result<Progress<()>, Error> {
        let phase = IssueLicense::connect_beside(&Platform::default(), &self.store).await?;
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

/// A tenant and its run.
pub struct Life {
    pub tenant: Tenant,
    pub run: RunId,
}

fn step(life: &Life, run: RunId, backward: bool, scope: Scope) -> Step {
    Step::new(StepParts {
        owner: Owner {
            tenant_id: life.tenant.id,
            slug: life.tenant.slug.clone(),
            run_id: run,
            epoch: 1,
            scope,
        },
        phase: IssueLicense::NAME,
        backward,
        failures: 0,
        waits: 0,
        waited: Duration::ZERO,
        fence: Arc::new(Open),
        cancel: CancellationToken::new(),
    })
}
