//! A world with a real region: cluster, charts, Postgres and a tenant-api, and all phases of the registry.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dispatcher::registry;
use engine::decide::verbs::Verb;
use engine::runtime::Runner;
use model::platform::{
    Certificates, Charts, Dns, DnsProviderKind, Engine, Isolation, JobBroker, License, Lifecycle, Platform,
    PowerDnsSettings, Region, RegionDatabase, Seconds,
};
use model::secret::SecretRef;
use model::{DeploymentType, PhaseName, TenantId, Tier};
use queue::{Dispatcher, Embedded};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _};
use tenants::StatusRow;
use tenants::phases;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cluster::kubectl_with;
use crate::environment::required;
use crate::failpoints::Failpoints;
use crate::look::{Outside, admin};
use crate::world::{World, eventually};

/// Longest wait for a run that deploys everything, while others do the same on a small machine.
const RUN_WITHIN: Duration = Duration::from_mins(3);

/// An issuer that signs at once, for tests that are about something else.
const ISSUER: &str = "tests-selfsigned";

/// A slug that nobody else has: namespaces are the whole cluster's.
pub fn slug(what: &str) -> String {
    format!("{what}-{}", &uuid::Uuid::new_v4().simple().to_string()[..8])
}

/// A world whose platform has the region `eastus`.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a handle with nothing to show")]
pub struct RegionWorld {
    world: World,
}

impl Deref for RegionWorld {
    type Target = World;
    fn deref(&self) -> &World {
        &self.world
    }
}

