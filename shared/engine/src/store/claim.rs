//! Claiming a step, keeping the claim, and finding out why there is none to be had.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use model::platform::Engine;
use model::{Change, ClaimId, Container, OnFailure, PhaseName, RunId, Tenant, TenantId};
use serde_json::Value;
use sqlx::types::Json;

use super::types::{Hold, alerting, seconds};
use super::{Store, StoreError, StoreResult};
use crate::decide::machine;
use crate::decide::run::RunStatus;
use crate::phase::{Interrupt, Operation};

/// A claimed step.
#[derive(Clone, Debug)]
pub struct ClaimedStep {
    /// The hold.
    pub hold: Hold,
    /// The tenant as it was at the claim.
    pub tenant: Tenant,
    /// The version of the tenant's region, where the API has made it.
    pub region_version: Option<i64>,
    /// The run, as the state machine sees it.
    pub run: machine::Run,
    /// The run's frozen list of phases.
    pub list: Vec<PhaseName>,
    /// The phase at the cursor.
    pub phase: PhaseName,
    /// Its plan, if one is stored.
    pub plan: Option<Value>,
    /// Its checkpoint, if it was ever done.
    pub checkpoint: Option<Value>,
    /// In a change, the plan that held before, if the tenant had the phase.
    pub before: Option<Value>,
    /// How often in a row it has waited.
    pub waits: i32,
    /// For how long.
    pub waited: Duration,
    /// The checkpoints of the phases before it, as long as it has no plan; for the inventory, and in a change, of all.
    pub earlier: BTreeMap<String, Value>,
    /// The operations of the attempt before.
    pub operations: Vec<Operation>,
    /// The time of the claim, by the database's clock.
    pub at: DateTime<Utc>,
}

/// What a message's claim came to.
#[derive(Debug)]
pub enum Claim {
    /// The step is ours.
    Won(Box<ClaimedStep>),
    /// It is not.
    Lost(Disposition),
}

/// Where the row is, as seen by a message that could not claim it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Due and free.
    Due,
    /// Due in so long.
    NotDue(Duration),
    /// Held by a living worker.
    Busy,
    /// Past this message, finished, paused or stuck.
    Stale,
    /// Behind this message.
    Newer,
    /// No such run.
    Unknown,
}

impl Store {
    /// Claims the step that `seq` names, if it is due and free. A step whose worker's lease has run out is taken from it
    /// first, and counted as lost.
    pub async fn claim(&self, run_id: RunId, seq: i64, engine: &Engine) -> StoreResult<Claim> {
        if let Some(claimed) = self.claim_free(run_id, seq, engine).await? {
            return Ok(Claim::Won(claimed));
        }
        if self.take_over(run_id, seq, engine).await?
            && let Some(claimed) = self.claim_free(run_id, seq, engine).await?
        {
            return Ok(Claim::Won(claimed));
        }
        Ok(Claim::Lost(self.peek(run_id, seq).await?))
    }

