//! Our own lock. tofu's is lost silently with its connection, and the apply goes on and writes its state: whoever runs tofu
//! holds a session of ours in the state's database with a lock on the workspace, looks at it all the time, and ends tofu when
//! it is gone.

use std::time::Duration;

use model::secret::Secret;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::outcome::{Code, Failure};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Longest wait for whoever creates or removes a workspace, which takes a second.
const TURN_WITHIN: &str = "120s";

/// One at a time creates or removes workspaces: tofu refuses it to all but one of several.
const WORKSPACES: &str = "tenantry terraform workspaces";

/// A session that holds a workspace's lock.
#[derive(Debug)]
pub(super) struct Fence {
    session: PgConnection,
}

/// A session at the state's database.
pub(super) async fn connect(state_database: &Secret) -> Result<PgConnection, Failure> {
    let unusable = || Failure::new(Code::Unusable, "infrastructure.state_database is not a Postgres URL");
    let known =
        ["postgres://", "postgresql://"].iter().any(|scheme| state_database.expose().starts_with(scheme));
    // The parser's own error could quote the password.
    let options: PgConnectOptions =
        state_database.expose().parse().ok().filter(|_| known).ok_or_else(unusable)?;
    let options = options.application_name("tenantry-terraform").disable_statement_logging();
    match tokio::time::timeout(CONNECT_WITHIN, options.connect()).await {
        Ok(Ok(session)) => Ok(session),
        Ok(Err(error)) => Err(unavailable(&error.to_string())),
        Err(_) => Err(unavailable("no answer within 10 s")),
    }
}

pub(super) fn unavailable(why: &str) -> Failure {
    Failure::new(Code::StateUnavailable, &format!("the state's database: {why}"))
}

impl Fence {
    /// Takes the workspace's lock, which ends with the session.
    pub async fn take(state_database: &Secret, workspace: &str) -> Result<Self, Failure> {
        let mut session = connect(state_database).await?;
        let taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
            .bind(format!("tenantry terraform {workspace}"))
            .fetch_one(&mut session)
            .await
            .map_err(|error| unavailable(&error.to_string()))?;
        if taken {
            return Ok(Self { session });
        }
        Err(Failure::new(Code::Locked, &format!("workspace {workspace} is worked on by another")))
    }

    /// Returns when the lock is lost, with why.
    pub async fn lost(&mut self) -> Failure {
        loop {
            tokio::time::sleep(EVERY).await;
            let held = sqlx::query_scalar::<_, bool>(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND granted)",
            )
            .fetch_one(&mut self.session);
            let why = match tokio::time::timeout(ANSWER_WITHIN, held).await {
                Ok(Ok(true)) => continue,
                Ok(Ok(false)) => "the session no longer holds its lock".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the state's database does not answer".to_owned(),
            };
            return Failure::new(Code::FenceLost, &format!("the lock of the workspace is lost: {why}"));
        }
    }

    /// Gives the lock back.
    pub async fn release(self) {
        drop(tokio::time::timeout(ANSWER_WITHIN, self.session.close()).await);
    }
}

/// Waits for one's turn at creating and removing workspaces; it is over when the session is dropped.
pub(super) async fn turn(state_database: &Secret) -> Result<PgConnection, Failure> {
    let mut session = connect(state_database).await?;
    let failed = |error: sqlx::Error| unavailable(&error.to_string());
    sqlx::query("SELECT set_config('lock_timeout', $1, false)")
        .bind(TURN_WITHIN)
        .execute(&mut session)
        .await
        .map_err(failed)?;
    sqlx::query("SELECT pg_advisory_lock(hashtextextended($1, 0))")
        .bind(WORKSPACES)
        .execute(&mut session)
        .await
        .map_err(failed)?;
    Ok(session)
}
