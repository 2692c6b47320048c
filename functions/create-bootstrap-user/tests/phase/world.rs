//! A control plane's database, a region with a tenant-api, and tenants whose tables are there.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use create_bootstrap_user::{Checkpoint, CreateBootstrapUser, Plan};
use engine::phase::{Checkpoints, Error, Owner, Phase, Progress, Result, Scope, Step};
use engine::store::Sealed;
use license::invitation::Token;
use license::seal::Purpose;
use model::platform::Platform;
use model::secret::{Secret, SecretRef};
use model::{DeploymentType, RunId, Tenant, TenantId};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};
use tenant_api_client::{Access, DatabaseTarget, Initialize, Server, Strategy, TenantApi, own_secret};
use tenants::Store;
use testing::{ClaimedStep, Database, recorded, region_admin, required, with_database};
use tokio::net::TcpListener;

/// What every tenant-api of these tests lets in.
const SECRET: &str = "the internal secret of these tests";

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

impl World {
    pub async fn run(test: impl AsyncFnOnce(&mut Self)) {
        with_database("invitation", async |Database { store, pool }| {
            let mut world = Self {
                store,
                pool,
                platform: Platform::default(),
                own: None,
                folder: tempfile::tempdir().unwrap(),
                lives: std::sync::Mutex::default(),
            };
            world.seal_with("k1");
            world.region(serve(pooled()).await);
            let ended =
                futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(test(&mut world))).await;
            let lives = world.lives.lock().unwrap().clone();
            for tenant in lives {
                let drop =
                    TenantApi::connect().unwrap().drop(&world.access(), tenant, &place(tenant), None).await;
                assert!(ended.is_err() || drop.is_ok(), "{drop:?}");
            }
            if let Err(panic) = ended {
                std::panic::resume_unwind(panic);
            }
        })
        .await;
    }

    /// The region's tenant-api is at `url`.
    pub fn region(&mut self, url: String) {
        let region = testing::region(url, self.file("internal", SECRET));
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
        server.with(Secret::new(SECRET), Secret::new(required("REGION_DATABASE_ADMIN_PASSWORD")))
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
        let tenant = testing::tenant("t");
        let tenant = Tenant {
            admin_email: format!("Ann@{}.Example", tenant.slug.as_str().to_uppercase()),
            deployment_type: DeploymentType::Shared,
            has_dedicated_database: false,
            ..tenant
        };
        let (tenant, run) = recorded(&self.store, tenant, CreateBootstrapUser::NAME).await;
        self.lives.lock().unwrap().push(tenant.id);
        Life { tenant, run }
    }

    /// Applies the phase as this run does.
    pub async fn apply(&self, life: &Life) -> Result<Checkpoint> {
        self.apply_in(life, life.run).await
    }

    /// Applies the phase in another run.
    pub async fn apply_in(&self, life: &Life, run: RunId) -> Result<Checkpoint> {
        let phase = CreateBootstrapUser::connect(&(&self.platform, self.store.runs())).await?;
        let plan = phase.plan(&life.tenant, &self.platform, &self.earlier())?;
        match phase.apply(&plan, &step(life, run, false, Scope::Run)).await? {
            Progress::Done(done) => Ok(done),
            Progress::Wait(wait) => panic!("{wait:?}"),
        }
    }

    /// Undoes the phase. No key is needed for that, so there is none.
    pub async fn revert(&self, life: &Life, run: RunId, scope: Scope) -> Result<()> {
        let none = Platform { regions: self.platform.regions.clone(), ..Platform::default() };
        let phase = CreateBootstrapUser::connect(&(&none, self.store.runs())).await?;
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

fn place(tenant: TenantId) -> DatabaseTarget {
    DatabaseTarget::of(tenant, Strategy::Schema, "region_eastus")
}

fn step(life: &Life, run: RunId, backward: bool, scope: Scope) -> Step {
    ClaimedStep::of(CreateBootstrapUser::NAME, owner(life, run, scope)).backward(backward).step()
}

/// Who works on a run.
pub fn owner(life: &Life, run: RunId, scope: Scope) -> Owner {
    Owner { tenant_id: life.tenant.id, slug: life.tenant.slug.clone(), run_id: run, epoch: 1, scope }
}

/// The error of a failed attempt.
pub fn failure(done: Result<Checkpoint>) -> Error {
    done.unwrap_err()
}