    async fn claim_free(
        &self,
        run_id: RunId,
        seq: i64,
        engine: &Engine,
    ) -> StoreResult<Option<Box<ClaimedStep>>> {
        let claim = ClaimId::generate();
        let mut connection = self.pool.get().await?;
        let row = sqlx::query!(
            r#"WITH run AS (
                   UPDATE provisioning_runs
                   SET claim = $3, sweeps = 0,
                       lease_until = clock_timestamp() + make_interval(secs => $4),
                       sweep_at = clock_timestamp() + make_interval(secs => $4 + 1)
                   WHERE id = $1 AND seq = $2 AND status = 'running' AND claim IS NULL
                     AND next_attempt_at <= clock_timestamp()
                   RETURNING *
               ), phase AS (
                   UPDATE provisioning_phases p
                   SET state = CASE WHEN run.direction = 'forward' THEN 'running' ELSE 'reverting' END,
                       started_at = COALESCE(p.started_at, clock_timestamp())
                   FROM run WHERE p.run_id = run.id AND p.position = run.cursor
                   RETURNING p.*
               )
               SELECT run.epoch, run.kind, run.direction, run.status, run.cursor, run.delete_after, run.abandoning,
                      run.phases, run.change AS "change: Json<Change>",
                      GREATEST(0, EXTRACT(EPOCH FROM run.lost_at + make_interval(secs => $5) - clock_timestamp()))::float8
                          AS settles_in,
                      phase.name AS phase, phase.plan, phase.checkpoint, phase.failures, phase.waits,
                      phase.operations, phase.before_plan, clock_timestamp() AS "at!",
                      EXTRACT(EPOCH FROM clock_timestamp() - phase.wait_since)::float8 AS waited,
                      EXTRACT(EPOCH FROM clock_timestamp() - phase.unavailable_since)::float8 AS unavailable_for,
                      t.id AS tenant_id, t.slug, t.name, t.tier, t.region, t.admin_email, t.deployment_strategy,
                      t.has_dedicated_database, t.cost_center, t.alerting, t.created_by, t.created_at, t.on_failure,
                      t.container AS "container: Json<Container>", t.status = 'SUSPENDED' AS "suspended!",
                      t.status = 'PENDING' AS "pending!", region.version AS "region_version?",
                      CASE WHEN phase.plan IS NULL AND run.kind = 'change' THEN
                          (SELECT jsonb_object_agg(h.name, h.checkpoint) FROM tenant_phases h
                           WHERE h.tenant_id = run.tenant_id AND h.checkpoint IS NOT NULL)
                      WHEN phase.plan IS NULL THEN
                          (SELECT jsonb_object_agg(q.name, q.checkpoint) FROM provisioning_phases q
                           WHERE q.run_id = run.id AND q.position >= 0
                              AND (q.position < run.cursor OR run.cursor < 0)
                             AND q.checkpoint IS NOT NULL) END AS earlier
               FROM run JOIN phase ON true JOIN tenants t ON t.id = run.tenant_id
                    LEFT JOIN regions region ON region.key = t.region"#,
            run_id.0,
            seq,
            claim.0,
            engine.lease.0,
            engine.function_timeout.0,
        )
        .fetch_optional(&mut *connection)
        .await;
        let Some(row) = connection.ended(row)? else { return Ok(None) };
        if row.pending {
            self.begin(TenantId(row.tenant_id)).await?;
        }
        let known = |what: &str| StoreError::unreadable(format!("{what} in run {run_id}"));
        let earlier = match row.earlier {
            Some(Value::Object(map)) => map.into_iter().collect(),
            _ => BTreeMap::new(),
        };
        let change = row.change.map(|change| change.0).unwrap_or_default();
        let mut claimed = Box::new(ClaimedStep {
            hold: Hold { run_id, seq, epoch: row.epoch, claim: Some(claim) },
            tenant: Tenant {
                id: TenantId(row.tenant_id),
                slug: row.slug.parse().map_err(|_| known("slug"))?,
                name: row.name,
                tier: row.tier.parse().map_err(|_| known("tier"))?,
                region: row.region,
                admin_email: row.admin_email,
                deployment_type: row.deployment_strategy.parse().map_err(|_| known("deployment strategy"))?,
                has_dedicated_database: row.has_dedicated_database,
                cost_center: row.cost_center,
                alerting: alerting(row.alerting)?,
                suspended: row.suspended,
                container: row.container.0,
                domains: Vec::new(),
                created_by: row.created_by,
                created_at: row.created_at,
            },
            region_version: row.region_version,
            run: machine::Run {
                kind: row.kind.parse().map_err(|_| known("kind"))?,
                direction: row.direction.parse().map_err(|_| known("direction"))?,
                status: row.status.parse().map_err(|_| known("status"))?,
                cursor: row.cursor,
                phases: i32::try_from(row.phases.len()).unwrap_or(i32::MAX),
                on_failure: row.on_failure.parse::<OnFailure>().map_err(|_| known("on_failure"))?,
                delete_after: row.delete_after,
                abandoning: row.abandoning,
                becomes: change.status,
                request: None,
                failures: row.failures,
                unavailable_for: seconds(row.unavailable_for),
                settles_in: seconds(row.settles_in),
            },
            list: row.phases.into_iter().map(PhaseName::from).collect(),
            phase: row.phase.into(),
            plan: row.plan,
            checkpoint: row.checkpoint,
            before: row.before_plan,
            waits: row.waits,
            waited: seconds(row.waited),
            earlier,
            operations: serde_json::from_value(row.operations).map_err(|_| known("operations"))?,
            at: row.at,
        });
        change.apply_to(&mut claimed.tenant);
        Ok(Some(claimed))
    }

    /// The first step of a tenant is claimed. A statement of its own, for once a run; lost with its worker, the next claim
    /// makes it good.
    async fn begin(&self, tenant: TenantId) -> StoreResult<()> {
        sqlx::query!(
            r#"UPDATE tenants SET status = 'PROVISIONING', provisioning_started_at = clock_timestamp(),
                      updated_at = clock_timestamp()
               WHERE id = $1 AND status = 'PENDING'"#,
            tenant.0
        )
        .execute(&mut *self.pool.get().await?)
        .await?;
        Ok(())
    }

    /// Where the row is for a message of `seq`.
    pub async fn peek(&self, run_id: RunId, seq: i64) -> StoreResult<Disposition> {
        let mut connection = self.pool.get().await?;
        let row = sqlx::query!(
            r#"SELECT seq, status, claim IS NOT NULL AND lease_until > clock_timestamp() AS "held!",
                      EXTRACT(EPOCH FROM next_attempt_at - clock_timestamp())::float8 AS "due_in!"
               FROM provisioning_runs WHERE id = $1"#,
            run_id.0
        )
        .fetch_optional(&mut *connection)
        .await;
        Ok(match connection.ended(row)? {
            None => Disposition::Unknown,
            Some(row) if row.seq < seq => Disposition::Newer,
            Some(row) if row.seq > seq || row.status != RunStatus::Running.as_str() => Disposition::Stale,
            Some(row) if row.held => Disposition::Busy,
            Some(row) if row.due_in > 0.0 => Disposition::NotDue(seconds(Some(row.due_in))),
            Some(_) => Disposition::Due,
        })
    }

    /// Renews the lease and stores the operations so far and, the first time, the plan (which then holds for the tenant
    /// too, so that whatever is left of the run can be undone later). An interrupt means: touch nothing any more.
    pub async fn record(
        &self,
        hold: &Hold,
        operations: Option<&[Operation]>,
        plan: Option<&Value>,
        engine: &Engine,
    ) -> StoreResult<Result<(), Interrupt>> {
        let mut connection = self.pool.get().await?;
        let kept = sqlx::query!(
            r#"WITH run AS (
                   UPDATE provisioning_runs
                   SET lease_until = clock_timestamp() + make_interval(secs => $5),
                       sweep_at = clock_timestamp() + make_interval(secs => $5 + 1)
                   WHERE id = $1 AND seq = $2 AND epoch = $3 AND claim = $4 AND lease_until > clock_timestamp()
                     AND (request IS NULL OR $6::jsonb IS NULL)
                   RETURNING id, tenant_id, cursor, direction, kind
               ), phase AS (
                   UPDATE provisioning_phases p
                   SET operations = COALESCE($6, p.operations), plan = COALESCE(p.plan, $7)
                   FROM run WHERE p.run_id = run.id AND p.position = run.cursor
                     AND ($6::jsonb IS NOT NULL OR $7::jsonb IS NOT NULL)
                   RETURNING p.name, p.position
               ), held AS (
                   INSERT INTO tenant_phases (tenant_id, position, name, plan)
                   -- What only a change has brought is undone before what the tenant was made with.
                   SELECT run.tenant_id, phase.position + CASE run.kind WHEN 'change' THEN 1000 ELSE 0 END,
                          phase.name, $7
                   FROM run, phase WHERE $7::jsonb IS NOT NULL AND run.direction = 'forward'
                   ON CONFLICT (tenant_id, name) DO UPDATE SET plan = excluded.plan, updated_at = clock_timestamp()
                   WHERE EXISTS (SELECT FROM run WHERE run.kind = 'change')
               )
               SELECT id FROM run"#,
            hold.run_id.0,
            hold.seq,
            hold.epoch,
            hold.claim.map(|claim| claim.0),
            engine.lease.0,
            operations.map(Json) as _,
            plan,
        )
        .fetch_optional(&mut *connection)
        .await;
        if connection.ended(kept)?.is_some() {
            return Ok(Ok(()));
        }
        let asked = sqlx::query_scalar!(
            r#"SELECT 1 AS "one!" FROM provisioning_runs
               WHERE id = $1 AND seq = $2 AND epoch = $3 AND claim = $4 AND lease_until > clock_timestamp()"#,
            hold.run_id.0,
            hold.seq,
            hold.epoch,
            hold.claim.map(|claim| claim.0),
        )
        .fetch_optional(&mut *self.pool.get().await?)
        .await?;
        Ok(Err(if asked.is_some() { Interrupt::Requested } else { Interrupt::Fenced }))
    }

    /// Ends a hold without a transition: the step was not begun, and is due again at once. For a worker that finds it
    /// cannot work (a plan from another version, a shutdown).
    pub async fn release(&self, hold: &Hold) -> StoreResult<()> {
        sqlx::query!(
            r#"UPDATE provisioning_runs SET claim = NULL, lease_until = NULL, epoch = epoch + 1, sweep_at = clock_timestamp()
               WHERE id = $1 AND seq = $2 AND epoch = $3 AND claim = $4"#,
            hold.run_id.0,
            hold.seq,
            hold.epoch,
            hold.claim.map(|claim| claim.0),
        )
        .execute(&mut *self.pool.get().await?)
        .await?;
        Ok(())
    }
}
