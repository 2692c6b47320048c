//! Whether an instance can serve. A pooled one can as soon as it runs; a tenant's own once it can log in to the tenant's
//! database, whose credentials appear in a folder while it already runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use model::secret::SecretRef;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::problem;

/// The file with the address to log in with, among those of the Secret `tenant-database-credentials`.
const ADDRESS: &str = "DATABASE_URL";

/// The login of a tenant's own instance, in the folder where its credentials appear.
pub(crate) fn in_folder(folder: &str) -> SecretRef {
    SecretRef::File(Path::new(folder).join(ADDRESS).display().to_string())
}

/// Longest wait for the login. A probe gives up soon after.
const LOGIN_WITHIN: Duration = Duration::from_millis(1_500);

/// What readiness depends on.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    folder: Option<PathBuf>,
}

impl Readiness {
    /// Ready as soon as it runs.
    pub fn at_once() -> Self {
        Self::default()
    }

    /// Ready when the credentials of this folder log in. It need not be there yet; a changed one is seen by the next look.
    pub fn by_credentials_in(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()) }
    }

    async fn check(&self) -> Result<(), &'static str> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let options = address(folder)?;
        // What the server says is not repeated: it is told to whoever asks.
        let login = async { options.connect().await?.close().await };
        match tokio::time::timeout(LOGIN_WITHIN, login).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if is_full(&error) => Ok(()),
            Ok(Err(_)) => Err("the tenant's database cannot be logged in to"),
            Err(_) => Err("the tenant's database does not answer"),
        }
    }
}

/// Whether the login was let in and sent away, as the role has all the sessions that it may have: two pods with their pools
/// full are busy, and none of them is less ready than the other. The check follows the password's, and is told by its routine
/// from the server's own limit, which is looked at before.
fn is_full(error: &sqlx::Error) -> bool {
    let answer = error.as_database_error().and_then(|answer| answer.try_downcast_ref::<PgDatabaseError>());
    answer
        .is_some_and(|answer| answer.code() == "53300" && answer.routine() == Some("InitializeSessionUserId"))
}

fn address(folder: &Path) -> Result<PgConnectOptions, &'static str> {
    let text = fs::read_to_string(folder.join(ADDRESS)).map_err(|_| "the tenant has no database yet")?;
    text.trim_end().parse().map_err(|_| "the address of the tenant's database cannot be read")
}

/// `GET /readyz`.
pub async fn ready(State(readiness): State<Readiness>) -> Response {
    match readiness.check().await {
        Ok(()) => "ok".into_response(),
        Err(why) => problem::not_ready(why).into_response(),
    }
}
