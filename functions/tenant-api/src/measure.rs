//! Counts and times, in a registry of this instance's own: several can live in one process. No label says whose it was.

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use metrics::{counter, describe_counter, describe_histogram, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use std::sync::Arc;
use std::time::{Duration, Instant};

const REQUESTS: &str = "tenantry_http_requests_total";
const DURATION: &str = "tenantry_http_request_duration_seconds";
const INITIALIZED: &str = "tenantry_databases_initialized_total";
const MIGRATIONS: &str = "tenantry_migrations_applied_total";
const LICENSES: &str = "tenantry_license_refreshes_total";
const JOBS: &str = "tenantry_jobs_total";

/// From a health check to a call that makes a database.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 600.0];

/// Where it is counted. Cheap to clone.
#[derive(Clone)]
pub struct Measures(Arc<PrometheusRecorder>);

impl std::fmt::Debug for Measures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Measures")
    }
}

impl Default for Measures {
    fn default() -> Self {
        let buckets =
            PrometheusBuilder::new().set_buckets_for_metric(Matcher::Full(DURATION.to_owned()), &BUCKETS);
        // An error only for an empty list of buckets, which this is not.
        let recorder = buckets.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe_counter!(REQUESTS, "Requests answered, by route, method and status.");
            describe_histogram!(DURATION, "Seconds from a request to its answer, by route and method.");
            describe_counter!(INITIALIZED, "Tenants initialised.");
            describe_counter!(MIGRATIONS, "Migrations that were run in tenants' tables.");
            describe_counter!(LICENSES, "Licence refreshes received, by outcome.");
            describe_counter!(JOBS, "Background jobs that are over, by job and outcome.");
            counter!(INITIALIZED).absolute(0);
            counter!(MIGRATIONS).absolute(0);
        });
        Self(Arc::new(recorder))
    }
}

impl Measures {
    /// A tenant's tables are whole, after so many migrations.
    pub(crate) fn initialized(&self, migrations: u64) {
        metrics::with_local_recorder(&*self.0, || {
            counter!(INITIALIZED).increment(1);
            counter!(MIGRATIONS).increment(migrations);
        });
    }

    /// A licence was told, and taken or not.
    pub(crate) fn license(&self, taken: bool) {
        let outcome = if taken { "taken" } else { "refused" };
        metrics::with_local_recorder(&*self.0, || counter!(LICENSES, "outcome" => outcome).increment(1));
    }

    /// A job is over.
    pub(crate) fn job(&self, job: &'static str, outcome: &'static str) {
        metrics::with_local_recorder(&*self.0, || {
            counter!(JOBS, "job" => job, "outcome" => outcome).increment(1);
        });
    }

    /// One answered request. `route` is a pattern, never a path as it was asked for: that would be a new series each time.
    fn answered(&self, method: &'static str, route: String, status: u16, took: Duration) {
        metrics::with_local_recorder(&*self.0, || {
            counter!(REQUESTS, "method" => method, "route" => route.clone(), "status" => status.to_string())
                .increment(1);
            histogram!(DURATION, "method" => method, "route" => route).record(took);
        });
    }

    /// Everything in Prometheus's text format.
    pub fn render(&self) -> String {
        let handle = self.0.handle();
        handle.run_upkeep();
        handle.render()
    }
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(measures): State<Measures>) -> String {
    measures.render()
}

/// Counts a request and the time it took.
pub(crate) async fn around(State(measures): State<Measures>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    measures.answered(method, route, response.status().as_u16(), begun.elapsed());
    response
}

/// The method as a label: one that a caller made up does not make a series of its own.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}
