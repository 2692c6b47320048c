//! The status and the audit log as they are answered.

use chrono::{DateTime, Utc};
use engine::decide::run::{Direction, INVENTORY, PhaseState, RunKind, RunStatus};
use engine::decide::verbs::{Situation, Verb};
use engine::store::{AuditRow, PhaseRow, RunRow, StoreError, Typical};
use model::{PhaseName, TenantStatus, UnknownName};
use serde::Serialize;
use serde_json::Value;
use tenants::StatusRow;
use uuid::Uuid;

use super::progress::{self, Course, Pace};
use crate::tenants::view::Links;

/// Where a tenant's newest run is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusView<'a> {
    tenant: Tenant<'a>,
    run: Run<'a>,
    percent: u8,
    expected_remaining_seconds: Option<f64>,
    slow: bool,
    allowed_actions: Vec<Verb>,
    phases: Vec<Phase<'a>>,
    links: Links,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tenant<'a> {
    id: Uuid,
    slug: &'a str,
    status: &'a str,
    provisioning_error: Option<&'a Value>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    id: Uuid,
    kind: &'a str,
    status: &'a str,
    direction: &'a str,
    seq: i64,
    request: Option<&'a Value>,
    pause_reason: Option<&'a Value>,
    leftovers: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Value>,
    started_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    next_attempt_at: Option<DateTime<Utc>>,
    actor: &'a str,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Phase<'a> {
    name: &'a str,
    state: &'a str,
    operations: &'a Value,
    attempts: Attempts,
    waits: i32,
    waiting_on: Option<&'a str>,
    error: Option<&'a Value>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    reverted_at: Option<DateTime<Utc>>,
    expected_seconds: Option<f64>,
    slow: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Attempts {
    failures: i32,
    total_failures: i32,
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
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditView<'a> {
    number: i64,
    run_id: Option<Uuid>,
    seq: Option<i64>,
    action: &'a str,
    phase: Option<&'a str>,
    actor: &'a str,
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
