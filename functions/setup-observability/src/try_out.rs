//! Trying the pipeline out: in through the tenant's collector, out of Loki and Tempo.

use std::fmt::Display;
use std::time::{Duration, Instant};

use engine::phase::{Error, Progress, Result};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::Plan;
use crate::config::TENANT_HEADER;
use crate::marks::{Marks, stamped};

/// Longest wait for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long one attempt looks for what it sent before the run is parked.
const LOOK_FOR: Duration = Duration::from_secs(10);
/// Between two looks: neither system can be watched.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Sends a marked log line and a span through the tenant's collector, and reads them back. Done with what was seen.
pub(crate) async fn try_out(plan: &Plan) -> Result<Progress<Value>> {
    let marks = Marks::fresh()?;
    send(&plan.collector_url, "logs", &marks.logs()).await?;
    send(&plan.collector_url, "traces", &marks.traces()).await?;
    let (loki, tempo) = (plan.loki.asked_at(), plan.tempo.asked_at());
    let began = Instant::now();
    loop {
        let (line, span) = (has_line(plan, &loki, &marks).await?, has_span(plan, &tempo, &marks).await?);
        if line && span {
            return Ok(Progress::Done(json!({
                "logLine": { "mark": marks.word, "readBackFrom": loki },
                "span": { "traceId": marks.trace_id, "readBackFrom": tempo },
            })));
        }
        if began.elapsed() > LOOK_FOR {
            let what = if line { "span in Tempo" } else { "log line in Loki" };
            return Ok(Progress::wait(Duration::from_secs(1), format!("the marked {what} is not found yet")));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Hands telemetry to a collector by OTLP over HTTP.
async fn send(collector: &str, signal: &str, content: &Value) -> Result<()> {
    let url = format!("{collector}/v1/{signal}");
    let answer =
        client()?.post(&url).json(content).send().await.map_err(|error| unconnected(&url, &error))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    Err(Error::retryable("collector_refused", format!("POST {url}: {status}"))
        .next("Look at the collector's log for why it refuses what it is sent."))
}

/// Loki, asked by the label that the log collection sets.
async fn has_line(plan: &Plan, loki: &str, marks: &Marks) -> Result<bool> {
    let url = format!("{loki}/loki/api/v1/query_range");
    let query = format!("{{namespace=\"{}\"}} |= \"{}\"", plan.namespace, marks.word);
    let request = client()?.get(&url).query(&[("query", query.as_str()), ("limit", "1")]);
    let found = asked(plan, "loki", &url, request).await?;
    Ok(found.is_some_and(|found| found["data"]["result"].as_array().is_some_and(|all| !all.is_empty())))
}

/// Tempo, asked by the trace's id. A span that is there says whose it is.
async fn has_span(plan: &Plan, tempo: &str, marks: &Marks) -> Result<bool> {
    let url = format!("{tempo}/api/traces/{}", marks.trace_id);
    let Some(found) = asked(plan, "tempo", &url, client()?.get(&url)).await? else { return Ok(false) };
    for part in found["batches"].as_array().into_iter().flatten() {
        stamped(plan, "span", &part["resource"]["attributes"])?;
    }
    Ok(true)
}

/// None when there is no such thing. Both systems are shared by all tenants: one that is away or has too much to do is
/// waited for and charged to nobody.
async fn asked(
    plan: &Plan,
    system: &'static str,
    url: &str,
    request: reqwest::RequestBuilder,
) -> Result<Option<Value>> {
    let away = |why: &dyn Display| {
        Error::unavailable(system, "query_unavailable", format!("GET {url}: {why}")).next(format!(
            "Bring {system} back, or let the control plane through to it; the run then continues on its own."
        ))
    };
    let request =
        request.header(TENANT_HEADER, plan.tenant_id.to_string()).header("Accept", "application/json");
    let answer = request.send().await.map_err(|error| away(&error))?;
    let status = answer.status();
    if status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        return Err(away(&status));
    }
    let refused = |why: &dyn Display| {
        Error::retryable("query_refused", format!("GET {url}: {why}"))
            .next("Look at the log of the system that refuses.")
    };
    if !status.is_success() {
        return Err(refused(&status));
    }
    let content = answer.bytes().await.map_err(|error| away(&error))?;
    serde_json::from_slice(&content).map(Some).map_err(|error| refused(&error))
}

fn client() -> Result<Client> {
    Client::builder().timeout(ANSWER_WITHIN).no_proxy().build().map_err(|error| {
        Error::retryable("http_client", error.to_string()).next("Report this fault in the phase's code.")
    })
}

fn unconnected(url: &str, error: &reqwest::Error) -> Error {
    Error::retryable("not_connected", format!("{url}: {error}"))
        .next("Look whether the Service has pods and the network policies let the control plane through.")
}

#[cfg(test)]
#[path = "try_out_tests.rs"]
mod tests;
