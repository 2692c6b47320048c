//! The tenants' licences, as the control plane has signed them.
//!
//! Only public keys are known here: a licence can be checked and not made. The newest of each tenant is held in memory and,
//! where `LICENSE_DIR` is set, in a file of its own, which is checked like any other licence when the process starts. A
//! tenant's database is no place for it: its credentials are known during a call only, and what a tenant can write is no
//! authority over it. Where the folder is lost, the control plane tells all of them again (`dispatcher license announce`).
//!
//! A tenant's own instance has no such folder: each of its pods also reads the tenant's Secret, which the control plane alone
//! may write, from `LICENSE_SECRET_DIR`. Of what was told and what is there, the newest holds.

use crate::measure::Measures;
use crate::mounted::Mounted;
use crate::problem::{self, Problem};
use crate::request;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use license::{Claims, PublicKeys, Refused};
use model::TenantId;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{self, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The newest licence of every tenant that is served here. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Licenses(Arc<LicenseStore>);

#[derive(Debug, Default)]
struct LicenseStore {
    keys: PublicKeys,
    pinned: Option<TenantId>,
    folder: Option<PathBuf>,
    mounted: Option<Mounted>,
    held: Mutex<HashMap<TenantId, Claims>>,
}

/// Body of `POST /internal/license/refresh`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refresh {
    tenant_id: TenantId,
    license: String,
}

/// The licence that holds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Holds {
    license_id: String,
    #[serde(flatten)]
    claims: Claims,
}

impl Licenses {
    /// Accepts what `keys` have signed; with `pinned`, only that tenant's. Reads what `folder` holds, made if it is not
    /// there; a file of it that is no valid licence is logged and left out. With `mounted`, the pinned tenant's licence is
    /// read there too, now and whenever it is asked for; the folder may be empty.
    pub fn open(
        keys: PublicKeys,
        pinned: Option<TenantId>,
        folder: Option<PathBuf>,
        mounted: Option<PathBuf>,
    ) -> io::Result<Self> {
        let mounted = mounted.map(|folder| Mounted::at(&folder));
        let licenses = Self(Arc::new(LicenseStore { keys, pinned, folder, mounted, held: Mutex::default() }));
        if let Some(folder) = &licenses.0.folder {
            fs::create_dir_all(folder)?;
            for entry in fs::read_dir(folder)? {
                licenses.load(&entry?.path())?;
            }
        }
        licenses.look();
        Ok(licenses)
    }

    /// Takes what the pinned tenant's Secret holds now, unless a newer one is held.
    fn look(&self) {
        let (Some(tenant), Some(mounted)) = (self.0.pinned, &self.0.mounted) else { return };
        mounted.look(|license| {
            let claims = self.accepted(tenant, license)?;
            let mut held = self.held();
            if held.get(&tenant).is_none_or(|known| claims.newer_than(known)) {
                tracing::info!(tenant.id = %tenant, license.id = %claims.id, "holds, as mounted");
                held.insert(tenant, claims);
            }
            Ok(())
        });
    }

