//! What many operations have in common: parameters, and the problems that they may answer with, whose codes are those of the
//! table.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, Response, ResponseBuilder};
use utoipa::{IntoParams, IntoResponses, Modify, PartialSchema as _, ToSchema as _};

use super::bodies::Problem;
use crate::extract::TenantPath;
use crate::problem::TYPES;

/// The reusable responses, by the status of their problems.
const RESPONSES: [(&str, StatusCode); 10] = [
    ("BadRequest", StatusCode::BAD_REQUEST),
    ("Unauthorized", StatusCode::UNAUTHORIZED),
    ("NotFound", StatusCode::NOT_FOUND),
    ("MethodNotAllowed", StatusCode::METHOD_NOT_ALLOWED),
    ("Conflict", StatusCode::CONFLICT),
    ("TooLarge", StatusCode::PAYLOAD_TOO_LARGE),
    ("UnsupportedMediaType", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ("InvalidFields", StatusCode::UNPROCESSABLE_ENTITY),
    ("Internal", StatusCode::INTERNAL_SERVER_ERROR),
    ("Unavailable", StatusCode::SERVICE_UNAVAILABLE),
];

/// The problems that operations of one sort may answer with.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = $($status:ident)+;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                let of = [$(StatusCode::$status),+];
                let among = RESPONSES.iter().filter(|(_, status)| of.contains(status));
                among.map(|(name, status)| (status.as_str().to_owned(), Ref::from_response_name(*name).into())).collect()
            }
        }
    )*};
}

problems! {
    /// Every operation behind the token.
    Authenticated = UNAUTHORIZED METHOD_NOT_ALLOWED INTERNAL_SERVER_ERROR SERVICE_UNAVAILABLE;
    /// What the path names may not be there.
    Missing = NOT_FOUND;
    /// What is there may not allow it.
    Conflicting = CONFLICT;
    /// It reads a body.
    WithBody = BAD_REQUEST PAYLOAD_TOO_LARGE UNSUPPORTED_MEDIA_TYPE UNPROCESSABLE_ENTITY;
    /// It may not be able to serve.
    Unready = SERVICE_UNAVAILABLE;
    /// It reads parameters of the query.
    Parameterised = BAD_REQUEST;
}

/// Adds the reusable responses and the schema of their bodies.
pub(super) struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let mut schemas = vec![(Problem::name().into_owned(), Problem::schema())];
        Problem::schemas(&mut schemas);
        components.schemas.extend(schemas);
        for (name, status) in RESPONSES {
            components.responses.insert(name.to_owned(), response(status).into());
        }
    }
}

fn response(status: StatusCode) -> Response {
    let mut codes: Vec<String> = Vec::new();
    for of in TYPES.iter().filter(|of| of.status == status) {
        let code = format!("`{}` ({})", of.code, of.title);
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    let schema = Ref::from_schema_name(Problem::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let response = ResponseBuilder::new()
        .description(format!("{}.", codes.join(", ")))
        .content("application/problem+json", content);
    let header = |schema_type: Type, description: &str| {
        let schema = Schema::Object(ObjectBuilder::new().schema_type(schema_type).build());
        HeaderBuilder::new().schema(schema).description(Some(description)).build()
    };
    match status {
        StatusCode::UNAUTHORIZED => {
            response.header(WWW_AUTHENTICATE.as_str(), header(Type::String, "The scheme, `Bearer`."))
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            response.header(ALLOW.as_str(), header(Type::String, "The methods of the path."))
        }
        StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE => {
            response.header(RETRY_AFTER.as_str(), header(Type::Integer, "Seconds, where to wait helps."))
        }
        _ => response,
    }
    .build()
}

fn parameter(name: &str, of: ParameterIn, description: &str, schema: ObjectBuilder) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(of)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(Schema::Object(schema.schema_type(Type::String).build())))
        .build()
}

/// A parameter of the path.
pub fn in_path(name: &str, description: &str) -> Parameter {
    parameter(name, ParameterIn::Path, description, ObjectBuilder::new())
}

impl IntoParams for TenantPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![in_path("id", "The tenant's UUID, or a slug: its newest tenant.")]
    }
}

/// The header by which a request can be sent again.
#[derive(Clone, Copy, Debug)]
pub struct IdempotencyKey;

impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = ObjectBuilder::new().min_length(Some(1)).max_length(Some(255)).pattern(Some("^[!-~]+$"));
        let description = "1 to 255 visible ASCII characters; kept 24 hours.";
        vec![parameter("Idempotency-Key", ParameterIn::Header, description, schema)]
    }
}
