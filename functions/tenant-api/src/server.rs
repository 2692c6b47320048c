//! The process: its settings, its routes, its logs.

use crate::app::App;
use crate::auth::{self, InternalSecrets};
use crate::exports::{self, ExportSettings, Exports, Storage, Worker};
use crate::license::{self, Licenses};
use crate::measure::{self, Measures};
use crate::problem;
use crate::ready::{self, Readiness, in_folder};
use crate::schema::Migrations;
use crate::tables::Tables;
use crate::{accept, operation, request, users};
use ::license::PublicKeys;
use axum::extract::DefaultBodyLimit;
use axum::http::Uri;
use axum::routing::{get, post};
use axum::{Router, middleware};
use http_server::{Bounds, Metrics, stop_signal};
use model::TenantId;
use model::secret::SecretRef;
use std::future::Future;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Largest body accepted, in bytes; a real one is under 2 KB.
const BODY_LIMIT: usize = 64 * 1024;

/// Largest body of the public call, in bytes.
const PUBLIC_BODY_LIMIT: usize = 4 * 1024;

/// After a signal, for the calls under way: the longest that one of them, `initialize`, may take.
const STOP_WITHIN: Duration = Duration::from_mins(10);

/// What the process needs to know. An administrator's credentials are not part of it: they come with each call.
#[derive(Clone, Debug)]
pub struct Config {
    /// The secrets a caller may present.
    pub secrets: InternalSecrets,
    /// Where the tenants' licences are kept, and whose are accepted.
    pub licenses: Licenses,
    /// How it works in the tenants' tables by itself.
    pub tables: Tables,
    /// What the tenants' tables are made by.
    pub migrations: Migrations,
    /// When it can serve.
    pub readiness: Readiness,
    /// Its background jobs; none where there are none.
    pub exports: Option<ExportSettings>,
    /// Where it counts what it does.
    pub measures: Measures,
}

impl Config {
    /// With these secrets, accepting no licence, with no login of its own, ready at once.
    pub fn new(secrets: InternalSecrets) -> Self {
        Self {
            secrets,
            licenses: Licenses::default(),
            tables: Tables::default(),
            migrations: Migrations::default(),
            readiness: Readiness::at_once(),
            exports: None,
            measures: Measures::default(),
        }
    }
}

/// Runs the process until SIGTERM or SIGINT, after which calls under way are finished.
///
/// Settings: `TENANT_API_INTERNAL_SECRET`, with `TENANT_API_INTERNAL_SECRET_FORMER` beside it while callers change over, or
/// `INTERNAL_SECRETS_DIR`, a folder whose files are all valid and read anew for every call (one of both is required),
/// `DATABASE_CREDENTIALS_DIR` (where the login to the one tenant's database appears: not ready before), `LISTEN`
/// (`127.0.0.1:8090`), `LICENSE_PUBLIC_KEYS` (`id=BASE64,id=BASE64`; without it no licence is accepted), `LICENSE_DIR` (where
/// licences outlast the process; without it they are told again), `TENANT_ID` (the one tenant that this instance serves),
/// `LICENSE_SECRET_DIR` (of such an instance: where the Secret with its licence is mounted; looked at again while it runs),
/// `QUEUE_PREFIX`, `STORAGE_DIR`, and `JOBS_AMQP_URL` or `JOBS_CREDENTIALS_DIR` with a file `AMQP_URL` (background jobs: their
/// queues, their files, their broker; without them there are none), `STORAGE_PREFIX` (below the folder; of a pinned instance
/// its tenant's id), `RUST_LOG` (`info`). A bad one is named in one line on standard error, with exit code 1.
///
/// The login to tenants' tables: with `TENANT_ID`, `DATABASE_URL`, or else what `DATABASE_CREDENTIALS_DIR` holds, as the tenant's
/// own role; without, `POOL_DATABASE_URL`, as a role with `NOINHERIT` and no rights, which `initialize` makes a member of each
/// pooled tenant's role. `STAND_IN=true`: of each tenant's role, as one process stands in for the tenants' own instances;
/// `STAND_IN_DIR`: where it keeps which of them have a Postgres server of their own.
pub fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("tenant-api: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), String> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let secrets = if let Some(folder) = set("INTERNAL_SECRETS_DIR") {
        InternalSecrets::in_folder(folder)
    } else {
        let secret = set("TENANT_API_INTERNAL_SECRET")
            .ok_or("TENANT_API_INTERNAL_SECRET is not set, or is empty, and INTERNAL_SECRETS_DIR too")?;
        let accepted = [Some(secret), set("TENANT_API_INTERNAL_SECRET_FORMER")];
        InternalSecrets::new(accepted.into_iter().flatten())
            .ok_or("TENANT_API_INTERNAL_SECRET or TENANT_API_INTERNAL_SECRET_FORMER is blank")?
    };
    let credentials = set("DATABASE_CREDENTIALS_DIR");
    let readiness = credentials.clone().map_or_else(Readiness::at_once, Readiness::by_credentials_in);
    let listen = match std::env::var("LISTEN") {
        Ok(value) if value.is_empty() => return Err("LISTEN is empty; give host:port".to_owned()),
        Ok(value) => value,
        Err(_) => "127.0.0.1:8090".to_owned(),
    };
    let keys = PublicKeys::parse(&set("LICENSE_PUBLIC_KEYS").unwrap_or_default())
        .map_err(|error| format!("LICENSE_PUBLIC_KEYS: {error}"))?;
    let pinned = set("TENANT_ID")
        .map(|id| id.parse().map_err(|_| format!("TENANT_ID is '{id}', which is not a UUID")))
        .transpose()?;
    let mounted = set("LICENSE_SECRET_DIR").map(PathBuf::from);
    if mounted.is_some() && pinned.is_none() {
        return Err(
            "LICENSE_SECRET_DIR is set without TENANT_ID, which says whose licence is there".to_owned()
        );
    }
    log_to_stdout();
    let folder = set("LICENSE_DIR").map(PathBuf::from);
    let licenses =
        Licenses::open(keys, pinned, folder, mounted).map_err(|error| format!("LICENSE_DIR: {error}"))?;
    let named = |name: &str| set(name).map(|_| SecretRef::Env(name.to_owned()));
    let login = match pinned {
        Some(_) => named("DATABASE_URL").or_else(|| credentials.map(|folder| in_folder(&folder))),
        None => named("POOL_DATABASE_URL"),
    };
    let tables = if pinned.is_none() && set("STAND_IN").as_deref() == Some("true") {
        Tables::standing_in(login, set("STAND_IN_DIR").map(PathBuf::from))
    } else {
        Tables::new(login, pinned, false)
    };
    let exports = exports(pinned)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        let listener = TcpListener::bind(&listen)
            .await
            .map_err(|error| format!("cannot listen on LISTEN={listen}: {error}"))?;
        let stop = stop_signal("tenant-api").map_err(|error| format!("cannot start: {error}"))?;
        tracing::info!(listen, "tenant-api is ready");
        let measures = Measures::default();
        let migrations = Migrations::default();
        let config = Config { secrets, licenses, tables, migrations, readiness, exports, measures };
        serve(listener, config, stop).await;
        Ok(())
    })
}

