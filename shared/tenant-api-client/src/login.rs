//! Logging in as the tenant: whether its credentials work and reach its own tables.

use std::process::ExitCode;
use std::time::Duration;

use engine::phase::{Error, Result};
use model::secret::Secret;
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

use super::Credentials;

/// Longest time for one login and its question.
const LOGIN_WITHIN: Duration = Duration::from_secs(15);

/// What a login found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Who logged in.
    pub user: String,
    /// Where.
    pub database: String,
    /// The schema that names resolve in.
    pub schema: String,
    /// Rows in the tenant's table of settings, which is never empty.
    pub settings: i64,
}

/// Logs in twice, by the single values and by the URL (services use either), and reads a table that the migrations
/// made. Retryable: `database_login_refused` when the server refuses the role, its password or the database,
/// `database_unreachable` when it cannot be asked, `database_incomplete` when the tables are not as they must be.
pub async fn check(credentials: &Credentials) -> Result<Checked> {
    let Credentials { host, port, database, user, password, url } = credentials;
    let unusable = |what: &str| {
        Error::retryable("database_login_refused", format!("{what} is not the address of a database"))
            .next("Correct it in the Secret, or delete the Secret: retry makes a new one.")
    };
    let single = PgConnectOptions::new_without_pgpass()
        .host(host)
        .port(port.parse().map_err(|_| unusable("POSTGRES_PORT"))?)
        .database(database)
        .username(user)
        .password(password.expose());
    let checked = look("POSTGRES_*", single).await?;
    // The parser's own words could repeat a part of it.
    let whole: PgConnectOptions = url.expose().parse().map_err(|_| unusable("DATABASE_URL"))?;
    let by_url = look("DATABASE_URL", whole).await?;
    if by_url == checked {
        return Ok(checked);
    }
    let message = format!(
        "POSTGRES_* leads to {}/{} and DATABASE_URL to {}/{}",
        checked.database, checked.schema, by_url.database, by_url.schema
    );
    Err(Error::retryable("database_login_refused", message)
        .next("Make the Secret's keys agree, or delete the Secret: retry makes a new one."))
}

/// The whole of the program that a Job runs in the tenant's namespace: checks the credentials in its environment, and
/// says on standard error why they do not work.
pub fn check_from_env() -> ExitCode {
    let checked = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::retryable("runtime", format!("cannot start: {error}")))
        .and_then(|runtime| {
            let value = |key: &str| std::env::var(key).ok().map(Secret::new);
            let credentials = Credentials::read("the environment", value)?;
            runtime.block_on(check(&credentials))
        });
    match checked {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn look(by: &str, options: PgConnectOptions) -> Result<Checked> {
    let options = options.application_name("tenantry").disable_statement_logging();
    let server = format!("{}:{}", options.get_host(), options.get_port());
    let doing = format!("logging in to {server} by {by}");
    let asked = async {
        let mut connection = options.connect().await?;
        let answer = ask(&mut connection).await;
        // The answer is there; a connection that cannot say goodbye changes nothing.
        connection.close().await.ok();
        answer
    };
    match tokio::time::timeout(LOGIN_WITHIN, asked).await {
        Ok(Ok(checked)) if checked.settings > 0 => Ok(checked),
        Ok(Ok(_)) => Err(incomplete(format!("{doing}: the table of settings is empty"))),
        Ok(Err(error)) => Err(refused(&doing, &error)),
        Err(_) => Err(unreachable(&doing, "no answer within 15 s")),
    }
}

async fn ask(connection: &mut PgConnection) -> sqlx::Result<Checked> {
    // Unqualified: the role must find its own tables by itself.
    let question = "SELECT current_user::text, current_database()::text, coalesce(current_schema()::text, ''), \
                    count(*) FROM configuration";
    let (user, database, schema, settings) = sqlx::query_as(question).fetch_one(connection).await?;
    Ok(Checked { user, database, schema, settings })
}

fn refused(doing: &str, error: &sqlx::Error) -> Error {
    let sqlx::Error::Database(answer) = error else { return unreachable(doing, &error.to_string()) };
    let state = answer.code().unwrap_or_default();
    let message = format!("{doing}: {} (SQLSTATE {state})", answer.message());
    match state.as_ref() {
        // 28: authentication; 3D000: no such database; 42501: no CONNECT on it, or no SELECT.
        "28000" | "28P01" | "3D000" | "42501" => Error::retryable("database_login_refused", message)
            .next("Something changed the Secret or the role; delete the Secret and retry, which makes a new password."),
        "42P01" | "3F000" => incomplete(message),
        _ => unreachable(doing, &format!("{} (SQLSTATE {state})", answer.message())),
    }
}

fn incomplete(message: String) -> Error {
    Error::retryable("database_incomplete", message)
        .next("Look at the tenant-api's log; retry runs the migrations and the seed data again.")
}

fn unreachable(doing: &str, why: &str) -> Error {
    Error::retryable("database_unreachable", format!("{doing}: {why}"))
        .next("Check that the region's database runs and can be reached from here.")
}
