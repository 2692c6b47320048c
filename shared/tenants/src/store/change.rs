//! Changes of living tenants: the run that makes one, and what holds for the tenant along its way.

use engine::decide::run::{Direction, RunKind, RunStatus};
use engine::decide::verbs::Situation;
use engine::store::{StoreError, StoreResult, transaction};
use model::{Change, Container, PhaseName, RunId, TenantId, TenantStatus, Tier};
use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection};

use super::{Store, deletion};
use crate::changes;

/// What a wish for a change led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// The run that makes it, new or under way already.
    Run {
        /// The run.
        id: RunId,
        /// Where it is.
        seq: i64,
    },
    /// It is so already.
    Already,
}

/// Why no change was begun. Nothing is written then.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// No such tenant.
    #[error("no such tenant")]
    Unknown,
    /// Only what is whole can be changed, and only one change at a time.
    #[error("the tenant is {0}; only one that is ACTIVE or SUSPENDED, with no run under way, can be changed")]
    NotNow(Situation),
    /// None of the tenant's phases follows from what is to be changed.
    #[error("none of this tenant's phases depends on the requested change")]
    Unmade,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ChangeError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Begins a change of a tenant that is whole. Asked for again while it is under way, it answers with the same run; once
    /// it is so, nothing is begun.
    pub async fn change(
        &self,
        tenant: TenantId,
        change: &Change,
        actor: &str,
    ) -> Result<ChangeOutcome, ChangeError> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().await?;
        let begun = begin(&mut transaction, tenant, change, actor).await?;
        let committed = transaction.commit().await;
        connection.ended(committed)?;
        Ok(begun)
    }
}

/// What became of refreshing many tenants' own instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefreshSummary {
    /// Tenants for whom it was begun.
    pub begun: u64,
    /// Tenants that have a run under way: it may have been planned by what was before, so that they are to be asked again.
    pub under_way: u64,
}

impl Store {
    /// Begins for every tenant with an instance of its own (of a region, or of all) to have it made again as the platform and
    /// its region are now. One with a run under way is left to that, and counted. A second call begins it again.
    pub async fn refresh_deployments(
        &self,
        region: Option<&str>,
        actor: &str,
    ) -> StoreResult<RefreshSummary> {
        let tenants = sqlx::query_scalar!(
            "SELECT t.id FROM tenants t JOIN tenant_deployments d ON d.tenant_id = t.id
             WHERE t.status IN ('ACTIVE', 'SUSPENDED') AND ($1::text IS NULL OR t.region = $1) ORDER BY t.id",
            region as Option<&str>
        )
        .fetch_all(&mut *self.connection().await?)
        .await?;
        let refresh = Change { refreshes_deployment: true, ..Change::default() };
        let mut done = RefreshSummary::default();
        for tenant in tenants.into_iter().map(TenantId) {
            let mut connection = self.connection().await?;
            let mut transaction = connection.begin().await?;
            // Locked, so that none is begun between this look and ours.
            sqlx::query!("SELECT id FROM tenants WHERE id = $1 FOR UPDATE", tenant.0)
                .fetch_optional(&mut *transaction)
                .await?;
            if transaction::is_under_way(&mut transaction, tenant).await? {
                done.under_way += 1;
                continue;
            }
            match begin(&mut transaction, tenant, &refresh, actor).await {
                Ok(ChangeOutcome::Run { .. }) => done.begun += 1,
                Err(ChangeError::Store(error)) => return Err(error),
                // It was taken out meanwhile, or has never had such a phase.
                Ok(ChangeOutcome::Already)
                | Err(ChangeError::Unknown | ChangeError::NotNow(_) | ChangeError::Unmade) => {}
            }
            let committed = transaction.commit().await;
            connection.ended(committed)?;
        }
        Ok(done)
    }
}

pub(super) async fn begin(
    connection: &mut PgConnection,
    tenant: TenantId,
    change: &Change,
    actor: &str,
) -> Result<ChangeOutcome, ChangeError> {
    // The tenant's row is where runs are begun one after the other. No run's row is locked here.
    let row = sqlx::query!(
        r#"SELECT status, tier, container AS "container: Json<Container>" FROM tenants WHERE id = $1 FOR UPDATE"#,
        tenant.0
    )
    .fetch_optional(&mut *connection)
    .await?
    .ok_or(ChangeError::Unknown)?;
    let status: TenantStatus = row.status.parse().map_err(StoreError::unreadable)?;
    let tier: Tier = row.tier.parse().map_err(StoreError::unreadable)?;
    let under_way = sqlx::query!(
        r#"SELECT id, seq, kind, direction, status, change AS "change: Json<Change>" FROM provisioning_runs
           WHERE tenant_id = $1 AND finished_at IS NULL"#,
        tenant.0
    )
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(run) = under_way {
        let kind: RunKind = run.kind.parse().map_err(StoreError::unreadable)?;
        let direction: Direction = run.direction.parse().map_err(StoreError::unreadable)?;
        if direction == Direction::Forward && run.change.is_some_and(|under_way| under_way.0 == *change) {
            return Ok(ChangeOutcome::Run { id: RunId(run.id), seq: run.seq });
        }
        let at: RunStatus = run.status.parse().map_err(StoreError::unreadable)?;
        return Err(ChangeError::NotNow(Situation::of(status, Some((kind, direction, at)))));
    }
    if !matches!(status, TenantStatus::Active | TenantStatus::Suspended) {
        return Err(ChangeError::NotNow(Situation::of(status, None)));
    }
    let held = sqlx::query_scalar!(
        "SELECT name FROM tenant_phases WHERE tenant_id = $1 ORDER BY position",
        tenant.0
    )
    .fetch_all(&mut *connection)
    .await?;
    let held: Vec<PhaseName> = held.into_iter().map(PhaseName::from).collect();
    let unsure = sqlx::query_scalar!(
        r#"SELECT kind = 'change' AND status = 'abandoned' AS "unsure!" FROM provisioning_runs
           WHERE tenant_id = $1 ORDER BY created_at DESC LIMIT 1"#,
        tenant.0
    )
    .fetch_optional(&mut *connection)
    .await?;
    let now = changes::Now { status, tier, container: row.container.0, unsure: unsure == Some(true) };
    if change.status == Some(TenantStatus::Active) {
        deletion::take_back(connection, tenant, actor).await?;
    }
    let Some(phases) = changes::plan(change, &now, &held) else { return Ok(ChangeOutcome::Already) };
    if phases.is_empty() {
        return Err(ChangeError::Unmade);
    }
    let id = transaction::start_change(connection, tenant, change, &phases, actor).await?;
    Ok(ChangeOutcome::Run { id, seq: 1 })
}
