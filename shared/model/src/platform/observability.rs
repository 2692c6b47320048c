//! Where the tenants' logs and traces go, and for how long they are kept.

use serde::{Deserialize, Serialize};

use super::{Chart, Seconds};

/// Settings of log collection and tracing. Loki and Tempo are the platform's; what is a tenant's carries its id as their
/// tenant (`X-Scope-OrgID`), because history outlives the tenant and its slug is soon somebody else's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Observability {
    /// Loki.
    pub loki: Backend,
    /// Tempo.
    pub tempo: Backend,
    /// The collector's chart.
    pub collector: Chart,
    /// The collector's image.
    pub collector_image: String,
    /// Where the control plane reaches a tenant's collector by OTLP over HTTP, with `{namespace}` for the tenant's namespace:
    /// its Service, or what leads there where the control plane runs outside the tenants' cluster.
    pub collector_url: String,
    /// Hours that logs are kept. Those of a tenant that is gone are kept for as long as Loki's own default says, which
    /// should be the same: the tenant's overrides go with its namespace.
    pub logs_kept: u32,
    /// Hours that traces are kept; of a tenant that is gone as with the logs, by Tempo's own default.
    pub traces_kept: u32,
    /// Seconds that the collector may take to become ready, and then a marked log line and span to arrive.
    pub ready_within: Seconds,
}

/// What stands for the tenant's namespace in `collector_url`.
const NAMESPACE: &str = "{namespace}";

/// A Service of the platform that takes telemetry in and answers for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backend {
    /// Its namespace, for the network policies too.
    pub namespace: String,
    /// The Service that takes in OTLP over HTTP.
    pub ingest_service: String,
    /// Its TCP port, which the pods behind it listen on too.
    pub ingest_port: u16,
    /// Before OTLP's own path.
    pub ingest_path: String,
    /// The Service that is asked.
    pub query_service: String,
    /// Its TCP port, which the pods behind it listen on too.
    pub query_port: u16,
    /// Where the control plane asks it, when it does not reach the Service; empty: at the Service.
    pub control_plane_url: String,
}

/// What is kept of a tenant that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// Where, such as `Loki`.
    pub system: String,
    /// What selects it there.
    pub selector: String,
    /// For how many hours after its writing.
    pub hours: u32,
}

impl Backend {
    /// Where OTLP over HTTP is sent to.
    pub fn ingest_url(&self) -> String {
        format!("{}{}", url(&self.ingest_service, &self.namespace, self.ingest_port), self.ingest_path)
    }

    /// Where the control plane asks it.
    pub fn asked_at(&self) -> String {
        match self.control_plane_url.trim_end_matches('/') {
            "" => self.query_url(),
            url => url.to_owned(),
        }
    }

    /// Where pods ask it.
    pub fn query_url(&self) -> String {
        url(&self.query_service, &self.namespace, self.query_port)
    }
}

fn url(service: &str, namespace: &str, port: u16) -> String {
    format!("http://{service}.{namespace}.svc:{port}")
}

impl Observability {
    /// Where the control plane reaches the collector of the tenant in this namespace.
    pub fn collector_of(&self, namespace: &str) -> String {
        self.collector_url.trim_end_matches('/').replace(NAMESPACE, namespace)
    }

    pub(super) fn check(&self) -> Result<(), (String, String)> {
        if self.collector_url.contains(NAMESPACE) {
            return Ok(());
        }
        let why = format!("must have {NAMESPACE} in it, or all tenants would have the same collector");
        Err(("collector_url".into(), why))
    }
}

impl Default for Backend {
    fn default() -> Self {
        Self {
            namespace: "monitoring".into(),
            ingest_service: String::new(),
            ingest_port: 80,
            ingest_path: String::new(),
            query_service: String::new(),
            query_port: 80,
            control_plane_url: String::new(),
        }
    }
}

impl Default for Observability {
    fn default() -> Self {
        let backend = |name: &str, ingest_port, ingest_path: &str, query_port| Backend {
            ingest_service: name.into(),
            ingest_port,
            ingest_path: ingest_path.into(),
            query_service: name.into(),
            query_port,
            ..Backend::default()
        };
        Self {
            loki: backend("loki", 3100, "/otlp", 3100),
            tempo: backend("tempo", 4318, "", 3200),
            collector: Chart {
                repository_url: String::new(),
                name: "opentelemetry-collector".into(),
                version: "0.1.0".into(),
            },
            collector_image: "otel/opentelemetry-collector-contrib".into(),
            collector_url: "http://otel-collector.{namespace}.svc:4318".into(),
            logs_kept: 31 * 24,
            traces_kept: 14 * 24,
            ready_within: Seconds(600.0),
        }
    }
}
