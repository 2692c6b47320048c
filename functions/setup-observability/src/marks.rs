//! What is sent through the tenant's collector to see where it comes out: a log line and a span that nobody else sends.

use engine::phase::{Error, Result};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde_json::{Value, json};

use crate::Plan;

/// One attempt's.
#[derive(Debug)]
pub(crate) struct Marks {
    /// In the log line.
    pub(crate) word: String,
    /// Of the span, as OTLP's JSON and Tempo have it.
    pub(crate) trace_id: String,
    span_id: String,
}

impl Marks {
    pub(crate) fn fresh() -> Result<Self> {
        let mut bytes = [0_u8; 24];
        OsRng.try_fill_bytes(&mut bytes).map_err(|error| {
            Error::retryable("no_randomness", error.to_string())
                .next("Retry; the machine gave no random bytes.")
        })?;
        let text = hex::encode(bytes);
        Ok(Self {
            word: format!("tenantry-{}", &text[..24]),
            trace_id: text[..32].to_owned(),
            span_id: text[32..].to_owned(),
        })
    }

    /// The log line.
    fn line(&self) -> String {
        format!("the log pipeline is tried out: {}", self.word)
    }

    /// The log line by OTLP.
    pub(crate) fn logs(&self) -> Value {
        json!({ "resourceLogs": [{ "resource": { "attributes": sender() }, "scopeLogs": [{ "logRecords": [{
            "timeUnixNano": now(), "severityText": "INFO", "body": { "stringValue": self.line() },
        }]}]}]})
    }

    /// The span by OTLP.
    pub(crate) fn traces(&self) -> Value {
        let now = now();
        json!({ "resourceSpans": [{ "resource": { "attributes": sender() }, "scopeSpans": [{ "spans": [{
            "traceId": self.trace_id, "spanId": self.span_id, "name": "the trace pipeline is tried out", "kind": 1,
            "startTimeUnixNano": now, "endTimeUnixNano": now,
        }]}]}]})
    }
}

/// Everything that arrives must say whose it is.
pub(crate) fn stamped(plan: &Plan, what: &str, attributes: &Value) -> Result<()> {
    let tenant_id = plan.tenant_id.to_string();
    for (key, wanted) in [
        ("tenant_id", plan.slug.as_str()),
        ("tenant_uuid", &tenant_id),
        ("namespace", plan.namespace.as_str()),
    ] {
        let all = attributes.as_array().map(Vec::as_slice).unwrap_or_default();
        let found = all.iter().find(|attribute| attribute["key"] == key);
        let found = found.and_then(|attribute| attribute["value"]["stringValue"].as_str());
        if found != Some(wanted) {
            return Err(Error::retryable(
                "not_stamped",
                format!("the {what} arrived with {key}={}, not {wanted}", found.unwrap_or("nothing")),
            )
            .next(
                "Check the collector's configuration in its ConfigMap: it may have been changed by hand.",
            ));
        }
    }
    Ok(())
}

/// A sender who claims to be somebody else: the stamp must win.
fn sender() -> Value {
    json!([
        { "key": "service.name", "value": { "stringValue": "tenantry" } },
        { "key": "tenant_id", "value": { "stringValue": "unknown" } },
    ])
}

fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().to_string()
}
