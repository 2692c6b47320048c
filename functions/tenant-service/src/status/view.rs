//! The status and the audit log as they are answered.

use chrono::{DateTime, Utc};
use engine::decide::run::{Direction, INVENTORY, PhaseState, RunKind, RunStatus};
use engine::decide::verbs::{Situation, Verb};
use engine::store::{AuditRow, PhaseRow, RunRow, StoreError, Typical};
use model::{PhaseName, TenantStatus, UnknownName};
use serde::Serialize;
use serde_json::Value;
use tenants::StatusRow;
use utoipa::ToSchema;
use uuid::Uuid;

use super::progress::{self, Course, Pace};
use crate::openapi;
use crate::tenants::view::Links;

/// Where a tenant's newest run is.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Status)]
pub struct StatusView<'a> {
    #[schema(inline)]
    tenant: Tenant<'a>,
    run: Run<'a>,
    #[schema(value_type = i64, minimum = 0, maximum = 100)]
    percent: u8,
    /// Null where it cannot be said: on a way back, while paused or stuck.
    #[schema(required)]
    expected_remaining_seconds: Option<f64>,
    /// The phase under way is past its longest typical duration.
    slow: bool,
    /// What would be accepted now.
    #[schema(value_type = Vec<openapi::Action>)]
    allowed_actions: Vec<Verb>,
    /// In order; on a way back the inventory comes last.
    phases: Vec<Phase<'a>>,
    links: Links,
}

/// The tenant of a run.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TenantOfRun)]
struct Tenant<'a> {
    id: Uuid,
    slug: &'a str,
    #[schema(value_type = openapi::TenantStatus)]
    status: &'a str,
    #[schema(required, value_type = Option<openapi::Error>)]
    provisioning_error: Option<&'a Value>,
}

/// A run.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    id: Uuid,
    #[schema(value_type = openapi::RunKind)]
    kind: &'a str,
    #[schema(value_type = openapi::RunStatus)]
    status: &'a str,
    #[schema(value_type = openapi::Direction)]
    direction: &'a str,
    seq: i64,
    /// A verb that has not taken effect yet.
    #[schema(required, value_type = Option<Object>)]
    request: Option<&'a Value>,
    #[schema(required, value_type = Option<openapi::Error>)]
    pause_reason: Option<&'a Value>,
    /// What an inventory found last; null before there is any.
    #[schema(required, value_type = Value)]
    leftovers: Option<&'a Value>,
    /// What a change makes so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Object>)]
    change: Option<&'a Value>,
    /// Why a change was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = openapi::Error)]
    error: Option<&'a Value>,
    started_at: DateTime<Utc>,
    #[schema(required)]
    finished_at: Option<DateTime<Utc>>,
    #[schema(required)]
    next_attempt_at: Option<DateTime<Utc>>,
    actor: &'a str,
}

/// A phase of a run.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Phase<'a> {
    name: &'a str,
    #[schema(value_type = openapi::PhaseState)]
    state: &'a str,
    #[schema(value_type = Vec<openapi::Operation>)]
    operations: &'a Value,
    #[schema(inline)]
    attempts: Attempts,
    #[schema(value_type = i64)]
    waits: i32,
    #[schema(required)]
    waiting_on: Option<&'a str>,
    #[schema(required, value_type = Option<openapi::Error>)]
    error: Option<&'a Value>,
    #[schema(required)]
    started_at: Option<DateTime<Utc>>,
    #[schema(required)]
    finished_at: Option<DateTime<Utc>>,
    #[schema(required)]
    reverted_at: Option<DateTime<Utc>>,
    #[schema(required)]
    expected_seconds: Option<f64>,
    slow: bool,
}

/// What a phase's budgets were charged with.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Attempts {
    /// In its present direction.
    #[schema(value_type = i64)]
    failures: i32,
    #[schema(value_type = i64)]
    total_failures: i32,
    /// Deliveries lost before the worker could answer.
    #[schema(value_type = i64)]
    lost: i32,
}

