//! The operators' verbs, and `DELETE`.

use axum::extract::State;
use axum::response::Response;
use engine::decide::verbs::{Request, Verb};
use engine::store::{OperateError, VerbRequest};
use model::TenantId;
use model::platform::Seconds;
use tenants::VerbOutcome;

use crate::extract::{Actor, JsonObject, TenantPath};
use crate::fields::Fields;
use crate::params::{Params, RawQuery};
use crate::problem::{self, Failure};
use crate::state::App;
use crate::tenants::view::{accepted, location};

/// The longest reason, in characters.
const REASON: usize = 500;

/// `POST /api/v1/tenants/{id}/provisioning/<verb>`. A second call with the same `seq` is refused: the first one's
/// transition has moved it, or its request is still recorded.
pub async fn ask(
    verb: Verb,
    State(app): State<App>,
    actor: Actor,
    TenantPath(tenant): TenantPath,
    JsonObject(object): JsonObject,
) -> Result<Response, Failure> {
    let mut fields = Fields::new(object, "");
    let seq = fields.integer("seq");
    let seq = fields.required("seq", seq);
    let reason = fields.short_text("reason", REASON);
    let reason = if verb.needs_reason() { fields.required("reason", reason) } else { reason };
    let force = fields.boolean("force").unwrap_or(false);
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(problem::wrong_fields(errors).into());
    }
    let request = Request { verb, actor: actor.0.to_string(), reason };
    operate(&app, tenant, VerbRequest { request, seq, force }, Seconds::default()).await
}

/// `DELETE /api/v1/tenants/{id}`: takes the tenant out; one that was in use is suspended, and taken out when the platform's
/// retention is over, or at once with `immediately=true`. While that is under way a second call is answered as the first.
pub async fn delete(
    State(app): State<App>,
    actor: Actor,
    TenantPath(tenant): TenantPath,
    query: RawQuery,
) -> Result<Response, Failure> {
    let mut params = Params::new(query)?;
    let seq = params.parsed("seq", "a whole number");
    let reason = params.text("reason").map(|reason| reason.trim().to_owned());
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON) {
        params.error("reason", "too_long", format!("must have at most {REASON} characters"));
    }
    let immediately = params.parsed::<bool>("immediately", "true or false").unwrap_or(false);
    params.finish()?;
    let retention = if immediately { Seconds::default() } else { app.platform.lifecycle.retention };
    let reason = reason.filter(|reason| !reason.is_empty());
    let request = Request { verb: Verb::Delete, actor: actor.0.to_string(), reason };
    operate(&app, tenant, VerbRequest { request, seq, force: false }, retention).await
}

async fn operate(
    app: &App,
    tenant: TenantId,
    asked: VerbRequest,
    retention: Seconds,
) -> Result<Response, Failure> {
    let verb = asked.request.verb;
    let done = app.store.operate(tenant, &asked, retention, &app.platform.engine).await;
    let operated = done.map_err(|error| refusal(error, tenant))?;
    let VerbOutcome { run_id, seq, pending, .. } = operated;
    tracing::info!(tenant.id = %tenant, run.id = %run_id, seq, %verb, pending, actor = asked.request.actor, "asked");
    app.announce().await;
    Ok(accepted(tenant, &operated))
}

fn refusal(error: OperateError, tenant: TenantId) -> Failure {
    let why = error.to_string();
    let problem = match error {
        OperateError::Unknown => problem::no_tenant(&tenant.to_string()),
        OperateError::Invalid { .. } => {
            problem::invalid_transition(why).naming("tenant", &location(tenant.0))
        }
        OperateError::Stale { current, .. } => problem::stale_seq(why).with("currentSeq", current),
        OperateError::Pending(pending) => problem::request_pending(why).with("pending", pending.as_str()),
        OperateError::NotSkippable(_) => problem::not_skippable(why),
        OperateError::NeedsForce(_) => problem::needs_force(why),
        OperateError::Store(error) => return error.into(),
    };
    problem.into()
}
