//! One enterprise tenant, whose infrastructure is gone when the test ends.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cluster::Cluster;
use engine::phase::{Checkpoints, Error, Kind, Phase, Progress, Result, Scope, Step};
use k8s_openapi::api::core::v1;
use kube::api::Api;
use model::platform::{Infrastructure, Platform};
use model::{RunId, Tenant, Tier};
use nix::unistd::Pid;
use provisioning_infrastructure::{Checkpoint, Plan, ProvisioningInfrastructure};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tenants::phases;
use testing::{ClaimedStep, WITHIN, required};

/// The stack's folder.
pub fn local() -> PathBuf {
    Path::new(&required("TENANTRY_CONFIG")).parent().unwrap().to_owned()
}

/// The real parts, and one tenant.
#[derive(Clone)]
pub struct World {
    pub cluster: Cluster,
    pub platform: Platform,
    pub tenant: Tenant,
    pub run: RunId,
}

impl World {
    async fn new(adjust: impl FnOnce(&mut Infrastructure)) -> Self {
        required("KUBECONFIG");
        required("TERRAFORM_STATE_KEY");
        let mut platform =
            Platform::read(Path::new(&required("TENANTRY_CONFIG")), &phases::step_names()).unwrap();
        let infrastructure = platform.infrastructure.as_mut().expect("the stack's own");
        if let Some(supervised) = &mut infrastructure.supervised {
            supervised.program = env!("CARGO_BIN_EXE_run-terraform").into();
        }
        adjust(infrastructure);
        Self {
            cluster: Cluster::connect().await.unwrap(),
            platform,
            tenant: Tenant { tier: Tier::Enterprise, ..testing::tenant("ent") },
            run: RunId::generate(),
        }
    }

    pub fn infrastructure(&self) -> &Infrastructure {
        self.platform.infrastructure.as_ref().unwrap()
    }

    pub fn phase(&self) -> ProvisioningInfrastructure {
        ProvisioningInfrastructure::new(self.cluster.clone())
    }

    pub fn plan(&self) -> Plan {
        self.phase().plan(&self.tenant, &self.platform, &Checkpoints::default()).unwrap()
    }

    /// The same world in a later run of the tenant.
    pub fn later_run(&self) -> Self {
        Self { run: RunId::generate(), ..self.clone() }
    }

    pub fn step(&self, backward: bool, scope: Scope) -> Step {
        let step = ClaimedStep::new(ProvisioningInfrastructure::NAME, &self.tenant, self.run);
        step.backward(backward).scope(scope).step()
    }

    /// One call of the phase.
    pub async fn apply_once(&self) -> Result<Progress<Checkpoint>> {
        self.phase().apply(&self.plan(), &self.step(false, Scope::Run)).await
    }

    pub async fn revert_once(&self, scope: Scope) -> Result<Progress<()>> {
        self.phase().revert(&self.plan(), None, &self.step(true, scope)).await
    }

    /// Calls until it is done.
    pub async fn apply(&self) -> Checkpoint {
        self.try_apply().await.unwrap().0
    }

    /// Calls until it is done or fails; with all that was waited for.
    pub async fn try_apply(&self) -> Result<(Checkpoint, Vec<String>)> {
        through(|| self.apply_once()).await
    }

    pub async fn revert(&self, scope: Scope) {
        self.try_revert(scope).await.unwrap();
    }

    pub async fn try_revert(&self, scope: Scope) -> Result<Vec<String>> {
        Ok(through(|| self.revert_once(scope)).await?.1)
    }