    fn load(&self, path: &path::Path) -> io::Result<()> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(tenant) = name.strip_suffix(".license").and_then(|id| id.parse().ok()) else {
            return Ok(());
        };
        match self.accepted(tenant, fs::read_to_string(path)?.trim_end()) {
            Ok(claims) => {
                self.held().insert(tenant, claims);
            }
            Err(problem) => tracing::warn!(tenant.id = %tenant, problem.code = problem.code(),
                problem.detail = problem.detail(), "a kept licence is left out"),
        }
        Ok(())
    }

    /// Takes a tenant's licence, unless a newer one is held; the one that is held afterwards.
    fn take(&self, tenant: TenantId, license: &str) -> Result<Claims, Problem> {
        let claims = self.accepted(tenant, license)?;
        let mut held = self.held();
        if let Some(known) = held.get(&tenant).filter(|known| !claims.newer_than(known)) {
            return Ok(known.clone());
        }
        // On disk before it counts: what was acknowledged is not told again.
        self.write(tenant, license).map_err(problem::unkept)?;
        held.insert(tenant, claims.clone());
        Ok(claims)
    }

    fn accepted(&self, tenant: TenantId, license: &str) -> Result<Claims, Problem> {
        self.serves(tenant)?;
        self.0.keys.verify(license, tenant, now()).map_err(|refused| {
            let problem = match refused {
                Refused::Malformed => problem::license_malformed,
                Refused::UnknownKey(_) => problem::license_key_unknown,
                Refused::Altered => problem::license_altered,
                Refused::Foreign(_) => problem::license_foreign,
                Refused::Expired(_) => problem::license_expired,
                Refused::NotYet(_) => problem::license_not_yet_valid,
            };
            problem(refused.to_string())
        })
    }

    /// Refuses another tenant than the one that is served.
    fn serves(&self, tenant: TenantId) -> Result<(), Problem> {
        match self.0.pinned {
            Some(own) if own != tenant => Err(problem::other_tenant(tenant)),
            _ => Ok(()),
        }
    }

    /// What the tenant's licence says, until it expires. One that is suspended grants nothing.
    pub fn of(&self, tenant: TenantId) -> Option<Claims> {
        self.look();
        self.held().get(&tenant).filter(|claims| claims.expires > now()).cloned()
    }

    /// Refuses a tenant without a licence that holds, where licences are asked for at all: where there are public keys.
    pub fn require(&self, tenant: TenantId) -> Result<(), Problem> {
        match self.of(tenant) {
            Some(claims) if claims.suspended => Err(problem::suspended()),
            None if !self.0.keys.is_empty() => Err(problem::no_license()),
            _ => Ok(()),
        }
    }

    /// Lets go of a tenant's licence, in memory and on disk. Done when there is none.
    pub fn forget(&self, tenant: TenantId) -> io::Result<()> {
        let mut held = self.held();
        if let Some(folder) = &self.0.folder {
            for end in ["new", "license"] {
                match fs::remove_file(folder.join(format!("{tenant}.{end}"))) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        held.remove(&tenant);
        Ok(())
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, Claims>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the tenant's file at once; it is on disk when this returns.
    fn write(&self, tenant: TenantId, license: &str) -> io::Result<()> {
        let Some(folder) = &self.0.folder else { return Ok(()) };
        let fresh = folder.join(format!("{tenant}.new"));
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        writeln!(file, "{license}")?;
        file.sync_all()?;
        fs::rename(&fresh, folder.join(format!("{tenant}.license")))?;
        File::open(folder)?.sync_all()
    }
}

/// `POST /internal/license/refresh`. The licence itself is in no log and no answer.
pub async fn refresh(
    State(licenses): State<Licenses>,
    State(measures): State<Measures>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let taken = async {
        let body = body.map_err(|rejection| problem::invalid("", rejection.body_text()))?;
        let asked: Refresh = request::decode(&body)?;
        let tenant = asked.tenant_id;
        let claims = tokio::task::spawn_blocking(move || licenses.take(tenant, &asked.license))
            .await
            .map_err(problem::unkept)?;
        claims.inspect_err(|problem| {
            tracing::warn!(operation = "license", tenant.id = %tenant, problem.code = problem.code(),
                problem.detail = problem.detail(), "refused");
        })
    };
    let taken = taken.await;
    measures.license(taken.is_ok());
    match taken {
        Ok(claims) => {
            tracing::info!(operation = "license", tenant.id = %claims.tenant, license.id = %claims.id, "holds");
            answer(claims)
        }
        Err(problem) => problem.into_response(),
    }
}

/// `GET /internal/license/{tenant}`.
pub async fn read(State(licenses): State<Licenses>, Path(tenant): Path<String>) -> Response {
    let Ok(tenant) = tenant.parse() else {
        return problem::invalid("tenant", "must be a uuid").into_response();
    };
    if let Err(problem) = licenses.serves(tenant) {
        return problem.into_response();
    }
    match licenses.of(tenant) {
        Some(claims) if claims.suspended => problem::suspended().into_response(),
        Some(claims) => answer(claims),
        None => problem::no_license().into_response(),
    }
}

fn answer(claims: Claims) -> Response {
    Json(Holds { license_id: claims.id.to_string(), claims }).into_response()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
