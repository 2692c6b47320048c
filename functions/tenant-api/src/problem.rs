//! Errors as the caller sees them: the table of this instance's problems, and those that are made of something. A detail never
//! holds a password or a verifier.

use std::fmt::Display;
use std::ops::RangeInclusive;

use axum::http::StatusCode;
pub use http_server::Problem;
use sqlx::migrate::MigrateError;

http_server::problem_types! {
    BAD_REQUEST invalid_request "The request is not valid";
    UNAUTHORIZED unauthorized "Unauthorized";
    FORBIDDEN license_suspended "The tenant is suspended";
    FORBIDDEN tenant_not_served "The instance serves another tenant";
    NOT_FOUND export_unknown "Export not found";
    NOT_FOUND invitation_unknown "Invitation not found";
    NOT_FOUND license_missing "The tenant has no valid licence";
    NOT_FOUND not_found "Not found";
    NOT_FOUND tenant_not_here "The tenant is not on this instance";
    NOT_FOUND user_not_found "User not found";
    METHOD_NOT_ALLOWED method_not_allowed "Method not allowed";
    CONFLICT bootstrap_user_exists "The tenant already has another administrator";
    CONFLICT export_not_done "The export is not finished";
    CONFLICT foreign_database "The database belongs to another owner";
    CONFLICT foreign_role "The role belongs to another owner";
    CONFLICT foreign_schema "The schema belongs to another owner";
    GONE export_gone "The export's content is no longer available";
    GONE invitation_expired "The invitation is no longer valid";
    GONE invitation_used "The invitation is no longer valid";
    GONE invitation_void "The invitation is no longer valid";
    UNPROCESSABLE_ENTITY license_altered "Licence rejected";
    UNPROCESSABLE_ENTITY license_expired "Licence rejected";
    UNPROCESSABLE_ENTITY license_foreign "Licence rejected";
    UNPROCESSABLE_ENTITY license_key_unknown "Licence rejected";
    UNPROCESSABLE_ENTITY license_malformed "Licence rejected";
    UNPROCESSABLE_ENTITY license_not_yet_valid "Licence rejected";
    UNPROCESSABLE_ENTITY password_not_accepted "Password rejected";
    INTERNAL_SERVER_ERROR database_error "The database refused the request";
    INTERNAL_SERVER_ERROR database_forbidden "The database refused the request";
    INTERNAL_SERVER_ERROR given_up "Too many attempts";
    INTERNAL_SERVER_ERROR login_inherits "The instance's database login has too many privileges";
    NOT_IMPLEMENTED jobs_not_configured "The instance runs no background jobs";
    SERVICE_UNAVAILABLE busy "Temporarily unavailable";
    SERVICE_UNAVAILABLE database_unavailable "The database is unavailable";
    SERVICE_UNAVAILABLE jobs_unavailable "The job broker is unavailable";
    SERVICE_UNAVAILABLE license_unkept "The licence cannot be stored";
    SERVICE_UNAVAILABLE login_not_configured "The instance has no usable database login";
    SERVICE_UNAVAILABLE login_not_usable "The instance has no usable database login";
    SERVICE_UNAVAILABLE not_ready "The instance is not ready";
    SERVICE_UNAVAILABLE storage_failed "The storage is unavailable";
    SERVICE_UNAVAILABLE tables_outdated "The tenant's tables are of an older version";
}

/// 400: `field` (a path such as `admin.port`; empty for the body as a whole) is not as it must be.
pub fn invalid(field: &str, detail: impl Into<String>) -> Problem {
    let problem = invalid_request(detail);
    if field.is_empty() { problem } else { problem.with("field", field) }
}

/// 409: nothing of a role that is not marked as the tenant's was changed.
pub fn role_of_another(name: &str) -> Problem {
    foreign_role(format!("role {name} exists and is not marked as this tenant's; nothing was changed"))
}

/// 409: nothing of another owner's database was changed.
pub fn database_of_another(name: &str, owner: &str) -> Problem {
    foreign_database(format!("database {name} exists and belongs to {owner}; nothing was changed"))
}

/// 409: nothing of another owner's schema was changed.
pub fn schema_of_another(name: &str, owner: &str) -> Problem {
    foreign_schema(format!("schema {name} exists and belongs to {owner}; nothing was changed"))
}

/// 503: the folder does not take the licence.
pub fn unkept(reason: impl Display) -> Problem {
    license_unkept(format!("LICENSE_DIR: {reason}"))
}

/// 404: none was told, or it is over.
pub fn no_license() -> Problem {
    license_missing("no licence was delivered to this instance, or it has expired")
}

