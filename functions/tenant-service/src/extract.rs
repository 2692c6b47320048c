//! What handlers take out of a request: the tenant of its path, its caller, its body.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRef, FromRequest, FromRequestParts, Path, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use model::{Slug, TenantId};
use serde_json::{Map, Value};
use tenants::Store;

use crate::fields::Fields;
use crate::problem::{self, Failure};

/// The tenant that a path's `{id}` means: a UUID, or a slug's newest tenant. 404 where there is none.
#[derive(Clone, Copy, Debug)]
pub struct TenantPath(pub TenantId);

impl<S> FromRequestParts<S> for TenantPath
where
    S: Send + Sync,
    Store: FromRef<S>,
{
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        // What is no text cannot be there.
        let Ok(Path(id)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(problem::no_tenant("").into());
        };
        Self::find(&Store::from_ref(state), &id).await
    }
}

impl TenantPath {
    /// The tenant with this id or slug.
    pub async fn find(store: &Store, id: &str) -> Result<Self, Failure> {
        // What is neither a UUID nor a slug need not be asked for.
        if id.parse::<TenantId>().is_err() && id.parse::<Slug>().is_err() {
            return Err(problem::no_tenant(id).into());
        }
        store.find_tenant(id).await?.map(Self).ok_or_else(|| problem::no_tenant(id).into())
    }
}

/// The holder of the token that a request carried; stands in audit rows and keeps idempotency keys apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(pub Arc<str>);

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Failure;

    /// Every route behind the token has it.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| problem::logged().into())
    }
}

/// A JSON body as its bytes, checked for its type and size only.
#[derive(Clone, Debug)]
pub struct JsonBytes(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let headers = request.headers().clone();
        json_bytes(&headers, Bytes::from_request(request, state).await).map(Self)
    }
}

/// A JSON body that is an object.
#[derive(Clone, Debug)]
pub struct JsonObject(pub Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for JsonObject {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let JsonBytes(bytes) = JsonBytes::from_request(request, state).await?;
        object(&bytes).map(Self)
    }
}

/// What a body says, taken out of its fields.
pub trait FromFields: Sized {
    /// Reads all of its fields and says there everything that is wrong with them; none where something is.
    fn from_fields(fields: &mut Fields) -> Option<Self>;
}

/// A JSON body, read as a whole: everything wrong with its fields is answered at once.
#[derive(Clone, Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: FromFields> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let JsonObject(object) = JsonObject::from_request(request, state).await?;
        Ok(Self(Fields::read(object, T::from_fields).map_err(problem::wrong_fields)?))
    }
}

/// No body, or an empty object: there is nothing to be said. The bytes, so that they can be compared with an earlier request's.
#[derive(Clone, Debug)]
pub struct NoBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let headers = request.headers().clone();
        let body = Bytes::from_request(request, state).await;
        if body.as_ref().is_ok_and(Bytes::is_empty) {
            return Ok(Self(Bytes::new()));
        }
        let bytes = json_bytes(&headers, body)?;
        Fields::read(object(&bytes)?, |_| Some(())).map_err(problem::wrong_fields)?;
        Ok(Self(bytes))
    }
}

/// Largest body accepted, in bytes; a real one is under 2 KB.
pub const LIMIT: usize = 64 * 1024;

/// A body as it came: checked for its type and size only, so that its bytes can be compared with an earlier one's.
fn json_bytes(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Bytes, Failure> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind != "application/json" && !(kind.starts_with("application/") && kind.ends_with("+json")) {
        return Err(problem::unsupported_media_type(if kind.is_empty() {
            "the header Content-Type is missing"
        } else {
            "Content-Type must be application/json"
        })
        .into());
    }
    let refused = |rejection: BytesRejection| match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            problem::body_too_large(format!("the body must not exceed {LIMIT} bytes"))
        }
        _ => problem::incomplete_body("the body ended before all of it came"),
    };
    body.map_err(|rejection| refused(rejection).into())
}

/// The object that a body holds.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| problem::malformed_json(format!("the body is not valid JSON: {error}")))?;
    let kind = match value {
        Value::Object(map) => return Ok(map),
        Value::Array(_) => "an array",
        Value::String(_) => "a string",
        Value::Number(_) => "a number",
        Value::Bool(_) => "a boolean",
        Value::Null => "null",
    };
    Err(problem::not_an_object(format!("the body is {kind} and must be a JSON object")).into())
}
