//! Reading a body as a JSON object, with an answer for each way in which it is none.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use serde_json::{Map, Value};

use crate::problem::Problem;

/// Largest body accepted, in bytes; a real one is under 2 KB.
pub const LIMIT: usize = 64 * 1024;

/// A body as it came: checked for its type and size only, so that its bytes can be compared with an earlier one's.
pub fn json_bytes(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind != "application/json" && !(kind.starts_with("application/") && kind.ends_with("+json")) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The body is of a type that is not understood",
            if kind.is_empty() {
                "there is no Content-Type".to_owned()
            } else {
                "this Content-Type is not JSON".to_owned()
            },
        )
        .next("Send JSON with the header 'Content-Type: application/json'."));
    }
    body.map_err(|rejection| match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(LIMIT),
        _ => Problem::malformed("incomplete_body", "the body ended before all of it came"),
    })
}

/// The object that a body holds.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Problem::malformed("malformed_json", format!("the body is no JSON: {error}")))?;
    let kind = match value {
        Value::Object(map) => return Ok(map),
        Value::Array(_) => "an array",
        Value::String(_) => "a string",
        Value::Number(_) => "a number",
        Value::Bool(_) => "a boolean",
        Value::Null => "null",
    };
    Err(Problem::malformed("not_an_object", format!("the body is {kind} and must be a JSON object")))
}