impl RegionWorld {
    /// Runs the test in a world with a region, and takes away what the test's tenants have left, also after a panic.
    pub async fn run<F, R>(adjust: impl FnOnce(&mut Platform), test: F)
    where
        F: FnOnce(RegionWorld) -> R,
        R: Future<Output = ()>,
    {
        World::run(|mut world| {
            Box::pin(async move {
                let (url, _) = serve_tenant_api().await;
                let issuer = json!({
                    "apiVersion": "cert-manager.io/v1",
                    "kind": "ClusterIssuer",
                    "metadata": { "name": ISSUER },
                    "spec": { "selfSigned": {} },
                });
                kubectl_with(&["apply", "--server-side", "-f", "-"], &issuer.to_string()).await;
                world.platform = platform(&url, world.platform.engine.clone());
                adjust(&mut world.platform);
                let world = Self { world };
                let cleaning = world.clone();
                let ended = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(test(world))).await;
                if let Err(panic) = ended {
                    cleaning.clean().await;
                    std::panic::resume_unwind(panic);
                }
            })
        })
        .await;
    }

    /// A runner of every phase of the registry.
    pub async fn registry(&self) -> Runner {
        let platform = Arc::new(self.platform.clone());
        let runner = registry::runner(self.store.clone(), platform).await.expect("phases connect");
        runner.with_hook(Failpoints::of_this_process().hook())
    }

    /// Starts a dispatcher that runs every phase of the registry in this process.
    pub async fn dispatch_all(&self) -> Dispatcher {
        self.dispatch_by(Arc::new(Embedded(Arc::new(self.registry().await))))
    }

    /// A tenant with a run of all phases, due at once.
    pub async fn provision(&self, slug: &str, tier: Tier, dedicated: bool) -> TenantId {
        let list = phases::plan(DeploymentType::ContainerPerTenant, tier);
        self.provision_by(slug, tier, dedicated, list).await
    }

    /// A tenant of the pooled instance, with a run of its phases.
    pub async fn provision_shared(&self, slug: &str) -> TenantId {
        self.tenant_as(slug, &[], |new| {
            new.tier = Tier::Free;
            new.deployment_type = DeploymentType::Shared;
            new.has_dedicated_database = false;
            new.phases = phases::plan(DeploymentType::Shared, Tier::Free);
        })
        .await
    }

    /// As [`RegionWorld::provision`], with the first phases only.
    pub async fn provision_first(&self, slug: &str, phases_of_it: usize) -> TenantId {
        let list = phases::plan(DeploymentType::ContainerPerTenant, Tier::Professional);
        self.provision_by(slug, Tier::Professional, true, list[..phases_of_it].to_vec()).await
    }

    /// As [`RegionWorld::provision`], with the phases up to this one: the later ones would only take their time.
    pub async fn provision_through(&self, slug: &str, tier: Tier, dedicated: bool, last: &str) -> TenantId {
        let mut list = phases::plan(DeploymentType::ContainerPerTenant, tier);
        let nth = list.iter().position(|phase| phase.as_str() == last);
        list.truncate(nth.expect("a phase of the tier") + 1);
        self.provision_by(slug, tier, dedicated, list).await
    }

    /// As [`RegionWorld::provision`], with these phases only.
    pub async fn provision_these(
        &self,
        slug: &str,
        tier: Tier,
        dedicated: bool,
        phases: &[&'static str],
    ) -> TenantId {
        let list = phases.iter().map(|name| PhaseName::new(name)).collect();
        self.provision_by(slug, tier, dedicated, list).await
    }

    async fn provision_by(&self, slug: &str, tier: Tier, dedicated: bool, list: Vec<PhaseName>) -> TenantId {
        self.tenant_as(slug, &[], |new| {
            new.tier = tier;
            new.has_dedicated_database = dedicated;
            new.phases = list;
        })
        .await
    }

    /// Waits until the tenant has this status, as long as a whole run may take.
    pub async fn settled(&self, tenant: TenantId, status: &str) -> StatusRow {
        self.settled_row(tenant, status, |row| row.tenant.status == status).await
    }

    /// Waits until the tenant's row is as wanted, as long as a whole run may take.
    pub async fn settled_row(
        &self,
        tenant: TenantId,
        what: &str,
        wanted: impl Fn(&StatusRow) -> bool,
    ) -> StatusRow {
        let began = Instant::now();
        loop {
            let row = self.status(tenant).await;
            if wanted(&row) {
                return row;
            }
            assert!(began.elapsed() < RUN_WITHIN, "waited for {what}, but it is {row:#?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until the run is in this phase with a worker at it: where a failpoint holds it, or a little before.
    pub async fn working_at(&self, tenant: TenantId, phase: &str) -> StatusRow {
        let there = |row: &StatusRow| {
            let position = row.phases.iter().find(|at| at.name == phase).map(|at| at.position);
            row.run.claimed && position == Some(row.run.cursor)
        };
        self.settled_row(tenant, phase, there).await
    }

    /// Deprovisions an ACTIVE or FAILED tenant, after which nothing of it may be left.
    pub async fn take_out(&self, slug: &str, tenant: TenantId) {
        self.ask(tenant, Verb::Delete).await.expect("DELETE");
        self.settled(tenant, "DELETED").await;
        self.gone(slug, tenant).await;
    }

    /// Fails if anything of the tenant is left. Its queue, which the dispatcher deletes after the run's end, is waited for.
    pub async fn gone(&self, slug: &str, tenant: TenantId) {
        let queue = format!("tenant.{tenant}");
        eventually("its queue goes with its run", || async {
            !self.management.tenant_queues().await.contains(&queue)
        })
        .await;
        assert_eq!(self.outside(slug, tenant).await, [""; 0], "{slug}");
    }

    /// What the outside systems hold of a tenant.
    pub async fn outside(&self, slug: &str, tenant: TenantId) -> Vec<String> {
        Outside::look(&self.management).await.of(slug, tenant)
    }

    /// The operations of every phase of the newest run, in order of the phases; the inventory is left out.
    pub async fn operations(&self, tenant: TenantId) -> Vec<(String, Vec<String>)> {
        let row = self.status(tenant).await;
        let phases = row.phases.into_iter().filter(|phase| phase.position >= 0);
        let names = |operations: Value| -> Vec<String> {
            let all = operations.as_array().cloned().unwrap_or_default();
            all.iter().filter_map(|operation| operation["name"].as_str().map(str::to_owned)).collect()
        };
        phases.map(|phase| (phase.name, names(phase.operations))).collect()
    }

    /// One statement of the region's administrator.
    pub async fn region_sql(&self, statement: &str) {
        let mut admin = admin("region_eastus").await;
        let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut admin).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        admin.close().await.expect("closed");
    }

    /// The one value of a question to the region's Postgres, as text; none when there is no row.
    pub async fn region_value(&self, question: &str) -> Option<String> {
        let mut admin = admin("region_eastus").await;
        let answer: Option<String> = sqlx::query_scalar(AssertSqlSafe(question.to_owned()))
            .fetch_optional(&mut admin)
            .await
            .unwrap_or_else(|error| panic!("{question}: {error}"));
        admin.close().await.expect("closed");
        answer
    }

    /// Takes away the namespaces, databases and roles of this world's tenants, as far as that goes.
    async fn clean(&self) {
        let tenants: Vec<(uuid::Uuid, String)> =
            sqlx::query_as("SELECT id, slug FROM tenants").fetch_all(&self.pool).await.unwrap_or_default();
        for (id, slug) in tenants {
            let namespace = format!("matih-{slug}");
            let kubectl =
                |arguments: &[&str]| tokio::process::Command::new("kubectl").args(arguments).output();
            drop(kubectl(&["delete", "namespace", &namespace, "--wait=false", "--ignore-not-found"]).await);
            crate::names::take_away(&slug).await;
            crate::instances::take_away(TenantId(id)).await;
            // What is held by a test, or by a record that cannot be removed any more. cert-manager would hold a challenge
            // again that is not being deleted yet.
            drop(kubectl(&["delete", "challenges", "--all", "-n", &namespace, "--wait=false"]).await);
            let challenges = kubectl(&["get", "challenges", "-n", &namespace, "--output=name"]).await;
            let challenges = challenges.map(|found| found.stdout).unwrap_or_default();
            for held in String::from_utf8_lossy(&challenges).lines().chain(["configmap/held"]) {
                let patch = r#"--patch={"metadata":{"finalizers":null}}"#;
                drop(kubectl(&["patch", held, "-n", &namespace, "--type=merge", patch]).await);
            }
            let label = format!("-lmatih.ai/tenant-id={id}");
            let kinds = "ingressclasses,clusterroles,clusterrolebindings";
            drop(kubectl(&["delete", kinds, &label, "--wait=false"]).await);
            let mut admin = admin("region_eastus").await;
            for statement in [
                format!("GRANT \"tenant_{id}\" TO CURRENT_USER"),
                format!("DROP DATABASE IF EXISTS \"tenant_{id}\" WITH (FORCE)"),
                format!("DROP SCHEMA IF EXISTS \"tenant_{id}\" CASCADE"),
                format!("DROP OWNED BY \"tenant_{id}\""),
                format!("DROP ROLE IF EXISTS \"tenant_{id}\""),
            ] {
                drop(sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut admin).await);
            }
            drop(admin.close().await);
        }
    }
}

fn platform(tenant_api_url: &str, engine: Engine) -> Platform {
    let region = Region {
        tenant_api_url: tenant_api_url.to_owned(),
        internal_secret: SecretRef::Env("TENANT_API_INTERNAL_SECRET".into()),
        database: RegionDatabase {
            host: required("REGION_DATABASE_HOST"),
            port: required("REGION_DATABASE_PORT").parse().expect("REGION_DATABASE_PORT is a number"),
            shared_database: "region_eastus".into(),
            admin_user: required("REGION_DATABASE_ADMIN_USER"),
            admin_password: SecretRef::Env("REGION_DATABASE_ADMIN_PASSWORD".into()),
        },
        database_cidrs: vec!["10.40.0.0/16".into()],
        cluster: None,
        domain: None,
        isolation: Isolation::Shared,
        accepts_tenants: true,
        jobs: Some(JobBroker {
            management: SecretRef::Env("RABBITMQ_MANAGEMENT_URL".into()),
            vhost: "tenant-jobs".into(),
            host: "127.0.0.1".into(),
            port: 5672,
            tls: false,
            cidrs: Vec::new(),
        }),
    };
    required("RABBITMQ_MANAGEMENT_URL");
    required("KUBECONFIG");
    Platform {
        regions: [("eastus".to_owned(), region)].into(),
        charts: Charts { repository_url: required("CHART_REPOSITORY_URL"), ..Charts::default() },
        dns: dns(),
        certificates: Certificates { issuer: ISSUER.into(), ..Certificates::default() },
        license: license(),
        // Deleted at once, unless a test is about that.
        lifecycle: Lifecycle { retention: Seconds(0.0), ..Lifecycle::default() },
        infrastructure: Some(crate::instances::infrastructure()),
        observability: testing::observability(),
        simulated_nodes: true,
        engine: Engine {
            // Helm is slow on a small machine that runs several at once, and a worker late by that is not lost.
            lease: Seconds(10.0),
            renew: Seconds(1.0),
            lease_margin: Seconds(1.0),
            step_timeout: Seconds(120.0),
            function_timeout: Seconds(121.0),
            invoke_timeout: Seconds(122.0),
            ..engine
        },
        ..Platform::default()
    }
}

/// The stack's two DNS servers, with TTLs that a test can wait out.
pub fn dns() -> Dns {
    required("PDNS_API_KEY");
    Dns {
        provider: DnsProviderKind::PowerDns,
        ttl: 1,
        propagation: Seconds(0.3),
        name_servers: vec!["ns1.matih.ai".into(), "ns2.matih.ai".into()],
        powerdns: Some(PowerDnsSettings {
            url: required("PDNS_URL"),
            parent_url: Some(required("PARENT_PDNS_URL")),
            api_key: SecretRef::Env("PDNS_API_KEY".into()),
            update_key: Some("tenantry-acme".into()),
            kind: "Native".into(),
        }),
        ..Dns::default()
    }
}

/// The stack's licence keys.
pub fn license() -> License {
    let key = |id: &str, variable: &str| {
        required(variable);
        [(id.to_owned(), SecretRef::Env(variable.into()))].into()
    };
    License {
        sign_with: "local".into(),
        seal_with: "local".into(),
        signing_keys: key("local", "LICENSE_SIGNING_KEY"),
        key_encryption_keys: key("local", "LICENSE_KEY_ENCRYPTION_KEY"),
        ..License::default()
    }
}

/// A tenant-api in this process, and what ends it.
pub async fn serve_tenant_api() -> (String, JoinHandle<()>) {
    serve_tenant_api_with(&required("TENANT_API_INTERNAL_SECRET")).await
}

/// As [`serve_tenant_api`], with another internal secret than the platform's.
pub async fn serve_tenant_api_with(secret: &str) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let secrets = tenant_api::InternalSecrets::new([secret.to_owned()]).expect("a secret");
    required("POOL_DATABASE_URL");
    let login = SecretRef::Env("POOL_DATABASE_URL".into());
    let config = tenant_api::Config {
        tables: tenant_api::Tables::new(Some(login), None, true),
        ..tenant_api::Config::new(secrets)
    };
    let serving = tokio::spawn(tenant_api::serve(listener, config, std::future::pending()));
    (url, serving)
}
