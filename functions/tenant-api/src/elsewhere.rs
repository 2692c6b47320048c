//! Tenants with a Postgres server of their own, for whom this process stands in: where that server is, which no catalogue
//! here says, and the login there. Nothing of this is used but where the tenants' own instances are only simulated.

use crate::problem::{self, Problem};
use crate::request::Admin;
use crate::sql;
use hmac::{Hmac, Mac as _};
use model::TenantId;
use model::secret::Secret;
use postgres_protocol::password::scram_sha_256;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use sqlx::postgres::PgConnection;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Keeps the passwords apart from any other use of this instance's own.
const PURPOSE: &str = "tenantry/tenant-api/stand-in/v1";

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    pub host: String,
    pub port: u16,
}

/// What is known of such servers. With a folder, it outlasts the process.
#[derive(Debug, Default)]
pub struct Elsewhere {
    folder: Option<PathBuf>,
    known: Mutex<BTreeMap<TenantId, At>>,
}

impl Elsewhere {
    pub fn in_folder(folder: Option<PathBuf>) -> Self {
        Self { folder, known: Mutex::default() }
    }

    /// Where a tenant's own server is.
    pub fn of(&self, tenant: TenantId) -> Option<At> {
        let kept = || {
            let text = std::fs::read_to_string(self.folder.as_ref()?.join(tenant.to_string())).ok()?;
            serde_json::from_str(&text).ok()
        };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned();
        known.or_else(kept)
    }

    pub fn remember(&self, tenant: TenantId, at: At) -> Result<(), Problem> {
        if let Some(folder) = &self.folder {
            let text = serde_json::to_string(&at).unwrap_or_default();
            let written = std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(folder.join(tenant.to_string()), text));
            written.map_err(|error| problem::login_not_usable(format!("STAND_IN_DIR: {error}")))?;
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant, at);
        Ok(())
    }

    /// Done when nothing is known of the tenant.
    pub fn forget(&self, tenant: TenantId) -> Result<(), Problem> {
        let removed =
            self.folder.as_ref().map(|folder| std::fs::remove_file(folder.join(tenant.to_string())));
        if let Some(Err(error)) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(problem::login_not_usable(format!("STAND_IN_DIR: {error}")));
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&tenant);
        Ok(())
    }
}

/// The password of this instance's login on other servers, derived from the address of its own.
pub fn password(url: &Secret) -> Secret {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(url.expose().as_bytes()) else {
        unreachable!("HMAC takes keys of any length")
    };
    mac.update(PURPOSE.as_bytes());
    let mut text = String::new();
    for byte in mac.finalize().into_bytes() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Secret::new(text)
}

/// Makes the login on a tenant's own server, where nobody has made it. It has no right there but what `admit` gives it.
pub async fn join(
    admin: &mut PgConnection,
    asked: &Admin,
    member: &str,
    password: &Secret,
) -> Result<(), Problem> {
    let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
        .bind(member)
        .fetch_one(&mut *admin)
        .await
        .map_err(|error| {
            problem::from_sql(&format!("looking for this instance's login at {}", asked.host), &error)
        })?;
    if there {
        return Ok(());
    }
    let member = member.replace('"', "\"\"");
    let verifier = scram_sha_256(password.expose().as_bytes());
    let statement = format!("CREATE ROLE \"{member}\" LOGIN NOINHERIT PASSWORD '{verifier}'");
    sql::run(admin, "making this instance's login on the tenant's server", statement).await
}
