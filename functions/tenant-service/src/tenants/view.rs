//! The tenant as it is answered.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use model::{RunId, TenantId};
use serde::Serialize;
use serde_json::Value;
use tenants::{TenantRow, VerbOutcome};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::openapi;

/// Where a tenant's resources are.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Links {
    #[serde(rename = "self")]
    tenant: String,
    status: String,
    audit: String,
    domains: String,
}

impl Links {
    /// Of the tenant with this id.
    pub fn of(id: Uuid) -> Self {
        let tenant = location(id);
        Self {
            status: format!("{tenant}/provisioning/status"),
            audit: format!("{tenant}/provisioning/audit"),
            domains: format!("{tenant}/domains"),
            tenant,
        }
    }
}

/// The path of a tenant.
pub fn location(id: Uuid) -> String {
    format!("/api/v1/tenants/{id}")
}

/// The run that does what was asked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    #[schema(value_type = Uuid)]
    tenant_id: TenantId,
    #[schema(value_type = Uuid)]
    run_id: RunId,
    seq: i64,
    /// Recorded; takes effect when the worker that is at it is done, or its lease has ended.
    pending: bool,
    /// When the tenant is taken out, where its deletion waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    delete_at: Option<DateTime<Utc>>,
    links: Links,
}

/// 202, with the run that does what was asked.
pub fn accepted(tenant: TenantId, operated: &VerbOutcome) -> Response {
    let VerbOutcome { run_id, seq, pending, delete_at } = *operated;
    let links = Links::of(tenant.0);
    let answer = Accepted { tenant_id: tenant, run_id, seq, pending, delete_at, links };
    (StatusCode::ACCEPTED, Json(answer)).into_response()
}

/// A tenant.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Tenant)]
pub struct TenantView<'a> {
    id: Uuid,
    slug: &'a str,
    name: &'a str,
    #[schema(value_type = openapi::Tier)]
    tier: &'a str,
    region: &'a str,
    admin_email: &'a str,
    #[schema(required)]
    domain: Option<&'a str>,
    #[schema(value_type = openapi::TenantStatus)]
    status: &'a str,
    #[schema(value_type = openapi::DeploymentType)]
    deployment_type: &'a str,
    deployment_reason: &'a str,
    has_dedicated_database: bool,
    compliance_required: bool,
    member_count: i64,
    monthly_api_calls: i64,
    #[schema(required)]
    cost_center: Option<&'a str>,
    #[schema(required, value_type = Option<Object>)]
    alerting: Option<&'a Value>,
    #[schema(value_type = openapi::OnFailure)]
    on_failure: &'a str,
    #[schema(required, value_type = Option<openapi::Error>)]
    provisioning_error: Option<&'a Value>,
    created_by: &'a str,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[schema(required)]
    provisioning_started_at: Option<DateTime<Utc>>,
    #[schema(required)]
    provisioning_completed_at: Option<DateTime<Utc>>,
    /// When it is to be taken out; resuming it takes that back.
    #[schema(required)]
    delete_at: Option<DateTime<Utc>>,
    #[schema(required)]
    deleted_at: Option<DateTime<Utc>>,
    links: Links,
}

impl<'a> From<&'a TenantRow> for TenantView<'a> {
    fn from(row: &'a TenantRow) -> Self {
        Self {
            id: row.id,
            slug: &row.slug,
            name: &row.name,
            tier: &row.tier,
            region: &row.region,
            admin_email: &row.admin_email,
            domain: row.domain.as_deref(),
            status: &row.status,
            deployment_type: &row.deployment_strategy,
            deployment_reason: &row.deployment_reason,
            has_dedicated_database: row.has_dedicated_database,
            compliance_required: row.compliance_required,
            member_count: row.member_count,
            monthly_api_calls: row.monthly_api_calls,
            cost_center: row.cost_center.as_deref(),
            alerting: row.alerting.as_ref(),
            on_failure: &row.on_failure,
            provisioning_error: row.provisioning_error.as_ref(),
            created_by: &row.created_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
            provisioning_started_at: row.provisioning_started_at,
            provisioning_completed_at: row.provisioning_completed_at,
            delete_at: row.delete_at,
            deleted_at: row.deleted_at,
            links: Links::of(row.id),
        }
    }
}
