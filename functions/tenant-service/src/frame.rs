//! What surrounds every request: an id, a time limit, a net for panics, one line in the log, and the measures.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::HeaderName;
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use http_server::ProblemCode;
use tracing::Instrument as _;

use crate::measure::Measures;
use crate::problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What [`around`] needs.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Where requests are counted.
    pub measures: Measures,
    /// The longest that a request may take.
    pub timeout: Duration,
}

/// Answers a request, whatever becomes of its handler. Neither token, nor body, nor query is logged.
pub async fn around(State(frame): State<Frame>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(&request);
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();

    // What a handler logs carries the id too; a span of this level is there whatever the filter.
    let span = tracing::error_span!("request", request.id = id);
    let handled = AssertUnwindSafe(next.run(request).instrument(span)).catch_unwind();
    let mut response = match tokio::time::timeout(frame.timeout, handled).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            let why = panic.downcast_ref::<String>().map(String::as_str);
            let why = why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            tracing::error!(request.id = id, route, why, "a handler panicked");
            problem::logged().into_response()
        }
        Err(_) => problem::timed_out(frame.timeout.as_secs()).into_response(),
    };

    let took = begun.elapsed();
    let status = response.status().as_u16();
    frame.measures.answered(method, &route, status, took);
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let code = response.extensions().get::<ProblemCode>().map(|code| code.0);
    if matches!(route.as_str(), "/healthz" | "/readyz" | "/metrics") && status < 400 {
        // Asked for every few seconds for ever.
        tracing::debug!(method, route, status, ms, request.id = id, "request");
    } else {
        tracing::info!(method, route, status, ms, request.id = id, problem.code = code, "request");
    }
    if let Ok(value) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The caller's own id, if it is one that can stand in a log line; else a fresh one.
fn request_id(request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match given {
        Some(given) if (1..=64).contains(&given.len()) && given.bytes().all(|b| b.is_ascii_graphic()) => {
            given.to_owned()
        }
        _ => uuid::Uuid::now_v7().to_string(),
    }
}

/// The method as a label: one that a caller made up does not make a series of its own.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use axum::{Router, middleware};
    use tower::ServiceExt as _;

    async fn call(path: &str) -> (Response, Measures) {
        let measures = Measures::new().unwrap();
        let frame = Frame { measures: measures.clone(), timeout: Duration::from_millis(20) };
        let router = Router::new()
            .route("/panics", get(|| async { panic!("as asked") as () }))
            .route("/hangs", get(std::future::pending::<()>))
            .layer(middleware::from_fn_with_state(frame, around));
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        (router.oneshot(request).await.unwrap(), measures)
    }

    #[tokio::test]
    async fn a_handler_that_panics_or_hangs_is_answered_and_counted_all_the_same() {
        for (path, status, code) in [("/panics", 500, "internal"), ("/hangs", 503, "timeout")] {
            let (response, measures) = call(path).await;
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            assert!(response.headers().contains_key(REQUEST_ID));
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["code"], code);
            assert!(!body.to_string().contains("as asked"));
            assert!(measures.render().contains(&format!("route=\"{path}\",status=\"{status}\"}} 1")));
        }
    }
}
