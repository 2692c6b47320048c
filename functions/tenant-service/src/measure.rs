//! Counts and times of requests, in a registry of this app's own: several can live in one process.

use std::sync::Arc;
use std::time::Duration;

use engine::store::Backlog;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use model::TenantStatus;

const REQUESTS: &str = "tenantry_http_requests_total";
const DURATION: &str = "tenantry_http_request_duration_seconds";
const TENANTS: &str = "tenantry_tenants";
const WAITING: &str = "tenantry_outbox_waiting";
const SET_ASIDE: &str = "tenantry_outbox_set_aside";
const OLDEST: &str = "tenantry_outbox_oldest_seconds";

/// From a cached read to a request that is given up.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Where requests are counted.
#[derive(Clone)]
pub struct Measures(Arc<PrometheusRecorder>);

impl std::fmt::Debug for Measures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Measures")
    }
}

impl Measures {
    /// An empty registry.
    pub fn new() -> Result<Self, String> {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(DURATION.to_owned()), &BUCKETS)
            .map_err(|error| error.to_string())?;
        let recorder = builder.build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe_counter!(REQUESTS, "Requests answered, by route, method and status.");
            describe_histogram!(DURATION, "Seconds from a request to its answer, by route and method.");
            describe_gauge!(TENANTS, "Tenants by status.");
            describe_gauge!(WAITING, "Events and letters not yet delivered, by sink.");
            describe_gauge!(SET_ASIDE, "Letters that were refused too often, by sink.");
            describe_gauge!(OLDEST, "Age of the oldest one that waits, in seconds, by sink.");
        });
        Ok(Self(Arc::new(recorder)))
    }

    /// One answered request. `route` is a pattern, never a path as it was asked for: that would be a new series each time.
    pub fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let route = route.to_owned();
        metrics::with_local_recorder(&*self.0, || {
            counter!(REQUESTS, "method" => method, "route" => route.clone(), "status" => status.to_string())
                .increment(1);
            histogram!(DURATION, "method" => method, "route" => route).record(took);
        });
    }

    /// How many tenants have each status; a status that nobody has counts 0.
    pub fn tenants(&self, counts: &[(String, i64)]) {
        metrics::with_local_recorder(&*self.0, || {
            for status in TenantStatus::NAMES {
                let count = counts.iter().find(|(name, _)| name == status).map_or(0, |(_, count)| *count);
                #[expect(clippy::cast_precision_loss, reason = "a count of tenants stays far under 2^52")]
                gauge!(TENANTS, "status" => *status).set(count as f64);
            }
        });
    }

    /// What the relay has yet to deliver.
    pub fn outbox(&self, backlog: &[Backlog]) {
        metrics::with_local_recorder(&*self.0, || {
            for at in backlog {
                #[expect(clippy::cast_precision_loss, reason = "a count of rows stays far under 2^52")]
                let (waiting, set_aside) = (at.waiting as f64, at.set_aside as f64);
                gauge!(WAITING, "sink" => at.sink.clone()).set(waiting);
                gauge!(SET_ASIDE, "sink" => at.sink.clone()).set(set_aside);
                gauge!(OLDEST, "sink" => at.sink.clone()).set(at.oldest_seconds);
            }
        });
    }

    /// Everything in Prometheus's text format.
    pub fn render(&self) -> String {
        let handle = self.0.handle();
        handle.run_upkeep();
        handle.render()
    }
}
