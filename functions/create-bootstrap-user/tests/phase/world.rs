//! A control plane's database, a region with a tenant-api, and tenants whose tables are there.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use create_bootstrap_user::{Checkpoint, CreateBootstrapUser, Plan};
use engine::phase::{
    Checkpoints, Error, Fence, Interrupt, Operation, Owner, Phase, Progress, Result, Scope, Step, StepParts,
};
use engine::store::{KeyUse, Sealed, Store, StoredResponse};
use license::invitation::Token;
use license::seal::Purpose;
use model::platform::{Isolation, Platform, Region, RegionDatabase, Seconds};
use model::secret::{Secret, SecretRef};
use model::{RunId, Tenant, TenantId};
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgPool};
use tenant_api_client::{Access, Initialize, Place, Server, Strategy, TenantApi, own_secret};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What every tenant-api of these tests lets in.
const SECRET: &str = "the internal secret of these tests";

struct Open;

#[async_trait]
impl Fence for Open {
    async fn record(&self, _: &[Operation]) -> std::result::Result<(), Interrupt> {
        Ok(())
    }
}

/// The database goes with the test, keys and secrets with the folder, tenants with [`World::run`].
pub struct World {
    pub store: Store,
    pub pool: PgPool,
    pub platform: Platform,
    /// Where the tenants' own instance is, which PROVISION_DEPLOYMENT has made.
    pub own: Option<String>,
    folder: tempfile::TempDir,
    lives: std::sync::Mutex<Vec<TenantId>>,
}

/// A tenant and its run.
pub struct Life {
    pub tenant: Tenant,
    pub run: RunId,
}

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this test by `make test`"))
}

