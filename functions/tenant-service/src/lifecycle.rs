//! Changes of a tenant that lives: another tier, suspended, resumed.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use engine::store::StoreError;
use model::platform::Platform;
use model::{Change, DeploymentType, TenantId, TenantStatus, Tier, UnknownName};
use serde::Deserialize;
use tenants::deployment::{Characteristics, determine_deployment_type};
use tenants::{ChangeError, ChangeOutcome, TenantRow, VerbOutcome};
use utoipa::ToSchema;

use crate::extract::{Actor, Body, FromFields, TenantPath};
use crate::fields::Fields;
use crate::openapi::{self, Authenticated, Conflicting, Missing, WithBody};
use crate::problem::{self, Failure};
use crate::state::App;
use crate::tenants::view::{Accepted, TenantView, accepted, location};

/// What is changed of a tenant
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantChange {
    /// The tenant's new tier.
    #[schema(value_type = openapi::Tier)]
    tier: Tier,
}

impl FromFields for TenantChange {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let tier = fields.one_of("tier");
        Some(Self { tier: fields.required("tier", tier)? })
    }
}

/// Give a tenant another tier
///
/// Only where the tenant need not move: free and professional. From the quota on for a larger tier, from the pods on for a smaller
/// one; a change that fails is taken back, and the tenant stays ACTIVE. Data is not touched.
#[utoipa::path(
    patch, path = "/api/v1/tenants/{id}", operation_id = "changeTenant", tag = "tenants", params(TenantPath),
    request_body = TenantChange,
    responses(
        (status = 200, description = "It is so already.", body = TenantView),
        (status = 202, description = "The run that makes it; the same one when asked again meanwhile.", body = Accepted),
        Authenticated, Missing, Conflicting, WithBody
    ),
)]
pub async fn change(
    State(app): State<App>,
    actor: Actor,
    TenantPath(tenant): TenantPath,
    Body(TenantChange { tier }): Body<TenantChange>,
) -> Result<Response, Failure> {
    let row = app.store.tenant(tenant).await?.ok_or_else(|| problem::no_tenant(&tenant.to_string()))?;
    let reason = keeps_its_deployment(&row, tier, &*app.regions.knowing(&row.region).await?)?;
    let change = Change { tier: Some(tier), deployment_reason: Some(reason), ..Change::default() };
    begin(&app, tenant, change, &actor).await
}

/// Let nothing of a tenant run and its licence be refused; data, names and addresses stay
#[utoipa::path(
    post, path = "/api/v1/tenants/{id}/suspend", operation_id = "suspendTenant", tag = "tenants", params(TenantPath),
    responses(
        (status = 200, description = "It is so already.", body = TenantView),
        (status = 202, description = "The run that makes it; the same one when asked again meanwhile.", body = Accepted),
        Authenticated, Missing, Conflicting
    ),
)]
pub async fn suspend(
    State(app): State<App>,
    actor: Actor,
    TenantPath(tenant): TenantPath,
) -> Result<Response, Failure> {
    let change = Change { status: Some(TenantStatus::Suspended), ..Change::default() };
    begin(&app, tenant, change, &actor).await
}

/// Let a suspended tenant run again
#[utoipa::path(
    post, path = "/api/v1/tenants/{id}/resume", operation_id = "resumeTenant", tag = "tenants", params(TenantPath),
    responses(
        (status = 200, description = "It is so already.", body = TenantView),
        (status = 202, description = "The run that makes it; the same one when asked again meanwhile.", body = Accepted),
        Authenticated, Missing, Conflicting
    ),
)]
pub async fn resume(
    State(app): State<App>,
    actor: Actor,
    TenantPath(tenant): TenantPath,
) -> Result<Response, Failure> {
    let change = Change { status: Some(TenantStatus::Active), ..Change::default() };
    begin(&app, tenant, change, &actor).await
}

/// Begins a change and answers with its run, or with the tenant that is so already.
pub async fn begin(app: &App, tenant: TenantId, change: Change, actor: &Actor) -> Result<Response, Failure> {
    let begun = app.store.change(tenant, &change, &actor.0).await;
    let (run_id, seq) = match begun.map_err(|error| refusal(error, tenant))? {
        ChangeOutcome::Run { id, seq } => (id, seq),
        ChangeOutcome::Already => {
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
