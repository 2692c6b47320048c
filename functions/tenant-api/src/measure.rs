//! What this instance measures, beside its requests. No label says whose it was.

use axum::extract::State;
use http_server::Metrics;
use metrics::{counter, describe_counter};

const INITIALIZED: &str = "tenantry_databases_initialized_total";
const MIGRATIONS: &str = "tenantry_migrations_applied_total";
const LICENSES: &str = "tenantry_license_refreshes_total";
const JOBS: &str = "tenantry_jobs_total";

/// Seconds, from a health check to a call that makes a database.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 600.0];

/// Where it is counted. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Measures(pub(crate) Metrics);

impl Default for Measures {
    fn default() -> Self {
        let metrics = Metrics::of_requests(&BUCKETS);
        metrics.record(|| {
            describe_counter!(INITIALIZED, "Tenants initialised.");
            describe_counter!(MIGRATIONS, "Migrations that were run in tenants' tables.");
            describe_counter!(LICENSES, "Licence refreshes received, by outcome.");
            describe_counter!(JOBS, "Background jobs that are over, by job and outcome.");
            counter!(INITIALIZED).absolute(0);
            counter!(MIGRATIONS).absolute(0);
        });
        Self(metrics)
    }
}

impl Measures {
    /// A tenant's tables are whole, after so many migrations.
    pub(crate) fn initialized(&self, migrations: u64) {
        self.0.record(|| {
            counter!(INITIALIZED).increment(1);
            counter!(MIGRATIONS).increment(migrations);
        });
    }

    /// A licence was told, and taken or not.
    pub(crate) fn license(&self, taken: bool) {
        let outcome = if taken { "taken" } else { "refused" };
        self.0.record(|| counter!(LICENSES, "outcome" => outcome).increment(1));
    }

    /// In the text format that Prometheus reads.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// A job is over.
    pub(crate) fn job(&self, job: &'static str, outcome: &'static str) {
        self.0.record(|| {
            counter!(JOBS, "job" => job, "outcome" => outcome).increment(1);
        });
    }
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(measures): State<Measures>) -> Metrics {
    measures.0
}