/// 403: the licence says so.
pub fn suspended() -> Problem {
    license_suspended(
        "the licence is marked suspended; requests are accepted again once a newer licence is not",
    )
}

/// 503: there is no login to work in tables by.
pub fn no_login() -> Problem {
    login_not_configured(
        "set POOL_DATABASE_URL, or for a pinned instance DATABASE_URL or DATABASE_CREDENTIALS_DIR",
    )
}

/// 500: the pooled login would have every tenant's rights at once.
pub fn inherits(name: &str) -> Problem {
    login_inherits(format!(
        "{name} is a superuser or inherits the privileges of its roles: ALTER ROLE … NOSUPERUSER NOINHERIT"
    ))
}

/// 404: this instance has no tables of the tenant.
pub fn no_tables(tenant: impl Display) -> Problem {
    tenant_not_here(format!("tenant {tenant} was not initialized, or another instance serves it"))
}

/// 403: a pinned instance is asked about another tenant.
pub fn other_tenant(tenant: impl Display) -> Problem {
    tenant_not_served(format!("the instance is pinned to a tenant other than {tenant}"))
}

/// 503: the tenant was initialized by an earlier version.
pub fn outdated() -> Problem {
    tables_outdated("call initialize for the tenant to run the missing migrations")
}

/// 404: none of this id was asked for.
pub fn no_export(id: impl Display) -> Problem {
    export_unknown(format!("no export {id} was requested"))
}

/// 410: it was there.
pub fn content_gone() -> Problem {
    export_gone("newer exports replaced it, or the instance's storage changed: request a new export")
}

/// Why an export fails that never comes to an end.
pub fn too_often(attempts: i32) -> Problem {
    given_up(format!("the process ended during the export {attempts} times"))
}

/// 404: the tenant has no user of this address.
pub fn no_user() -> Problem {
    user_not_found("no user of the tenant has this address")
}

/// 409: the tenant has an administrator of another address.
pub fn other_bootstrap_user() -> Problem {
    bootstrap_user_exists("the control plane created one with a different address; nothing was changed")
}

/// 404: no invitation has this token.
pub fn no_invitation() -> Problem {
    invitation_unknown("open the complete link from the e-mail")
}

/// 422: too short or too long.
pub fn password(length: &RangeInclusive<usize>) -> Problem {
    password_not_accepted(format!("must have {} to {} characters", length.start(), length.end()))
        .with("field", "password")
}

/// As a stranger may see it: what is ours to mend is named in the log only.
pub fn for_the_public(problem: Problem) -> Problem {
    if problem.status().is_server_error() { busy("try again in a moment") } else { problem }
}

/// Another try may succeed.
pub fn may_pass(problem: &Problem) -> bool {
    problem.status() == StatusCode::SERVICE_UNAVAILABLE
}

/// This instance may not act as the tenant, or as none.
pub fn is_forbidden(problem: &Problem) -> bool {
    matches!(problem.code(), "database_forbidden" | "login_not_configured")
}

/// 503: the database could not be asked while `doing`.
pub fn unavailable(doing: &str, reason: &str) -> Problem {
    database_unavailable(format!("{doing}: {reason}"))
}

/// What Postgres (or the way to it) answered while `doing`: worth another try, or not.
pub fn from_sql(doing: &str, error: &sqlx::Error) -> Problem {
    match error {
        sqlx::Error::Database(answer) => {
            let state = answer.code().unwrap_or_default();
            let reason = format!("{doing}: {} (SQLSTATE {state})", answer.message());
            if state == "42501" {
                database_forbidden(reason)
            } else if passes_by_itself(&state) {
                database_unavailable(reason)
            } else {
                database_error(reason)
            }
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolTimedOut => {
            unavailable(doing, &error.to_string())
        }
        other => database_error(format!("{doing}: {other}")),
    }
}

/// What went wrong with the migrations.
pub fn from_migration(error: &MigrateError) -> Problem {
    match error {
        MigrateError::Execute(error) => from_sql("reading the migrations that ran", error),
        MigrateError::ExecuteMigration(error, version) => {
            from_sql(&format!("running migration {version}"), error)
        }
        other => database_error(format!("running the migrations: {other}")),
    }
}

/// Whether a SQLSTATE says that the server is away, busy or full: connection (08), credentials of the administrator
/// (28), resources (53), operator intervention (57), lock timeouts and objects in use (55006, 55P03), and lost
/// races (40).
fn passes_by_itself(state: &str) -> bool {
    matches!(state.get(..2), Some("08" | "28" | "40" | "53" | "57")) || matches!(state, "55006" | "55P03")
}
