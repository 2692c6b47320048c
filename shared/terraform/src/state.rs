//! What the state's database holds, asked without tofu: which workspaces there are, and beside them, in a table of our own,
//! whose apply was killed.

use engine::phase::Result;
use model::TenantId;
use model::secret::Secret;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::fence::{connect, unavailable};
use super::outcome::Failure;
use super::work::{name_of, workspace_of};

/// Where the `pg` backend keeps its states unless it is told otherwise.
pub(super) const SCHEMA: &str = "terraform_remote_state";

/// A tenant's workspaces that are there: one or none. `Unavailable` when the database cannot be asked.
pub async fn workspaces(state_database: &Secret, tenant: TenantId) -> Result<Vec<String>> {
    let wanted = workspace_of(tenant);
    let found = async {
        let mut session = connect(state_database).await?;
        let found = exists(&mut session, &wanted).await;
        drop(session.close().await);
        found
    };
    let found = found.await.map_err(|failure: Failure| failure.error(&name_of(tenant)))?;
    Ok(found.then_some(wanted).into_iter().collect())
}

/// Whether there is such a workspace. The backend makes its table with the first one.
pub(super) async fn exists(
    session: &mut PgConnection,
    workspace: &str,
) -> std::result::Result<bool, Failure> {
    let table: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(format!("{SCHEMA}.states"))
        .fetch_one(&mut *session)
        .await
        .map_err(failed)?;
    if !table {
        return Ok(false);
    }
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM terraform_remote_state.states WHERE name = $1)")
        .bind(workspace)
        .fetch_one(session)
        .await
        .map_err(failed)
}

/// Makes our own table, in one's turn only: two at once would be in each other's way.
pub(super) async fn prepare(session: &mut PgConnection) -> std::result::Result<(), Failure> {
    sqlx::raw_sql(
        "SET client_min_messages = warning; CREATE SCHEMA IF NOT EXISTS tenantry; \
         CREATE TABLE IF NOT EXISTS tenantry.unfinished_applies (workspace text PRIMARY KEY)",
    )
    .execute(session)
    .await
    .map(drop)
    .map_err(failed)
}

/// Writes down that an apply begins, or that it came to its end. One that was killed in between stays written down: what it
/// had made is not in its state.
pub(super) async fn mark(
    session: &mut PgConnection,
    workspace: &str,
    unfinished: bool,
) -> std::result::Result<(), Failure> {
    let statement = if unfinished {
        "INSERT INTO tenantry.unfinished_applies (workspace) VALUES ($1) ON CONFLICT DO NOTHING"
    } else {
        "DELETE FROM tenantry.unfinished_applies WHERE workspace = $1"
    };
    sqlx::query(statement).bind(workspace).execute(session).await.map(drop).map_err(failed)
}

/// Whether an apply was killed, and none came to its end since.
pub(super) async fn unfinished(
    session: &mut PgConnection,
    workspace: &str,
) -> std::result::Result<bool, Failure> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM tenantry.unfinished_applies WHERE workspace = $1)")
        .bind(workspace)
        .fetch_one(session)
        .await
        .map_err(failed)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn failed(error: sqlx::Error) -> Failure {
    unavailable(&error.to_string())
}
