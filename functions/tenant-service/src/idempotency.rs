//! Requests that may be sent again: their key, and the answer that is kept with it.

use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use engine::store::{KeyState, KeyUse, StoredResponse};
use http_server::Problem;
use sha2::{Digest, Sha256};

use crate::extract::Actor;
use crate::problem;
use crate::state::App;

/// The request's key: 1 to 255 visible ASCII characters.
pub fn key(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let key = keys
        .next()
        .ok_or_else(|| problem::idempotency_key_required("the header Idempotency-Key is missing"))?;
    let unusable = || problem::invalid_idempotency_key("give one key of 1 to 255 visible ASCII characters");
    if keys.next().is_some() || !(1..=255).contains(&key.len()) {
        return Err(unusable());
    }
    key.to_str().ok().filter(|key| key.bytes().all(|b| b.is_ascii_graphic())).ok_or_else(unusable)
}

/// What two requests with one key must have in common.
pub fn hash(request: &str, body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(request).chain_update(b"\n").chain_update(body).finalize().into()
}

/// The key as the store takes it.
pub fn used<'a>(app: &App, actor: &'a Actor, key: &'a str, body_hash: &'a [u8]) -> KeyUse<'a> {
    KeyUse { actor: &actor.0, key, body_hash, kept: app.platform.engine.idempotency }
}

/// An answer that was kept; `replayed` when it was given before.
pub fn answer(stored: &StoredResponse, replayed: bool) -> Response {
    let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::ACCEPTED);
    let mut response =
        (status, [(CONTENT_TYPE, "application/json")], stored.body.to_string()).into_response();
    let kept = stored.headers.as_object().into_iter().flatten();
    for (name, value) in kept.filter_map(|(name, value)| Some((name, value.as_str()?))) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    if replayed {
        response
            .headers_mut()
            .insert(HeaderName::from_static("idempotency-replayed"), HeaderValue::from_static("true"));
    }
    response
}

/// A key that is spoken for.
pub fn refused(state: &KeyState) -> Problem {
    match state {
        KeyState::OtherBody => problem::idempotency_key_reused("this key was used with another body"),
        _ => problem::idempotency_key_in_flight("the first request with this key has no answer yet")
            .retry_after(1),
    }
}
