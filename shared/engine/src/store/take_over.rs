//! Taking a step from a worker whose lease has run out.

use model::platform::Engine;
use model::{Change, ClaimId, Container, PhaseName, RunId, Tenant, TenantId, TenantStatus};
use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection};

use super::audit::audit;
use super::finish::write_in;
use super::tenancy::Tenancy;
use super::types::{Hold, StepOutput, TransitionContext, alerting, seconds};
use super::{Store, StoreError, StoreResult};
use crate::decide::machine::{self, Event};
use crate::decide::verbs::Request;
use crate::phase::ErrorRecord;

/// A run with its row locked.
#[derive(Debug)]
pub struct RunView {
    /// What a write must match.
    pub hold: Hold,
    /// Whether the holder's lease still runs.
    pub lease_lives: bool,
    /// As the state machine sees it.
    pub run: machine::Run,
    /// The phase at the cursor.
    pub phase: PhaseName,
    /// Deliveries lost in it.
    pub lost: i32,
    /// The tenant.
    pub tenant: Tenant,
    /// Its status.
    pub tenant_status: TenantStatus,
}

impl Store {
    /// Takes the step that `seq` names from a worker whose lease has run out, counts the delivery as lost, and lets a
    /// recorded request take effect. True if anything was taken; false if there is nothing to take.
    pub async fn take_over(&self, run_id: RunId, seq: i64, engine: &Engine) -> StoreResult<bool> {
        let mut connection = self.pool.get().await?;
        let mut transaction = connection.begin().await?;
        let view = load(&mut transaction, run_id, engine).await?;
        let dead = view.filter(|view| view.hold.seq == seq && view.hold.claim.is_some() && !view.lease_lives);
        let Some(view) = dead else {
            transaction.rollback().await?;
            return Ok(false);
        };
        let view = lose(&mut transaction, view, engine).await?;
        if view.run.request.is_some() {
            transition(&mut transaction, &*self.tenancy, &view, &Event::Requested, "tenantry", engine)
                .await?;
        } else if view.lost >= engine.lost {
            let error = ErrorRecord {
                code: "worker_lost".into(),
                message: format!(
                    "{} deliveries of {} were lost before the worker could answer",
                    view.lost, view.phase
                ),
                next_action: "See the function's log for why it dies (memory, time-out), then retry.".into(),
                kind: "lost".into(),
            };
            transition(
                &mut transaction,
                &*self.tenancy,
                &view,
                &Event::LostTooOften(error),
                "tenantry",
                engine,
            )
            .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// The request that is recorded with a run.
    pub async fn request_of(&self, run_id: RunId) -> StoreResult<Option<Request>> {
        let row = sqlx::query!(
            r#"SELECT request AS "request: Json<Request>" FROM provisioning_runs WHERE id = $1"#,
            run_id.0
        )
        .fetch_optional(&mut *self.pool.get().await?)
        .await?;
        Ok(row.and_then(|row| row.request).map(|request| request.0))
    }
}

/// Clears the claim of a worker whose lease has run out. The caller holds the row's lock.
pub(super) async fn lose(
    connection: &mut PgConnection,
    mut view: RunView,
    engine: &Engine,
) -> StoreResult<RunView> {
    sqlx::query!(
        r#"WITH run AS (
               UPDATE provisioning_runs
               SET claim = NULL, lease_until = NULL, epoch = epoch + 1, lost_at = clock_timestamp(),
                   sweep_at = clock_timestamp()
               WHERE id = $1 RETURNING id, cursor
           )
           UPDATE provisioning_phases p SET lost = p.lost + 1 FROM run WHERE p.run_id = run.id AND p.position = run.cursor"#,
        view.hold.run_id.0
    )
    .execute(&mut *connection)
    .await?;
    view.hold.claim = None;
    view.hold.epoch += 1;
    view.lost += 1;
    // Its effects may go on for as long as a function may run.
    view.run.settles_in = engine.function_timeout.duration();
    let detail = serde_json::json!({ "lost": view.lost, "epoch": view.hold.epoch });
    audit(connection, view.tenant.id, Some(view.hold.run_id), "WORKER_LOST", "tenantry", &detail).await?;
    Ok(view)
}

pub(super) async fn transition(
    connection: &mut PgConnection,
    tenancy: &dyn Tenancy,
    view: &RunView,
    event: &Event,
    actor: &str,
    engine: &Engine,
) -> StoreResult<i64> {
    let to = machine::next(&view.run, event, engine, rand::random());
    let cause = TransitionContext {
        tenant: &view.tenant,
        kind: view.run.kind,
        direction: view.run.direction,
        position: view.run.cursor,
        actor,
    };
    let written =
        write_in(connection, tenancy, &view.hold, &cause, &to, &StepOutput::default(), engine, true).await?;
    written.ok_or_else(|| StoreError::unreadable("a locked run that changed"))
}

/// Reads a run and locks its row.
pub(super) async fn load(
    connection: &mut PgConnection,
    run_id: RunId,
    engine: &Engine,
) -> StoreResult<Option<RunView>> {
    let row = sqlx::query!(
        r#"SELECT r.seq, r.epoch, r.claim, COALESCE(r.lease_until > clock_timestamp(), false) AS "lease_lives!",
                  r.kind, r.direction, r.status, r.cursor, cardinality(r.phases) AS "phases!", r.delete_after,
                  r.abandoning, r.request AS "request: Json<Request>",
                  GREATEST(0, EXTRACT(EPOCH FROM r.lost_at + make_interval(secs => $2) - clock_timestamp()))::float8
                      AS settles_in,
                  p.name AS phase, p.failures, p.lost,
                  EXTRACT(EPOCH FROM clock_timestamp() - p.unavailable_since)::float8 AS unavailable_for,
                  t.id AS tenant_id, t.slug, t.name, t.tier, t.region, t.admin_email, t.deployment_strategy,
                  t.has_dedicated_database, t.cost_center, t.alerting, t.created_by, t.created_at, t.on_failure,
                  t.container AS "container: Json<Container>", r.change AS "change: Json<Change>",
                  t.status AS tenant_status
           FROM provisioning_runs r
           JOIN provisioning_phases p ON p.run_id = r.id AND p.position = r.cursor
           JOIN tenants t ON t.id = r.tenant_id
           WHERE r.id = $1 AND r.finished_at IS NULL
           FOR UPDATE OF r"#,
        run_id.0,
        engine.function_timeout.0
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(RunView {
        hold: Hold { run_id, seq: row.seq, epoch: row.epoch, claim: row.claim.map(ClaimId) },
        lease_lives: row.lease_lives,
        run: machine::Run {
            kind: row.kind.parse().map_err(StoreError::unreadable)?,
            direction: row.direction.parse().map_err(StoreError::unreadable)?,
            status: row.status.parse().map_err(StoreError::unreadable)?,
            cursor: row.cursor,
            phases: row.phases,
            on_failure: row.on_failure.parse().map_err(StoreError::unreadable)?,
            delete_after: row.delete_after,
            abandoning: row.abandoning,
            becomes: row.change.and_then(|change| change.0.status),
            request: row.request.map(|request| request.0),
            failures: row.failures,
            unavailable_for: seconds(row.unavailable_for),
            settles_in: seconds(row.settles_in),
        },
        phase: row.phase.into(),
        lost: row.lost,
        tenant: Tenant {
            id: TenantId(row.tenant_id),
            slug: row.slug.parse().map_err(StoreError::unreadable)?,
            name: row.name,
            tier: row.tier.parse().map_err(StoreError::unreadable)?,
            region: row.region,
            admin_email: row.admin_email,
            deployment_type: row.deployment_strategy.parse().map_err(StoreError::unreadable)?,
            has_dedicated_database: row.has_dedicated_database,
            cost_center: row.cost_center,
            alerting: alerting(row.alerting)?,
            suspended: row.tenant_status == TenantStatus::Suspended.as_str(),
            container: row.container.0,
            domains: Vec::new(),
            created_by: row.created_by,
            created_at: row.created_at,
        },
        tenant_status: row.tenant_status.parse().map_err(StoreError::unreadable)?,
    }))
}
