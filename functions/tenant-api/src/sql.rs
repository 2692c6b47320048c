//! Connections, locks and statements.

use crate::problem::{self, Problem};
use crate::request::Admin;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use std::time::Duration;
use uuid::Uuid;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a change of a shared catalogue row is tried against others that change it at the same moment.
const ACL_ATTEMPTS: u64 = 10;

/// Logs in to `database` as the administrator of the call.
///
/// The statements of such a session are not logged, as one carries the verifier. Names resolve in the system
/// catalogue alone: a tenant may own the database and have put functions of its own into it. A caller that hung up is
/// noticed within a second even in the middle of a statement or while waiting for a lock.
pub async fn connect(admin: &Admin, database: &str) -> Result<PgConnection, Problem> {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&admin.host)
        .port(admin.port)
        .username(&admin.user)
        .password(&admin.password)
        .database(database)
        .application_name("tenant-api")
        .options([
            ("client_connection_check_interval", "1s"),
            ("lock_timeout", "120s"),
            ("search_path", "pg_catalog"),
            // Notices only say that something is there already.
            ("client_min_messages", "warning"),
        ])
        .disable_statement_logging();
    let doing = format!("connecting to database {database} at {}:{}", admin.host, admin.port);
    match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(error)) => Err(problem::from_sql(&doing, &error)),
        Err(_) => Err(problem::unavailable(&doing, "no answer within 10 s")),
    }
}

/// Opens the administrator's session that holds the tenant's lock until it is closed. One call at a time works on a
/// tenant, as long as all name the same administration database.
pub async fn connect_locked(admin: &Admin, tenant: Uuid) -> Result<PgConnection, Problem> {
    let mut conn = connect(admin, &admin.database).await?;
    lock(&mut conn, &format!("tenantry tenant {tenant}")).await?;
    Ok(conn)
}

/// Opens a session in the database where the tenant's tables live, with its lock.
pub async fn connect_place(admin: &Admin, database: &str, tenant: Uuid) -> Result<PgConnection, Problem> {
    let mut conn = connect(admin, database).await?;
    lock_place(&mut conn, tenant).await?;
    Ok(conn)
}

/// Takes the lock of whoever works in the tenant's tables: it waits for the last statement of a call that was given up and
/// whose other session has ended already.
pub async fn lock_place(conn: &mut PgConnection, tenant: Uuid) -> Result<(), Problem> {
    lock(conn, &format!("tenantry place {tenant}")).await
}

async fn lock(conn: &mut PgConnection, name: &str) -> Result<(), Problem> {
    sqlx::query("SELECT pg_advisory_lock(hashtextextended($1, 0))")
        .bind(name)
        .execute(conn)
        .await
        .map_err(|error| problem::from_sql("waiting for the tenant's lock", &error))?;
    Ok(())
}

/// Ends the session, and with it its locks, before the answer is sent.
pub async fn close(conn: PgConnection) {
    if let Err(error) = conn.close().await {
        tracing::debug!(%error, "the connection was gone already");
    }
}

/// Runs `statement`, whose dynamic parts are [`Identifier`](crate::request::Identifier)s, uuids, numbers or verifiers.
pub async fn run(conn: &mut PgConnection, doing: &str, statement: String) -> Result<(), Problem> {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(conn)
        .await
        .map_err(|error| problem::from_sql(doing, &error))?;
    Ok(())
}

/// Runs a statement that changes rights on something many tenants share.
///
/// Postgres does not queue such changes, it fails them with "tuple concurrently updated" (XX000): a lock keeps our
/// own apart, repetition copes with others.
pub async fn run_on_shared(conn: &mut PgConnection, doing: &str, statement: &str) -> Result<(), Problem> {
    let whole = format!(
        "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('tenantry rights', 0)); {statement}; COMMIT"
    );
    let mut attempt = 1;
    loop {
        let outcome = sqlx::raw_sql(AssertSqlSafe(whole.clone())).execute(&mut *conn).await;
        let Err(error) = outcome else { return Ok(()) };
        run(conn, doing, "ROLLBACK".to_owned()).await?;
        if attempt == ACL_ATTEMPTS || !lost_a_race(&error) {
            return Err(problem::from_sql(doing, &error));
        }
        tokio::time::sleep(Duration::from_millis(20 * attempt)).await;
        attempt += 1;
    }
}

fn lost_a_race(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|answer| {
        answer.code().as_deref() == Some("XX000") && answer.message().starts_with("tuple concurrently")
    })
}