impl<'a> StatusView<'a> {
    /// The answer for `row`. Fails on a value that this version does not know.
    pub fn of(row: &'a StatusRow, typical: &[Typical]) -> Result<Self, StoreError> {
        let run = &row.run;
        let kind: RunKind = run.kind.parse().map_err(unknown)?;
        let direction: Direction = run.direction.parse().map_err(unknown)?;
        let status: RunStatus = run.status.parse().map_err(unknown)?;
        let tenant: TenantStatus = row.tenant.status.parse().map_err(unknown)?;
        let halted = matches!(status, RunStatus::Paused | RunStatus::Stuck);
        let course = Course {
            direction,
            cursor: run.cursor,
            finished: status.finished(),
            abandoned: status == RunStatus::Abandoned,
            halted,
        };

        let mut phases = Vec::with_capacity(row.phases.len());
        let mut paces = Vec::with_capacity(row.phases.len());
        // The inventory comes last, and only on a way back, where it is taken.
        let inventory =
            row.phases.iter().filter(|p| p.position == INVENTORY && direction == Direction::Backward);
        for phase in row.phases.iter().filter(|p| p.position > INVENTORY).chain(inventory) {
            let state: PhaseState = phase.state.parse().map_err(unknown)?;
            let pace = Pace::of(phase, state, typical, row.now);
            phases.push(Phase::of(phase, &pace));
            paces.push(pace);
        }
        let at = row.phases.iter().find(|phase| phase.position == run.cursor);
        let at = at.map_or(PhaseName::TAKE_INVENTORY, |phase| phase.name.clone().into());
        let situation = Situation::of(tenant, (!course.finished).then_some((kind, direction, status)));
        Ok(Self {
            tenant: Tenant {
                id: row.tenant.id,
                slug: &row.tenant.slug,
                status: &row.tenant.status,
                provisioning_error: row.tenant.provisioning_error.as_ref(),
            },
            percent: progress::percent(course, &paces),
            expected_remaining_seconds: progress::remaining(course, &paces).map(tenths),
            slow: !course.finished && paces.iter().any(|pace| pace.slow && pace.elapsed.is_some()),
            allowed_actions: progress::allowed(situation, course, &at, run.request.is_some()),
            run: Run::of(run, course),
            phases,
            links: Links::of(row.tenant.id),
        })
    }
}

impl<'a> Run<'a> {
    fn of(row: &'a RunRow, course: Course) -> Self {
        Self {
            id: row.id,
            kind: &row.kind,
            status: &row.status,
            direction: &row.direction,
            seq: row.seq,
            request: row.request.as_ref(),
            pause_reason: row.pause_reason.as_ref(),
            leftovers: row.leftovers.as_ref(),
            change: row.change.as_ref(),
            error: row.error.as_ref(),
            started_at: row.created_at,
            finished_at: row.finished_at,
            // Nothing is attempted while an operator is waited for, and a worker that is at it needs no next time.
            next_attempt_at: (!course.finished && !course.halted && !row.claimed)
                .then_some(row.next_attempt_at),
            actor: &row.actor,
        }
    }
}

impl<'a> Phase<'a> {
    fn of(row: &'a PhaseRow, pace: &Pace) -> Self {
        Self {
            name: &row.name,
            state: &row.state,
            operations: &row.operations,
            attempts: Attempts { failures: row.failures, total_failures: row.total_failures, lost: row.lost },
            waits: row.waits,
            waiting_on: row.waiting_on.as_deref(),
            error: row.error.as_ref(),
            started_at: row.started_at,
            finished_at: row.finished_at,
            reverted_at: row.reverted_at,
            expected_seconds: pace.expected.map(tenths),
            slow: pace.slow,
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn unknown(name: UnknownName) -> StoreError {
    StoreError::Unreadable { what: name.to_string() }
}

/// More digits would pretend to know more.
fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

/// One row of the audit log.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub struct AuditView<'a> {
    number: i64,
    #[schema(required)]
    run_id: Option<Uuid>,
    #[schema(required)]
    seq: Option<i64>,
    action: &'a str,
    #[schema(required)]
    phase: Option<&'a str>,
    actor: &'a str,
    #[schema(value_type = Object)]
    detail: &'a Value,
    at: DateTime<Utc>,
}

impl<'a> From<&'a AuditRow> for AuditView<'a> {
    fn from(row: &'a AuditRow) -> Self {
        Self {
            number: row.number,
            run_id: row.run_id,
            seq: row.seq,
            action: &row.action,
            phase: row.phase.as_deref(),
            actor: &row.actor,
            detail: &row.detail,
            at: row.at,
        }
    }
}