    /// Calls until what it waits for is as wanted.
    pub async fn apply_until(&self, wanted: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let waits = match self.apply_once().await {
                Ok(Progress::Wait(wait)) | Err(Error { kind: Kind::Parked(wait), .. }) => wait.on,
                other => panic!("it does not wait: {other:?}"),
            };
            if wanted(&waits) {
                return waits;
            }
            assert!(began.elapsed() < WITHIN, "it waits for {waits}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Where the tenant's instance has its files.
    pub fn instance(&self) -> PathBuf {
        local().join("instances").join(self.tenant.id.to_string())
    }

    /// The Secret with the administrator's password.
    pub async fn password(&self) -> Option<String> {
        let secrets: Api<v1::Secret> = Api::namespaced(self.cluster.client(), "matih-system");
        let found = secrets.get_opt(&format!("infrastructure-{}", self.tenant.id)).await.unwrap()?;
        Some(String::from_utf8(found.data.unwrap()["password"].0.clone()).unwrap())
    }

    /// The stored state, as the database has it.
    pub async fn stored(&self) -> Option<String> {
        let mut session = PgConnection::connect(&required("TERRAFORM_STATE_URL")).await.unwrap();
        sqlx::query_scalar("SELECT data FROM terraform_remote_state.states WHERE name = $1")
            .bind(format!("tenant-{}", self.tenant.id))
            .fetch_optional(&mut session)
            .await
            .unwrap()
    }

    /// Whatever of the tenant's infrastructure there is.
    pub async fn left(&self) -> Vec<String> {
        let id = self.tenant.id.to_string();
        let mut left = Vec::new();
        for path in [
            self.instance(),
            local().join("programs").join(format!("postgres-{id}.conf")),
            local().join("programs").join(format!("tf-{id}.conf")),
            local().join("terraform").join(format!("tf-{id}")),
        ] {
            if path.exists() {
                left.push(path.display().to_string());
            }
        }
        left.extend(self.made());
        if self.stored().await.is_some() {
            left.push("workspace".into());
        }
        if self.password().await.is_some() {
            left.push("Secret".into());
        }
        left.extend(processes(&id));
        left
    }

    /// The password's Secret goes, as if by hand.
    pub async fn lose_password(&self) {
        let secrets: Api<v1::Secret> = Api::namespaced(self.cluster.client(), "matih-system");
        let name = format!("infrastructure-{}", self.tenant.id);
        secrets.delete(&name, &kube::api::DeleteParams::default()).await.unwrap();
    }

    async fn clean(&self) {
        self.go_on();
        self.revert(Scope::Tenant).await;
        assert_eq!(self.left().await, [""; 0], "left behind");
    }

    /// Where the slow module makes its things.
    pub fn made(&self) -> Vec<String> {
        let Some(folder) = self.infrastructure().variables.get("folder") else { return Vec::new() };
        let entries = std::fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Lets the slow module's second step wait.
    pub fn hold(&self) {
        std::fs::write(Path::new(&self.infrastructure().variables["folder"]).join("hold"), "").unwrap();
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        if let Some(folder) = self.infrastructure().variables.get("folder") {
            drop(std::fs::remove_file(Path::new(folder).join("hold")));
        }
    }

    /// Has the slow module plan nothing, or again.
    pub fn refuse_plans(&self, refused: bool) {
        let file = Path::new(&self.infrastructure().variables["folder"]).join("refuse");
        if refused { std::fs::write(file, "").unwrap() } else { std::fs::remove_file(file).unwrap() }
    }

    /// Applies until the slow module's second step waits.
    pub async fn apply_to_the_middle(&self) {
        self.hold();
        let told = self.apply_until(|on| on.contains("terraform_data.second creating")).await;
        assert!(told.contains("1 of 2 resources"), "{told}");
    }

    /// The ids of all processes of the detached run, by what only they have in their environment.
    pub fn detached(&self) -> Vec<Pid> {
        let mark = format!("TENANTRY_TERRAFORM=tf-{}", self.tenant.id);
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let marked = |id: &i32| {
            let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        ids.filter(marked).map(Pid::from_raw).collect()
    }

    /// Waits until no process of the detached run is left.
    pub async fn until_none_runs(&self) {
        let began = Instant::now();
        while !self.detached().is_empty() {
            assert!(began.elapsed() < WITHIN, "{:?} go on", self.detached());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A session of an instance's administrator.
pub async fn admin(at: &Checkpoint, password: &str) -> sqlx::Result<PgConnection> {
    PgConnectOptions::new_without_pgpass()
        .host(&at.host)
        .port(at.port)
        .username(&at.admin_user)
        .password(password)
        .database(&at.admin_database)
        .connect()
        .await
}

/// Processes that have this in their arguments.
pub fn processes(what: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let arguments = all.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let texts = arguments.map(|text| String::from_utf8_lossy(&text).replace('\0', " "));
    texts.filter(|text| text.contains(what)).collect()
}

/// Calls until it is done or fails; with all that was waited for.
pub async fn through<T, F, R>(call: F) -> Result<(T, Vec<String>)>
where
    F: Fn() -> R,
    R: Future<Output = Result<Progress<T>>>,
{
    let (began, mut waits) = (Instant::now(), Vec::new());
    loop {
        let wait = match call().await {
            Ok(Progress::Done(value)) => return Ok((value, waits)),
            Ok(Progress::Wait(wait)) | Err(Error { kind: Kind::Parked(wait), .. }) => wait,
            Err(error) => return Err(error),
        };
        assert!(began.elapsed() < WITHIN, "it waits for {}", wait.on);
        if waits.last() != Some(&wait.on) {
            waits.push(wait.on);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Runs `body` with a fresh tenant that is gone afterwards, also when it fails. A body that succeeds must leave nothing that a
/// deprovisioning cannot take away.
pub async fn with_tenant<F>(body: impl FnOnce(World) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    with_tenant_of(|_| {}, body).await;
}

/// As [`with_tenant`], with a module that is held as long as the test wants, and needs no Postgres.
pub async fn with_slow<F>(body: impl FnOnce(World) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let adjust = |infrastructure: &mut Infrastructure| {
        infrastructure.module = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/modules/slow").into();
        infrastructure.variables = [("folder".to_owned(), path)].into();
    };
    with_tenant_of(adjust, body).await;
}

/// As [`with_tenant`], with settings that `adjust` has changed.
pub async fn with_tenant_of<F>(adjust: impl FnOnce(&mut Infrastructure), body: impl FnOnce(World) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let world = World::new(adjust).await;
    let outcome = tokio::spawn(body(world.clone())).await;
    let cleaned = tokio::spawn({
        let world = world.clone();
        async move { world.clean().await }
    })
    .await;
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure.into_panic());
    }
    cleaned.unwrap();
}
