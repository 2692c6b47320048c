//! Errors as the caller sees them: problem+json (RFC 9457) with a stable code.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sqlx::migrate::MigrateError;

/// One error answer. `detail` never holds a password or a verifier.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    field: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: String) -> Self {
        Self { status, code, title, detail, field: None }
    }

    /// The stable name of what went wrong.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What went wrong, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// 400: `field` (a path such as `admin.port`; empty for the body as a whole) is not as it must be.
    pub fn invalid(field: &str, detail: impl Into<String>) -> Self {
        let mut problem =
            Self::new(StatusCode::BAD_REQUEST, "invalid_request", "The request is not valid", detail.into());
        problem.field = (!field.is_empty()).then(|| field.to_owned());
        problem
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "Unauthorized",
            "send the header x-internal-secret".to_owned(),
        )
    }

    pub(crate) fn not_found(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", path.to_owned())
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Method not allowed",
            "use POST for changes, GET for reads and health checks".to_owned(),
        )
    }

    pub(crate) fn foreign_role(name: &str) -> Self {
        let detail = format!("role {name} exists and is not marked as this tenant's; nothing was changed");
        Self::new(StatusCode::CONFLICT, "foreign_role", "The role belongs to another owner", detail)
    }

    pub(crate) fn foreign_database(name: &str, owner: &str) -> Self {
        let detail = format!("database {name} exists and belongs to {owner}; nothing was changed");
        Self::new(StatusCode::CONFLICT, "foreign_database", "The database belongs to another owner", detail)
    }

    pub(crate) fn foreign_schema(name: &str, owner: &str) -> Self {
        let detail = format!("schema {name} exists and belongs to {owner}; nothing was changed");
        Self::new(StatusCode::CONFLICT, "foreign_schema", "The schema belongs to another owner", detail)
    }

    /// 422: a licence that is not taken.
    pub(crate) fn license(code: &'static str, detail: String) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, "Licence rejected", detail)
    }

    pub(crate) fn license_unkept(reason: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "license_unkept",
            "The licence cannot be stored",
            format!("LICENSE_DIR: {reason}"),
        )
    }

    pub(crate) fn license_missing() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "license_missing",
            "The tenant has no valid licence",
            "no licence was delivered to this instance, or it has expired".to_owned(),
        )
    }

    /// 503: alive, and not yet able to serve.
    pub(crate) fn not_ready(why: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "The instance is not ready", why.to_owned())
    }

    pub(crate) fn license_suspended() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "license_suspended",
            "The tenant is suspended",
            "the licence is marked suspended; requests are accepted again once a newer licence is not"
                .to_owned(),
        )
    }

    /// 503: there is no login to work in tables by.
    pub(crate) fn no_login() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "login_not_configured",
            "The instance has no usable database login",
            "set POOL_DATABASE_URL, or for a pinned instance DATABASE_URL or DATABASE_CREDENTIALS_DIR"
                .to_owned(),
        )
    }

    /// 503: it is there and cannot be used. `reason` names the setting and not its value.
    pub(crate) fn login_unusable(reason: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "login_not_usable",
            "The instance has no usable database login",
            reason.to_owned(),
        )
    }

    /// 500: the pooled login would have every tenant's rights at once.
    pub(crate) fn login_inherits(name: &str) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "login_inherits",
            "The instance's database login has too many privileges",
            format!(
                "{name} is a superuser or inherits the privileges of its roles: ALTER ROLE … NOSUPERUSER NOINHERIT"
            ),
        )
    }

    pub(crate) fn no_tables(tenant: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "tenant_not_here",
            "The tenant is not on this instance",
            format!("tenant {tenant} was not initialized, or another instance serves it"),
        )
    }

    /// 403: a pinned instance is asked about somebody else.
    pub(crate) fn other_tenant(tenant: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "tenant_not_served",
            "The instance serves another tenant",
            format!("the instance is pinned to a tenant other than {tenant}"),
        )
    }

    /// 503: the tenant was initialized by a version before.
    pub(crate) fn tables_outdated() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "tables_outdated",
            "The tenant's tables are of an older version",
            "call initialize for the tenant to run the missing migrations".to_owned(),
        )
    }

    /// 501: there are no background jobs here.
    pub(crate) fn no_jobs(why: &str) -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "jobs_not_configured",
            "The instance runs no background jobs",
            why.to_owned(),
        )
    }

    /// 503: the broker did not take a job.
    pub(crate) fn jobs_unavailable(reason: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "jobs_unavailable",
            "The job broker is unavailable",
            reason.to_owned(),
        )
    }

    pub(crate) fn no_export(id: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "export_unknown",
            "Export not found",
            format!("no export {id} was requested"),
        )
    }

    pub(crate) fn export_not_done(state: &str) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "export_not_done",
            "The export is not finished",
            format!("it is {state}"),
        )
    }

    pub(crate) fn export_gone() -> Self {
        Self::new(
            StatusCode::GONE,
            "export_gone",
            "The export's content is no longer available",
            "newer exports replaced it, or the instance's storage changed: request a new export".to_owned(),
        )
    }

    /// 503: an export cannot be written, or read.
    pub(crate) fn storage(reason: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "storage_failed",
            "The storage is unavailable",
            reason.to_owned(),
        )
    }

    /// Why an export fails that never comes to an end.
    pub(crate) fn given_up(attempts: i32) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "given_up",
            "Too many attempts",
            format!("the process ended during the export {attempts} times"),
        )
    }

    /// The same with a hint.
    pub(crate) fn with(mut self, hint: &str) -> Self {
        self.detail = format!("{}; {hint}", self.detail);
        self
    }

    /// Another try may succeed.
    pub(crate) fn may_pass(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    pub(crate) fn no_user() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "user_not_found",
            "User not found",
            "no user of the tenant has this address".to_owned(),
        )
    }

    pub(crate) fn bootstrap_user_exists() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "bootstrap_user_exists",
            "The tenant already has another administrator",
            "the control plane created one with a different address; nothing was changed".to_owned(),
        )
    }

    pub(crate) fn no_invitation() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "invitation_unknown",
            "Invitation not found",
            "open the complete link from the e-mail".to_owned(),
        )
    }

    /// 410: an invitation that held once.
    pub(crate) fn invitation_gone(code: &'static str, why: &str) -> Self {
        Self::new(StatusCode::GONE, code, "The invitation is no longer valid", why.to_owned())
    }

    pub(crate) fn password(length: std::ops::RangeInclusive<usize>) -> Self {
        let mut problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "password_not_accepted",
            "Password rejected",
            format!("must have {} to {} characters", length.start(), length.end()),
        );
        problem.field = Some("password".to_owned());
        problem
    }

    pub(crate) fn busy(reason: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Temporarily unavailable", reason.to_owned())
    }

    /// As a stranger may see it: what is ours to mend is named in the log only.
    pub(crate) fn for_the_public(self) -> Self {
        if self.status.is_server_error() { Self::busy("try again in a moment") } else { self }
    }

    /// This instance may not act as the tenant, or as none.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self.code, "database_forbidden" | "login_not_configured")
    }

    pub(crate) fn unavailable(doing: &str, reason: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "database_unavailable",
            "The database is unavailable",
            format!("{doing}: {reason}"),
        )
    }

    fn broken(doing: &str, reason: &str) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "database_error",
            "The database refused the request",
            format!("{doing}: {reason}"),
        )
    }

    /// What Postgres (or the way to it) answered while `doing`: worth another try, or not.
    pub(crate) fn from_sql(doing: &str, error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(answer) => {
                let state = answer.code().unwrap_or_default();
                let reason = format!("{} (SQLSTATE {state})", answer.message());
                if state == "42501" {
                    let mut problem = Self::broken(doing, &reason);
                    problem.code = "database_forbidden";
                    problem
                } else if passes_by_itself(&state) {
                    Self::unavailable(doing, &reason)
                } else {
                    Self::broken(doing, &reason)
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut => Self::unavailable(doing, &error.to_string()),
            other => Self::broken(doing, &other.to_string()),
        }
    }

    pub(crate) fn from_migration(error: &MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) => Self::from_sql("reading the migrations that ran", error),
            MigrateError::ExecuteMigration(error, version) => {
                Self::from_sql(&format!("running migration {version}"), error)
            }
            other => Self::broken("running the migrations", &other.to_string()),
        }
    }

    /// The same problem with every one of `secrets` blotted out of its text: a server may quote what it was sent.
    pub(crate) fn without(mut self, secrets: &[&str]) -> Self {
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            self.detail = self.detail.replace(secret, "***");
        }
        self
    }
}

/// Whether a SQLSTATE says that the server is away, busy or full: connection (08), credentials of the administrator
/// (28), resources (53), operator intervention (57), lock timeouts and objects in use (55006, 55P03), and lost
/// races (40).
fn passes_by_itself(state: &str) -> bool {
    matches!(state.get(..2), Some("08" | "28" | "40" | "53" | "57")) || matches!(state, "55006" | "55P03")
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("urn:tenantry:problem:{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let Some(field) = self.field {
            body["field"] = field.into();
        }
        (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
    }
}