impl World {
    pub async fn run(test: impl AsyncFnOnce(&mut Self)) {
        let url = setting("DATABASE_URL");
        let name = format!("invitation_{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&url).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
        let own = format!("{}/{name}", &url[..url.rfind('/').unwrap()]);
        let store = Store::connect_to(&own, 8).unwrap();
        store.migrate().await.unwrap();
        let pool = PgPool::connect(&own).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self {
            store: store.clone(),
            pool: pool.clone(),
            platform: Platform::default(),
            own: None,
            folder,
            lives: std::sync::Mutex::default(),
        };
        world.seal_with("k1");
        world.region(serve(pooled()).await);
        let ended = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(test(&mut world))).await;
        let lives = world.lives.lock().unwrap().clone();
        for tenant in lives {
            let drop =
                TenantApi::connect().unwrap().drop(&world.access(), tenant, &place(tenant), None).await;
            assert!(ended.is_err() || drop.is_ok(), "{drop:?}");
        }
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

    /// The region's tenant-api is at `url`.
    pub fn region(&mut self, url: String) {
        let region = Region {
            tenant_api_url: url,
            internal_secret: self.file("internal", SECRET),
            database: RegionDatabase {
                host: setting("REGION_DATABASE_HOST"),
                port: setting("REGION_DATABASE_PORT").parse().unwrap(),
                shared_database: "region_eastus".into(),
                admin_user: setting("REGION_DATABASE_ADMIN_USER"),
                admin_password: SecretRef::Env("REGION_DATABASE_ADMIN_PASSWORD".into()),
            },
            database_cidrs: Vec::new(),
            cluster: None,
            domain: None,
            isolation: Isolation::Shared,
            accepts_tenants: true,
            jobs: None,
        };
        self.platform.regions = [("eastus".to_owned(), region)].into();
    }

    /// A file with this text, as a secret's reference.
    pub fn file(&self, name: &str, text: &str) -> SecretRef {
        let path = self.folder.path().join(name);
        writeln!(std::fs::File::create(&path).unwrap(), "{text}").unwrap();
        SecretRef::File(path.display().to_string())
    }

    /// A new key-encryption key, which seals from now on.
    pub fn seal_with(&mut self, id: &str) {
        let key = self.file(id, &STANDARD.encode([id.as_bytes()[1]; 32]));
        self.platform.license.key_encryption_keys.insert(id.into(), key);
        self.platform.license.seal_with = id.into();
    }

    fn access(&self) -> Access {
        let server = Server::of(&self.platform, "eastus").unwrap();
        server.with(Secret::new(SECRET), Secret::new(setting("REGION_DATABASE_ADMIN_PASSWORD")))
    }

    /// A shared tenant whose tables are there.
    pub async fn tenant(&self) -> Life {
        let life = self.record().await;
        let at = place(life.tenant.id);
        let what = Initialize {
            tenant: life.tenant.id,
            run: life.run,
            place: &at,
            password: None,
            connection_limit: None,
        };
        TenantApi::connect().unwrap().initialize(&self.access(), what).await.unwrap();
        life
    }

    /// A shared tenant of whom nothing is there yet.
    pub async fn record(&self) -> Life {
        let slug = format!("t-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let email = format!("Ann@{}.Example", slug.to_uppercase());
        let new = engine::store::NewTenant {
            slug: slug.parse().unwrap(),
            name: "Test".into(),
            tier: model::Tier::Free,
            region: "eastus".into(),
            admin_email: email.clone(),
            domain: None,
            compliance_required: false,
            member_count: 0,
            monthly_api_calls: 0,
            deployment_type: model::DeploymentType::Shared,
            deployment_reason: "test".into(),
            has_dedicated_database: false,
            cost_center: None,
            alerting: None,
            on_failure: model::OnFailure::Rollback,
            actor: "tester".into(),
            phases: vec![CreateBootstrapUser::NAME],
        };
        let key = KeyUse { actor: "tester", key: &slug, body_hash: b"test", kept: Seconds(60.0) };
        let domains = model::platform::Domains::default();
        let made = self.store.create_tenant(&new, &key, Seconds(0.0), &domains, |row| StoredResponse {
            status: 202,
            body: json!({ "id": row.id }),
            headers: json!({}),
        });
        let id: TenantId = made.await.unwrap().body["id"].as_str().unwrap().parse().unwrap();
        self.lives.lock().unwrap().push(id);
        let tenant = serde_json::from_value(json!({
            "id": id, "slug": slug, "name": "Test", "tier": "free", "region": "eastus",
            "admin_email": email, "deployment_type": "shared", "has_dedicated_database": false,
            "created_by": "tester", "created_at": "2026-02-12T10:00:00Z",
        }))
        .unwrap();
        Life { tenant, run: RunId(self.store.status(id).await.unwrap().unwrap().run.id) }
    }

    /// Applies the phase as this run does.
    pub async fn apply(&self, life: &Life) -> Result<Checkpoint> {
        self.apply_in(life, life.run).await
    }

    /// Applies the phase in another run.
    pub async fn apply_in(&self, life: &Life, run: RunId) -> Result<Checkpoint> {
        let phase = CreateBootstrapUser::connect(&(&self.platform, &self.store)).await?;
        let plan = phase.plan(&life.tenant, &self.platform, &self.earlier())?;
        match phase.apply(&plan, &step(life, run, false, Scope::Run)).await? {
            Progress::Done(done) => Ok(done),
            Progress::Wait(wait) => panic!("{wait:?}"),
        }
    }

    /// Undoes the phase. No key is needed for that, so there is none.
    pub async fn revert(&self, life: &Life, run: RunId, scope: Scope) -> Result<()> {
        let none = Platform { regions: self.platform.regions.clone(), ..Platform::default() };
        let phase = CreateBootstrapUser::connect(&(&none, &self.store)).await?;
        let plan: Plan = phase.plan(&life.tenant, &self.platform, &self.earlier())?;
        let done = phase.revert(&plan, None, &step(life, run, true, scope)).await?;
        assert_eq!(done, Progress::Done(()));
        Ok(())
    }

    fn earlier(&self) -> Checkpoints {
        let made = |own: &String| ("PROVISION_DEPLOYMENT".to_owned(), json!({ "endpoint": own }));
        Checkpoints::new(self.own.iter().map(made).collect())
    }

    /// Ids of the tenant's rows for the sink, oldest first.
    pub async fn invitations(&self, life: &Life) -> Vec<uuid::Uuid> {
        sqlx::query_scalar(
            "SELECT id FROM outbox WHERE tenant_id = $1 AND sink = 'invitation' ORDER BY number",
        )
        .bind(life.tenant.id.0)
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    /// The token that waits.
    pub async fn token(&self, life: &Life) -> Token {
        let waits: (Vec<u8>, Vec<u8>, String) = sqlx::query_as(
            "SELECT sealed, wrapped_key, kek_id FROM outbox WHERE tenant_id = $1 AND sink = 'invitation'",
        )
        .bind(life.tenant.id.0)
        .fetch_one(&self.pool)
        .await
        .unwrap();
        let sealed = Sealed { text: waits.0, data_key: waits.1, key_id: waits.2 };
        let seals = license::seals(&self.platform.license).unwrap();
        let text = seals.open(Purpose::Invitation, life.tenant.id, &sealed).unwrap();
        Token::parse(&text).unwrap()
    }

    /// Addresses and roles of the tenant's users, by the region's administrator.
    pub async fn users(&self, life: &Life) -> Vec<(String, String)> {
        let mut admin = region_admin().await;
        let own = format!("tenant_{}", life.tenant.id);
        let table = "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'users')";
        let there: bool = sqlx::query_scalar(table).bind(&own).fetch_one(&mut admin).await.unwrap();
        if !there {
            return Vec::new();
        }
        sqlx::raw_sql(AssertSqlSafe(format!(
            "GRANT \"{own}\" TO CURRENT_USER; SET ROLE \"{own}\"; SET search_path TO \"{own}\""
        )))
        .execute(&mut admin)
        .await
        .unwrap();
        sqlx::query_as("SELECT email, role FROM users ORDER BY 1").fetch_all(&mut admin).await.unwrap()
    }
}

async fn region_admin() -> PgConnection {
    PgConnectOptions::new_without_pgpass()
        .host(&setting("REGION_DATABASE_HOST"))
        .port(setting("REGION_DATABASE_PORT").parse().unwrap())
        .username(&setting("REGION_DATABASE_ADMIN_USER"))
        .password(&setting("REGION_DATABASE_ADMIN_PASSWORD"))
        .database("region_eastus")
        .connect()
        .await
        .unwrap()
}

/// How the pooled instance works in tenants' tables.
pub fn pooled() -> tenant_api::Tables {
    tenant_api::Tables::new(Some(SecretRef::Env("POOL_DATABASE_URL".into())), None, false)
}

/// A tenant-api in this process; it ends with the test.
pub async fn serve(tables: tenant_api::Tables) -> String {
    serve_letting_in(&Secret::new(SECRET), tables).await
}

/// As [`serve`], for a tenant only: it lets in by that tenant's own secret.
pub async fn serve_own(tenant: TenantId, tables: tenant_api::Tables) -> String {
    serve_letting_in(&own_secret(&Secret::new(SECRET), tenant), tables).await
}

async fn serve_letting_in(secret: &Secret, tables: tenant_api::Tables) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let secrets = tenant_api::InternalSecrets::new([secret.expose().to_owned()]).unwrap();
    let config = tenant_api::Config { tables, ..tenant_api::Config::new(secrets) };
    tokio::spawn(tenant_api::serve(listener, config, std::future::pending()));
    url
}

fn place(tenant: TenantId) -> Place {
    Place::of(tenant, Strategy::Schema, "region_eastus")
}

fn step(life: &Life, run: RunId, backward: bool, scope: Scope) -> Step {
    Step::new(StepParts {
        owner: owner(life, run, scope),
        phase: CreateBootstrapUser::NAME,
        backward,
        failures: 0,
        waits: 0,
        waited: Duration::ZERO,
        fence: Arc::new(Open),
        cancel: CancellationToken::new(),
    })
}

/// Who works on a run.
pub fn owner(life: &Life, run: RunId, scope: Scope) -> Owner {
    Owner { tenant_id: life.tenant.id, slug: life.tenant.slug.clone(), run_id: run, epoch: 1, scope }
}

/// The error of a failed attempt.
pub fn failure(done: Result<Checkpoint>) -> Error {
    done.unwrap_err()
}
