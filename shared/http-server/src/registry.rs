//! Counts and times, in a registry of a server's own: several servers can live in one process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::{counter, describe_counter, describe_histogram, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

const REQUESTS: &str = "tenantry_http_requests_total";
const DURATION: &str = "tenantry_http_request_duration_seconds";

/// The route of a request that no route matches.
const UNMATCHED: &str = "unmatched";

/// A registry. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Metrics(Arc<PrometheusRecorder>);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    /// An empty registry.
    fn default() -> Self {
        Self(Arc::new(PrometheusBuilder::new().build_recorder()))
    }
}

impl Metrics {
    /// A registry that counts requests too, with these bounds of the times they take, in seconds.
    pub fn of_requests(buckets: &[f64]) -> Self {
        let bounded =
            PrometheusBuilder::new().set_buckets_for_metric(Matcher::Full(DURATION.to_owned()), buckets);
        // An error only for an empty list of buckets: times are then shown as quantiles.
        let metrics = Self(Arc::new(bounded.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder()));
        metrics.record(|| {
            describe_counter!(REQUESTS, "Requests answered, by route, method and status.");
            describe_histogram!(DURATION, "Seconds from a request to its answer, by route and method.");
        });
        metrics
    }

    /// Runs `record`, whose `counter!`, `gauge!`, `histogram!` and `describe_…!` go to this registry.
    pub fn record<T>(&self, record: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&*self.0, record)
    }

    /// Everything in Prometheus's text format.
    pub fn render(&self) -> String {
        let handle = self.0.handle();
        handle.run_upkeep();
        handle.render()
    }

    /// One answered request. `route` is a pattern, never a path as it was asked for: that would be a new series each time.
    pub(crate) fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let route = route.to_owned();
        self.record(|| {
            counter!(REQUESTS, "method" => method, "route" => route.clone(), "status" => status.to_string())
                .increment(1);
            histogram!(DURATION, "method" => method, "route" => route).record(took);
        });
    }

    /// Middleware that counts each request and the time it takes.
    pub async fn count(State(metrics): State<Self>, request: Request, next: Next) -> Response {
        let begun = Instant::now();
        let (method, route) = labels(&request);
        let response = next.run(request).await;
        metrics.answered(method, &route, response.status().as_u16(), begun.elapsed());
        response
    }
}

/// `GET /metrics`: what the registry holds now.
impl IntoResponse for Metrics {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], self.render()).into_response()
    }
}

/// The method and route of a request as labels, from closed lists: what a client made up does not make a series of its own.
pub(crate) fn labels(request: &Request) -> (&'static str, String) {
    let route = request.extensions().get::<MatchedPath>().map_or(UNMATCHED, MatchedPath::as_str).to_owned();
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    };
    (method, route)
}
