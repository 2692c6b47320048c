//! Changes of a tenant that lives: another tier, suspended, resumed.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use engine::store::StoreError;
use model::platform::Platform;
use model::{Change, DeploymentType, TenantId, TenantStatus, Tier, UnknownName};
use tenants::deployment::{Characteristics, determine_deployment_type};
use tenants::{ChangeError, Changing, TenantRow, VerbOutcome};

use crate::extract::{Actor, JsonObject, TenantPath};
use crate::fields::Fields;
use crate::problem::{self, Failure};
use crate::state::App;
use crate::tenants::view::{TenantView, accepted, location};

/// `PATCH /api/v1/tenants/{id}`: another tier. Answers with the run that makes it, a second call with the same run, and
/// with the tenant once it is so.
pub async fn change(
    State(app): State<App>,
    actor: Actor,
    TenantPath(tenant): TenantPath,
    JsonObject(object): JsonObject,
) -> Result<Response, Failure> {
    let mut fields = Fields::new(object, "");
    let tier = fields.one_of::<Tier>("tier");
    let tier = fields.required("tier", tier);
    let errors = fields.finish();
    let Some(tier) = tier.filter(|_| errors.is_empty()) else {
        return Err(problem::wrong_fields(errors).into());
    };
    let row = app.store.tenant(tenant).await?.ok_or_else(|| problem::no_tenant(&tenant.to_string()))?;
    let reason = keeps_its_deployment(&row, tier, &*app.regions.knowing(&row.region).await?)?;
    begin(
        &app,
        tenant,
        Change { tier: Some(tier), deployment_reason: Some(reason), ..Change::default() },
        &actor,
    )
    .await
}

/// `POST /api/v1/tenants/{id}/suspend` and `…/resume`: nothing of it runs and its licence is refused, or the other way
/// round. Repeated, answered as [`change`].
pub async fn become_so(
    status: TenantStatus,
    State(app): State<App>,
    actor: Actor,
    TenantPath(tenant): TenantPath,
) -> Result<Response, Failure> {
    begin(&app, tenant, Change { status: Some(status), ..Change::default() }, &actor).await
}

/// Begins a change and answers with its run, or with the tenant that is so already.
pub async fn begin(app: &App, tenant: TenantId, change: Change, actor: &Actor) -> Result<Response, Failure> {
    let begun = app.store.change(tenant, &change, &actor.0).await;
    let (run_id, seq) = match begun.map_err(|error| refusal(error, tenant))? {
        Changing::Run { id, seq } => (id, seq),
        Changing::Already => {
            let row =
                app.store.tenant(tenant).await?.ok_or_else(|| problem::no_tenant(&tenant.to_string()))?;
            return Ok(Json(TenantView::from(&row)).into_response());
        }
    };
    tracing::info!(tenant.id = %tenant, run.id = %run_id, seq, ?change, actor = &*actor.0, "change asked");
    app.announce().await;
    Ok(accepted(tenant, &VerbOutcome { run_id, seq, pending: false, delete_at: None }))
}

/// Why the tenant's deployment is still the right one in another tier. Fails where it is not: a tenant is not moved.
fn keeps_its_deployment(row: &TenantRow, tier: Tier, platform: &Platform) -> Result<String, Failure> {
    let unknown = |name: UnknownName| StoreError::Unreadable { what: name.to_string() };
    let current: DeploymentType = row.deployment_strategy.parse().map_err(unknown)?;
    let from: Tier = row.tier.parse().map_err(unknown)?;
    if tier == from {
        return Ok(row.deployment_reason.clone());
    }
    let moves = |why: String| {
        Failure::from(problem::deployment_would_change(format!("from {from} to {tier}: {why}")))
    };
    if Tier::Enterprise == tier || Tier::Enterprise == from {
        return Err(moves("an enterprise tenant's database is a dedicated instance".into()));
    }
    let isolation = platform.regions.get(&row.region).map(|region| region.isolation).unwrap_or_default();
    let characteristics = Characteristics {
        tier,
        compliance_required: row.compliance_required,
        member_count: row.member_count,
        monthly_api_calls: row.monthly_api_calls,
        region: &row.region,
        isolation,
        requested: Some(current),
    };
    determine_deployment_type(&characteristics, &platform.deployment)
        .map(|decision| decision.reason)
        .map_err(|forbidden| moves(forbidden.to_string()))
}

fn refusal(error: ChangeError, tenant: TenantId) -> Failure {
    let why = error.to_string();
    let problem = match error {
        ChangeError::Unknown => problem::no_tenant(&tenant.to_string()),
        ChangeError::NotNow(_) => problem::invalid_change(why).naming("tenant", &location(tenant.0)),
        ChangeError::Unmade => problem::change_not_possible(why),
        ChangeError::Store(error) => return error.into(),
    };
    problem.into()
}