/// The settings of background jobs, if they are all there.
fn exports(pinned: Option<TenantId>) -> Result<Option<ExportSettings>, String> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let login = set("JOBS_AMQP_URL").map(|_| SecretRef::Env("JOBS_AMQP_URL".to_owned())).or_else(|| {
        let folder = PathBuf::from(set("JOBS_CREDENTIALS_DIR")?);
        Some(SecretRef::File(folder.join("AMQP_URL").display().to_string()))
    });
    let (Some(queue_prefix), Some(login), Some(folder)) = (set("QUEUE_PREFIX"), login, set("STORAGE_DIR"))
    else {
        return Ok(None);
    };
    let storage = Storage::new(folder.into(), set("STORAGE_PREFIX"), pinned)?;
    Ok(Some(ExportSettings::new(queue_prefix, login, storage)))
}

/// Lines for people on a terminal, JSON for everything else.
fn log_to_stdout() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter);
    if std::io::stdout().is_terminal() {
        lines.init();
    } else {
        lines.json().flatten_event(true).init();
    }
}

/// Serves on `listener`, and does background jobs, until `stop` resolves; calls under way are finished first.
pub async fn serve(listener: TcpListener, config: Config, stop: impl Future<Output = ()>) {
    let ended = CancellationToken::new();
    let jobs = config.exports.clone().map(|settings| {
        let worker = Worker::new(settings, config.tables.clone(), config.measures.clone());
        tokio::spawn(worker.run(ended.clone()))
    });
    let end = ended.clone();
    let stop = async move {
        stop.await;
        end.cancel();
    };
    let bounds = Bounds { stop_within: STOP_WITHIN, ..Bounds::default() };
    http_server::serve(listener, router(&config), bounds, stop).await;
    if let Some(jobs) = jobs {
        // It has ended, or panicked, which the log says.
        drop(jobs.await);
    }
}

/// All routes. A caller that hangs up drops the handler, and with it its database connections and locks.
pub fn router(config: &Config) -> Router {
    let internal = Router::new()
        .route("/internal/database/initialize", post(operation::call::<request::Initialize>))
        .route("/internal/database/drop", post(operation::call::<request::Drop>))
        .route("/internal/database/inventory", post(operation::call::<request::Inventory>))
        .route("/internal/license/refresh", post(license::refresh))
        .route("/internal/license/{tenant}", get(license::read))
        .route("/internal/users/bootstrap", post(users::bootstrap))
        .route("/internal/users/invite", post(users::invite))
        .route("/internal/users/remove", post(users::remove))
        .route("/internal/exports", post(exports::ask))
        .route("/internal/exports/{tenant}/{id}", get(exports::read))
        .route("/internal/exports/{tenant}/{id}/content", get(exports::content))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .route_layer(middleware::from_fn_with_state(config.secrets.clone(), auth::require));
    let public = Router::new()
        .route("/api/v1/invitations/accept", post(accept::accept))
        .layer(DefaultBodyLimit::max(PUBLIC_BODY_LIMIT));
    Router::new()
        .merge(http_server::health(get(ready::ready), get(measure::metrics)))
        .merge(internal)
        .merge(public)
        .method_not_allowed_fallback(|| async {
            problem::method_not_allowed("use POST for changes, GET for reads and health checks")
        })
        .fallback(|uri: Uri| async move { problem::not_found(uri.path()) })
        .layer(middleware::from_fn_with_state(config.measures.0.clone(), Metrics::count))
        .with_state(App {
            exports: Exports::new(config.exports.as_ref(), config.tables.clone(), config.licenses.clone()),
            licenses: config.licenses.clone(),
            tables: config.tables.clone(),
            migrations: config.migrations.clone(),
            measures: config.measures.clone(),
            readiness: config.readiness.clone(),
        })
}
