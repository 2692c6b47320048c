//! What the sweeper reads: the only guarantee that a run goes on, whatever becomes of its messages.

use model::platform::Engine;
use model::{PhaseName, RunId, TenantId};
use sqlx::Connection as _;

use super::{Store, StoreResult};
use crate::phase::Job;

/// A run that nobody has moved for too long.
#[derive(Clone, Debug)]
pub struct Swept {
    /// The message to publish for it.
    pub job: Job,
    /// A worker holds it, and its lease has run out: take it over first.
    pub lease_over: bool,
}

impl Store {
    /// Picks runs whose time to be looked at has passed, each by one sweeper, and moves that time out in the same
    /// statement (doubling, with jitter, up to the cap), so that a message that is only slow is not published for ever.
    pub async fn sweep(&self, engine: &Engine) -> StoreResult<Vec<Swept>> {
        let rows = sqlx::query!(
            r#"WITH due AS (
                   SELECT id FROM provisioning_runs
                   WHERE finished_at IS NULL AND status = 'running' AND sweep_at <= clock_timestamp()
                   ORDER BY sweep_at LIMIT $1 FOR UPDATE SKIP LOCKED
               )
               UPDATE provisioning_runs r
               SET sweeps = r.sweeps + 1,
                   sweep_at = clock_timestamp() + make_interval(secs =>
                       LEAST($3, $2 * power(2, LEAST(r.sweeps, 20))) * (0.75 + random() / 2))
               FROM due WHERE r.id = due.id
               RETURNING r.id, r.tenant_id, r.seq, r.claim IS NOT NULL AS "held!",
                         COALESCE(r.lease_until < clock_timestamp(), false) AS "lease_over!",
                         CASE WHEN r.cursor < 0 THEN 'TAKE_INVENTORY' ELSE r.phases[r.cursor + 1] END AS "phase!""#,
            engine.sweep_batch,
            engine.sweep.0,
            engine.sweep_cap.0
        )
        .fetch_all(&mut *self.pool.get().await?)
        .await?;
        Ok(rows
            .into_iter()
            .filter(|row| !row.held || row.lease_over)
            .map(|row| Swept {
                job: Job::new(TenantId(row.tenant_id), RunId(row.id), PhaseName::from(row.phase), row.seq),
                lease_over: row.lease_over,
            })
            .collect())
    }

    /// The tenants that need a consumer, each with its unfinished run.
    pub async fn live_runs(&self) -> StoreResult<Vec<(TenantId, RunId)>> {
        let rows = sqlx::query!("SELECT tenant_id, id FROM provisioning_runs WHERE finished_at IS NULL")
            .fetch_all(&mut *self.pool.get().await?)
            .await?;
        Ok(rows.into_iter().map(|row| (TenantId(row.tenant_id), RunId(row.id))).collect())
    }

    /// Tenants whose last run has ended and whose queue may still be there.
    pub async fn queues_left(&self) -> StoreResult<Vec<TenantId>> {
        let rows = sqlx::query_scalar!(
            r#"SELECT DISTINCT r.tenant_id FROM provisioning_runs r
               WHERE r.finished_at IS NOT NULL AND NOT r.queue_deleted
                 AND NOT EXISTS (SELECT FROM provisioning_runs l
                                 WHERE l.tenant_id = r.tenant_id AND l.finished_at IS NULL)
               LIMIT 1000"#
        )
        .fetch_all(&mut *self.pool.get().await?)
        .await?;
        Ok(rows.into_iter().map(TenantId).collect())
    }

    /// Runs `action` under the tenant's lock, which declaring and deleting its queue share, telling it whether the tenant
    /// has a live run. After an `action` that returns true the queue counts as deleted.
    pub async fn with_queue_lock<E, F>(&self, tenant: TenantId, action: F) -> Result<(), E>
    where
        E: From<super::StoreError>,
        F: AsyncFnOnce(bool) -> Result<bool, E>,
    {
        let database = |error: sqlx::Error| E::from(super::StoreError::from(error));
        let mut connection = self.pool.get().await?;
        let mut transaction = connection.begin().await.map_err(database)?;
        sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended($1::uuid::text, 2))", tenant.0)
            .execute(&mut *transaction)
            .await
            .map_err(database)?;
        let live = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT FROM provisioning_runs WHERE tenant_id = $1 AND finished_at IS NULL) AS "live!""#,
            tenant.0
        )
        .fetch_one(&mut *transaction)
        .await
        .map_err(database)?;
        if action(live).await? {
            sqlx::query!(
                r#"UPDATE provisioning_runs SET queue_deleted = true
                   WHERE tenant_id = $1 AND finished_at IS NOT NULL AND NOT queue_deleted"#,
                tenant.0
            )
            .execute(&mut *transaction)
            .await
            .map_err(database)?;
        }
        transaction.commit().await.map_err(database)
    }

    /// Whether the one switch that pauses all dispatching is on.
    pub async fn dispatching_paused(&self) -> StoreResult<bool> {
        Ok(sqlx::query_scalar!("SELECT paused FROM dispatching")
            .fetch_one(&mut *self.pool.get().await?)
            .await?)
    }

    /// Turns that switch. Turned off again, every live run is looked at at once.
    pub async fn pause_dispatching(&self, paused: bool, actor: &str) -> StoreResult<()> {
        sqlx::query!("UPDATE dispatching SET paused = $1, by = $2, since = clock_timestamp()", paused, actor)
            .execute(&mut *self.pool.get().await?)
            .await?;
        if !paused {
            sqlx::query!(
                r#"UPDATE provisioning_runs SET sweep_at = clock_timestamp()
                   WHERE finished_at IS NULL AND status = 'running' AND next_attempt_at <= clock_timestamp()"#
            )
            .execute(&mut *self.pool.get().await?)
            .await?;
            self.notify().await?;
        }
        Ok(())
    }
}
