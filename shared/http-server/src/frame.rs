//! What surrounds every request: an id, a time limit, a net for panics, one line in the log, and the measures.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::error_handling::HandleErrorLayer;
use axum::extract::{Request, State};
use axum::http::HeaderName;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use tower::ServiceBuilder;
use tower::timeout::TimeoutLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tracing::Instrument as _;

use crate::problem::{Problem, ProblemCode};
use crate::registry::{self, Metrics};

/// The header with a request's id, in the request and in the response.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a client, in bytes.
const LONGEST_ID: usize = 64;

/// What surrounds every request of a server. Neither token, nor body, nor query is logged.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Where requests are counted.
    pub metrics: Metrics,
    /// The longest that a request may take until its response begins.
    pub timeout: Duration,
    /// What a request that took longer is answered with.
    pub timed_out: fn(Duration) -> Problem,
    /// What a request whose handler panicked is answered with.
    pub panicked: fn() -> Problem,
}

/// What a handler panicked with, among the extensions of the response.
#[derive(Clone, Debug)]
struct Panic(String);

impl Frame {
    /// The same routes, each answered whatever becomes of its handler.
    pub fn around(self, router: Router) -> Router {
        let Self { metrics, timeout, timed_out, panicked } = self;
        let on_panic = move |panic: Box<dyn Any + Send + 'static>| {
            let mut response = panicked().into_response();
            response.extensions_mut().insert(Panic(words(&*panic)));
            response
        };
        // tower-http's own TimeoutLayer answers with an empty body, and its TraceLayer logs without what the request was.
        router.layer(
            ServiceBuilder::new()
                .map_request(without_unusable_id)
                .layer(SetRequestIdLayer::new(REQUEST_ID, FreshId))
                .layer(PropagateRequestIdLayer::new(REQUEST_ID))
                .layer(from_fn_with_state(metrics, observe))
                .layer(HandleErrorLayer::new(move |_: BoxError| async move { timed_out(timeout) }))
                .layer(TimeoutLayer::new(timeout))
                .layer(CatchPanicLayer::custom(on_panic)),
        )
    }
}

/// Logs and counts a request once it is answered; what its handler logs carries its id too.
async fn observe(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let (method, route) = registry::labels(&request);
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    let id = id.unwrap_or_default().to_owned();

    // A span of this level is there whatever the filter.
    let span = tracing::error_span!("request", request.id = id);
    let response = next.run(request).instrument(span).await;

    let took = begun.elapsed();
    let status = response.status().as_u16();
    metrics.answered(method, &route, status, took);
    if let Some(Panic(why)) = response.extensions().get() {
        tracing::error!(request.id = id, route, why, "a handler panicked");
    }
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let code = response.extensions().get::<ProblemCode>().map(|code| code.0);
    if matches!(route.as_str(), "/healthz" | "/readyz" | "/metrics") && status < 400 {
        // Asked for every few seconds for ever.
        tracing::debug!(method, route, status, ms, request.id = id, "request");
    } else {
        tracing::info!(method, route, status, ms, request.id = id, problem.code = code, "request");
    }
    response
}

fn words(panic: &(dyn Any + Send)) -> String {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}

/// The client's own id stays if it can stand in a log line.
fn without_unusable_id(mut request: Request) -> Request {
    let given = request.headers().get(REQUEST_ID);
    let usable = |text: &str| {
        (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if given.is_some_and(|given| !given.to_str().is_ok_and(usable)) {
        request.headers_mut().remove(REQUEST_ID);
    }
    request
}

#[derive(Clone, Copy, Debug)]
struct FreshId;

impl MakeRequestId for FreshId {
    fn make_request_id<B>(&mut self, _: &axum::http::Request<B>) -> Option<RequestId> {
        let id = uuid::Uuid::now_v7().to_string();
        id.try_into().ok().map(RequestId::new)
    }
}
