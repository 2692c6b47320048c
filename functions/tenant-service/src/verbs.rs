//! The operators' verbs, and `DELETE`.

use axum::extract::State;
use axum::response::Response;
use engine::decide::verbs::{Request, Verb};
use engine::store::{OperateError, VerbRequest};
use model::TenantId;
use model::platform::Seconds;
use serde::Deserialize;
use tenants::VerbOutcome;
use utoipa::{IntoParams, ToSchema};

use crate::extract::{Actor, Body, FromFields, TenantPath};
use crate::fields::Fields;
use crate::openapi::{Authenticated, Conflicting, Missing, Parameterised, WithBody};
use crate::params::{Params, RawQuery};
use crate::problem::{self, Failure};
use crate::state::App;
use crate::tenants::view::{Accepted, accepted, location};

/// The longest reason, in characters.
const REASON: usize = 500;

/// What a verb's body says
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Verb)]
pub struct Decision {
    /// The run's seq that this was decided on, from the status.
    seq: i64,
    #[schema(min_length = 1, max_length = 500, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    reason: Option<String>,
    /// For skip: the undo that guards another was done by hand.
    force: Option<bool>,
}

/// What the body of a verb that is accounted for says
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReasonedVerb)]
pub struct ReasonedDecision {
    /// The run's seq that this was decided on, from the status.
    seq: i64,
    #[schema(min_length = 1, max_length = 500, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    reason: String,
    /// For skip: the undo that guards another was done by hand.
    force: Option<bool>,
}

impl FromFields for Decision {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let seq = fields.integer("seq");
        let seq = fields.required("seq", seq);
        let reason = fields.short_text("reason", REASON);
        let force = fields.boolean("force");
        Some(Self { seq: seq?, reason, force })
    }
}

impl FromFields for ReasonedDecision {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let seq = fields.integer("seq");
        let seq = fields.required("seq", seq);
        let reason = fields.short_text("reason", REASON);
        let reason = fields.required("reason", reason);
        let force = fields.boolean("force");
        Some(Self { seq: seq?, reason: reason?, force })
    }
}

impl From<ReasonedDecision> for Decision {
    fn from(ReasonedDecision { seq, reason, force }: ReasonedDecision) -> Self {
        Self { seq, reason: Some(reason), force }
    }
}

/// The handlers of `POST /api/v1/tenants/{id}/provisioning/<verb>`. A second call with the same `seq` is refused: the first
/// one's transition has moved it, or its request is still recorded.
macro_rules! verbs {
    ($($(#[$doc:meta])* $name:ident $verb:ident $body:ident $path:literal $id:literal;)*) => {$(
        $(#[$doc])*
        #[utoipa::path(
            post, path = $path, operation_id = $id, tag = "provisioning", params(TenantPath), request_body = $body,
            responses(
                (status = 202, description = "Accepted.", body = Accepted),
                Authenticated, Missing, Conflicting, WithBody
            ),
        )]
        pub async fn $name(
            State(app): State<App>,
            actor: Actor,
            TenantPath(tenant): TenantPath,
            Body(decision): Body<$body>,
        ) -> Result<Response, Failure> {
            ask(Verb::$verb, &app, &actor, tenant, decision.into()).await
        }
    )*};
}

verbs! {
    /// Try again now, with a fresh budget; a FAILED tenant gets a new run
    retry Retry Decision "/api/v1/tenants/{id}/provisioning/retry" "retryProvisioning";
    /// Undo what a provisioning run has made
    rollback Rollback Decision "/api/v1/tenants/{id}/provisioning/rollback" "rollbackProvisioning";
    /// Stop before the next step
    pause Pause Decision "/api/v1/tenants/{id}/provisioning/pause" "pauseProvisioning";
    /// Go on after a pause
    resume Resume Decision "/api/v1/tenants/{id}/provisioning/resume" "resumeProvisioning";
    /// Go on without this phase, or without its stuck undo
    skip Skip ReasonedDecision "/api/v1/tenants/{id}/provisioning/skip" "skipProvisioning";
    /// End the run and list what is left
    abandon Abandon ReasonedDecision "/api/v1/tenants/{id}/provisioning/abandon" "abandonProvisioning";
}

async fn ask(
    verb: Verb,
    app: &App,
    actor: &Actor,
    tenant: TenantId,
    decision: Decision,
) -> Result<Response, Failure> {
    let Decision { seq, reason, force } = decision;
    let request = Request { verb, actor: actor.0.to_string(), reason };
    let asked = VerbRequest { request, seq: Some(seq), force: force.unwrap_or(false) };
    operate(app, tenant, asked, Seconds::default()).await
}

/// What a deletion is asked with.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
struct DeletionQuery {
    /// The run's seq that this was decided on.
    #[param(value_type = i64, required = false)]
    seq: Option<i64>,
    /// For the audit log.
    #[param(value_type = String, required = false, max_length = 500, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    reason: Option<String>,
    /// Without the retention. The data is gone then.
    #[param(required = false, default = false)]
    immediately: bool,
}

impl DeletionQuery {
    fn read(query: RawQuery) -> Result<Self, Failure> {
        let mut params = Params::new(query)?;
        let seq = params.parsed("seq", "a whole number");
        let reason = params.text("reason").map(|reason| reason.trim().to_owned());
        if reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON) {
            params.error("reason", "too_long", format!("must have at most {REASON} characters"));
        }
        let immediately = params.parsed::<bool>("immediately", "true or false").unwrap_or(false);
        params.finish()?;
        Ok(Self { seq, reason: reason.filter(|reason| !reason.is_empty()), immediately })
    }
}

/// Take a tenant out
///
/// Starts its deprovisioning, or lets a provisioning under way roll back first. A tenant in use is suspended, and taken out when
/// the platform's retention is over (`deleteAt`); resuming it takes that back. While that is under way a second call is answered
/// as the first.
#[utoipa::path(
    delete, path = "/api/v1/tenants/{id}", operation_id = "deleteTenant", tag = "tenants", params(TenantPath, DeletionQuery),
    responses(
        (status = 202, description = "Accepted.", body = Accepted), Authenticated, Missing, Conflicting, Parameterised
    ),
)]
pub async fn delete(
    State(app): State<App>,
    actor: Actor,
    TenantPath(tenant): TenantPath,
    query: RawQuery,
) -> Result<Response, Failure> {
    let DeletionQuery { seq, reason, immediately } = DeletionQuery::read(query)?;
    let retention = if immediately { Seconds::default() } else { app.platform.lifecycle.retention };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi;

    #[test]
    fn a_verb_that_gives_something_up_must_say_why() {
        let document = serde_json::to_value(openapi::document()).unwrap();
        for verb in Verb::ALL.into_iter().filter(|verb| *verb != Verb::Delete) {
            let path = format!("/api/v1/tenants/{{id}}/provisioning/{verb}");
            let body =
                &document["paths"][&path]["post"]["requestBody"]["content"]["application/json"]["schema"];
            let reasoned = body["$ref"] == "#/components/schemas/ReasonedVerb";
            assert_eq!(reasoned, verb.needs_reason(), "{path}");
        }
    }
}
