//! What this service measures, beside its requests.

use engine::store::Backlog;
use http_server::Metrics;
use metrics::{describe_gauge, gauge};
use model::TenantStatus;

const TENANTS: &str = "tenantry_tenants";
const WAITING: &str = "tenantry_outbox_waiting";
const SET_ASIDE: &str = "tenantry_outbox_set_aside";
const OLDEST: &str = "tenantry_outbox_oldest_seconds";

/// Seconds, from a cached read to a request that is given up.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Where it is counted. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Measures(pub Metrics);

impl Default for Measures {
    fn default() -> Self {
        let metrics = Metrics::of_requests(&BUCKETS);
        metrics.record(|| {
            describe_gauge!(TENANTS, "Tenants by status.");
            describe_gauge!(WAITING, "Events and letters not yet delivered, by sink.");
            describe_gauge!(SET_ASIDE, "Letters that were refused too often, by sink.");
            describe_gauge!(OLDEST, "Age of the oldest one that waits, in seconds, by sink.");
        });
        Self(metrics)
    }
}

impl Measures {
    /// How many tenants have each status; a status that nobody has counts 0.
    pub fn tenants(&self, counts: &[(String, i64)]) {
        self.0.record(|| {
            for status in TenantStatus::NAMES {
                let count = counts.iter().find(|(name, _)| name == status).map_or(0, |(_, count)| *count);
                #[expect(clippy::cast_precision_loss, reason = "a count of tenants stays far under 2^52")]
                gauge!(TENANTS, "status" => *status).set(count as f64);
            }
        });
    }

    /// What the relay has yet to deliver.
    pub fn outbox(&self, backlog: &[Backlog]) {
        self.0.record(|| {
            for at in backlog {
                #[expect(clippy::cast_precision_loss, reason = "a count of rows stays far under 2^52")]
                let (waiting, set_aside) = (at.waiting as f64, at.set_aside as f64);
                gauge!(WAITING, "sink" => at.sink.clone()).set(waiting);
                gauge!(SET_ASIDE, "sink" => at.sink.clone()).set(set_aside);
                gauge!(OLDEST, "sink" => at.sink.clone()).set(at.oldest_seconds);
            }
        });
    }
}
