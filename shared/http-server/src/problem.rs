//! Errors as a client sees them: problem+json (RFC 9457) with a stable code. How they look is decided here; which there are,
//! each service says in a table of its own, by [`problem_types!`](crate::problem_types).

use axum::http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// One row of a service's table: what is the same in every problem of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProblemType {
    /// The status that it is answered with.
    pub status: StatusCode,
    /// Stable, in snake case.
    pub code: &'static str,
    /// For people; the same every time.
    pub title: &'static str,
    /// What the client can do, where that is the same every time. `{name}` stands for what [`Problem::naming`] fills in.
    pub next_action: Option<&'static str>,
}

/// The problem types of a service: each row makes a function of the code's name that takes the detail, and an entry of
/// `TYPES`. A code that means the same under two statuses, titles or actions has two rows, the second with a name of its own.
///
/// ```ignore
/// http_server::problem_types! {
///     NOT_FOUND tenant_not_found "Tenant not found" => "GET /api/v1/tenants lists the tenants.";
///     CONFLICT tenant_not_found as tenant_left "The tenant has left";
/// }
/// ```
#[macro_export]
macro_rules! problem_types {
    ($($status:ident $code:ident $(as $name:ident)? $title:literal $(=> $action:literal)?;)*) => {
        /// Every problem type of this service.
        pub const TYPES: &[$crate::ProblemType] = &[$($crate::problem_types!(@type $status $code $title $($action)?)),*];
        $($crate::problem_types!(@function $status $title [$($action)?] $code $($name)?);)*
    };
    (@type $status:ident $code:ident $title:literal) => {
        $crate::ProblemType {
            status: ::axum::http::StatusCode::$status,
            code: stringify!($code),
            title: $title,
            next_action: None,
        }
    };
    (@type $status:ident $code:ident $title:literal $action:literal) => {
        $crate::ProblemType {
            next_action: Some($action),
            ..$crate::problem_types!(@type $status $code $title)
        }
    };
    (@function $status:ident $title:literal [$($action:literal)?] $code:ident) => {
        $crate::problem_types!(@function $status $title [$($action)?] $code $code);
    };
    (@function $status:ident $title:literal [$($action:literal)?] $code:ident $name:ident) => {
        #[doc = concat!(stringify!($status), ": ", $title, ".")]
        pub fn $name(detail: impl Into<String>) -> $crate::Problem {
            const TYPE: $crate::ProblemType = $crate::problem_types!(@type $status $code $title $($action)?);
            $crate::Problem::new(TYPE, detail)
        }
    };
}

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

/// One error answer. Must never hold a secret.
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    of: ProblemType,
    detail: String,
    next_action: Option<String>,
    errors: Vec<FieldError>,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The code of the problem that a response holds, among its extensions, for the log line.
#[derive(Clone, Copy, Debug)]
pub struct ProblemCode(pub &'static str);

impl Problem {
    /// A problem of a type; `detail` says what was wrong with this request.
    pub fn new(of: ProblemType, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            of,
            detail: detail.into(),
            next_action: of.next_action.map(str::to_owned),
            errors: Vec::new(),
            members: Map::new(),
            headers: Vec::new(),
        }))
    }

    /// The status that it is answered with.
    pub fn status(&self) -> StatusCode {
        self.0.of.status
    }

    /// The stable name of what went wrong.
    pub fn code(&self) -> &'static str {
        self.0.of.code
    }

    /// What went wrong, for people.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Says instead what the client can do.
    #[must_use]
    pub fn next(mut self, action: impl Into<String>) -> Self {
        self.0.next_action = Some(action.into());
        self
    }

    /// Fills `value` in where the next action has `{name}`.
    #[must_use]
    pub fn naming(mut self, name: &str, value: &str) -> Self {
        let named = self.0.next_action.map(|action| action.replace(&format!("{{{name}}}"), value));
        self.0.next_action = named;
        self
    }

    /// Says instead what is wrong.
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

    /// Each field or parameter that is wrong.
    #[must_use]
    pub fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// A header beside it.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// When to try again, in whole seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// The same with each of `secrets` blotted out of its detail: another server may quote what it was sent.
    #[must_use]
    pub fn without(mut self, secrets: &[&str]) -> Self {
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            self.0.detail = self.0.detail.replace(secret, "***");
        }
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let parts = *self.0;
        let ProblemType { status, code, title, .. } = parts.of;
        let mut body = json!({
            "type": format!("urn:tenantry:problem:{code}"),
            "title": title,
            "status": status.as_u16(),
            "code": code,
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
            (status, [(CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response();
        response.headers_mut().extend(parts.headers);
        response.extensions_mut().insert(ProblemCode(code));
        response
    }
}
