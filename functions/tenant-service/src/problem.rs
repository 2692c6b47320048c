//! Errors as the caller sees them: problem+json (RFC 9457) with a stable code.

use axum::http::header::{HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::store::StoreError;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// What is wrong with one field or parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Its name, with dots into objects: `alerting.email`.
    pub field: String,
    /// Stable, in snake case.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// One error answer. Never holds a secret, nor what a database said.
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    next_action: Option<String>,
    errors: Vec<FieldError>,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The code of the problem that an answer holds, for the log line.
#[derive(Clone, Copy, Debug)]
pub struct ProblemCode(pub &'static str);

impl Problem {
    /// A problem with a stable code.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(Parts {
            status,
            code,
            title,
            detail: detail.into(),
            next_action: None,
            errors: Vec::new(),
            members: Map::new(),
            headers: Vec::new(),
        }))
    }

    /// Says what the caller can do.
    #[must_use]
    pub fn next(mut self, action: impl Into<String>) -> Self {
        self.0.next_action = Some(action.into());
        self
    }

    /// Says more exactly what is wrong.
    #[must_use]
    pub fn because(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// A member of its own, such as `currentSeq`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// When to try again, in whole seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// 422: the body can be read and its fields cannot be accepted; all of them are named.
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let names = names(&errors);
        if errors.iter().all(|error| error.code == "deployment_type_unavailable") {
            return Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "deployment_type_unavailable",
                "Deployment type not available",
                errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; "),
            )
            .errors(errors);
        }
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_fields",
            "Invalid fields",
            format!("cannot accept {names}; see errors"),
        )
        .errors(errors)
    }

    /// 400: query parameters that cannot be accepted.
    pub fn invalid_parameters(errors: Vec<FieldError>) -> Self {
        let names = names(&errors);
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_parameters",
            "Invalid parameters",
            format!("cannot accept {names}; see errors"),
        )
        .errors(errors)
    }

    /// 400: the body cannot be read as what it should be.
    pub fn malformed(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, "Malformed body", detail)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "Unauthorized",
            "a valid bearer token is required",
        )
        .next("Send the header 'Authorization: Bearer <token>'.")
        .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tenantry\""))
    }

    /// 404 for a tenant.
    pub fn no_tenant(id: &str) -> Self {
        // What was asked for may be anything; what is shown of it is bounded.
        let shown: String = id.chars().filter(|c| !c.is_control()).take(64).collect();
        Self::new(
            StatusCode::NOT_FOUND,
            "tenant_not_found",
            "Tenant not found",
            format!("no tenant has the id or slug '{shown}'"),
        )
        .next("GET /api/v1/tenants lists the tenants.")
    }

    /// 409: a tenant's region was taken out of the platform file.
    pub fn region_unknown(region: &str) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "region_unknown",
            "The tenant's region no longer exists",
            format!("region '{region}' is neither in the platform file nor was it created by the API"),
        )
        .next("Restore the region in the platform file.")
    }

    /// 404 for a path.
    pub fn no_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", "no route matches this path")
            .next("GET /openapi.json lists the routes.")
    }

    /// 405.
    pub fn wrong_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Method not allowed",
            "see the header Allow",
        )
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "Payload too large",
            format!("the body must not exceed {limit} bytes"),
        )
    }

    /// 503: the control plane's database does not answer.
    pub fn database_unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "database_unavailable",
            "The control plane's database is unavailable",
            "the request was not carried out, or its outcome is unknown",
        )
        .next("Retry the request; use the same Idempotency-Key for a creation.")
        .retry_after(5)
    }

    /// 503: given up after `seconds`.
    pub fn timed_out(seconds: u64) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            "The request took too long",
            format!("no answer within {seconds} s; the outcome is unknown"),
        )
        .next("Retry the request; use the same Idempotency-Key for a creation.")
        .retry_after(5)
    }

    /// 500. The cause is in the log, under the request's id.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal server error",
            "the cause is logged under the request id in the header x-request-id",
        )
    }
}

fn names(errors: &[FieldError]) -> String {
    let mut names: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
    names.dedup();
    names.join(", ")
}

/// Logged here, once: the caller is told no more than that it is so.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Database(cause) if away(cause) => {
                tracing::warn!(%error, "the control plane's database cannot be used");
                Self::database_unavailable()
            }
            _ => {
                tracing::error!(%error, "the control plane's database refused");
                Self::internal()
            }
        }
    }
}

/// Whether the database is away, busy or not set up, rather than asked for something wrong.
fn away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(answer) => {
            // Connection (08), authorisation (28), no such database (3D), lost races (40), no such table (42P01, not
            // migrated yet), resources (53), operator intervention (57).
            let state = answer.code().unwrap_or_default();
            state == "42P01" || matches!(state.get(..2), Some("08" | "28" | "3D" | "40" | "53" | "57"))
        }
        _ => false,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let parts = *self.0;
        let mut body = json!({
            "type": format!("urn:tenantry:problem:{}", parts.code),
            "title": parts.title,
            "status": parts.status.as_u16(),
            "code": parts.code,
            "detail": parts.detail,
        });
        if let Some(action) = parts.next_action {
            body["nextAction"] = action.into();
        }
        if !parts.errors.is_empty() {
            body["errors"] = json!(parts.errors);
        }
        for (name, value) in parts.members {
            body[name] = value;
        }
        let mut response =
            (parts.status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string())
                .into_response();
        response.headers_mut().extend(parts.headers);
        response.extensions_mut().insert(ProblemCode(parts.code));
        response
    }
}
