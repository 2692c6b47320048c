//! The internal calls about databases: parsed, done, logged and answered alike.

use crate::app::App;
use crate::measure::Measures;
use crate::problem::{self, Problem};
use crate::request::{self, RequestBody};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::TenantId;
use serde::Serialize;
use std::future::Future;
use std::time::Instant;

/// A call: what is asked for, and the doing of it.
pub trait Operation: RequestBody + Send + Sync + 'static {
    /// For the log.
    const NAME: &'static str;
    type Answer: Serialize + Send;
    /// Does it. May be called again after any failure, and at once with itself. Dropping the future closes its
    /// connections, which ends its locks.
    fn perform(&self, here: &App) -> impl Future<Output = Result<Self::Answer, Problem>> + Send;
    /// Counts what was done.
    fn count(_: &Self::Answer, _: &Measures) {}
}

/// One internal call: parse, do, log how it went, answer.
pub(crate) async fn call<O: Operation>(
    State(here): State<App>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let parsed = body
        .map_err(|rejection| problem::invalid("", rejection.body_text()))
        .and_then(|body| request::parse::<O>(&body));
    let asked = match parsed {
        Ok(asked) => asked,
        Err(problem) => {
            tracing::warn!(operation = O::NAME, problem.detail = problem.detail(), "refused");
            return problem.into_response();
        }
    };
    let begun = Instant::now();
    let outcome = match here.tables.serves(TenantId(asked.tenant())) {
        Ok(()) => asked.perform(&here).await.map_err(|problem| problem.without(&asked.secrets())),
        Err(problem) => Err(problem),
    };
    let elapsed = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (tenant, run) = (asked.tenant(), asked.run().map(tracing::field::display));
    match outcome {
        Ok(answer) => {
            O::count(&answer, &here.measures);
            tracing::info!(operation = O::NAME, tenant.id = %tenant, run.id = run, duration.ms = elapsed, "done");
            (StatusCode::OK, Json(answer)).into_response()
        }
        Err(problem) => {
            let (code, detail) = (problem.code(), problem.detail());
            tracing::warn!(
                operation = O::NAME,
                tenant.id = %tenant,
                run.id = run,
                duration.ms = elapsed,
                problem.code = code,
                problem.detail = detail,
                "failed"
            );
            problem.into_response()
        }
    }
}
