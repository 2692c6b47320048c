//! What the engine is told of the tenants, and asks about them.

use async_trait::async_trait;
use engine::decide::run::{RunKind, RunStatus};
use engine::phase::ErrorRecord;
use engine::store::{PhaseTraits, RunTransition, StoreError, StoreResult, Tenancy};
use model::platform::Region;
use model::{PhaseName, TenantId};
use sqlx::PgConnection;

use crate::store::{domains, read, regions};
use crate::{notices, phases};

/// The platform's tenants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlatformTenants;

#[async_trait]
impl Tenancy for PlatformTenants {
    fn phase(&self, name: &PhaseName) -> Option<PhaseTraits> {
        phases::facts(name).map(|facts| PhaseTraits {
            skippable: facts.skippable,
            undo_guards: facts.undo_guards,
            depends: facts.depends,
        })
    }

    async fn phases(&self, connection: &mut PgConnection, tenant: TenantId) -> StoreResult<Vec<PhaseName>> {
        let row = read::tenant(connection, tenant).await?;
        let row = row.ok_or_else(|| StoreError::unreadable("a run without a tenant"))?;
        let deployment = row.deployment_strategy.parse().map_err(StoreError::unreadable)?;
        Ok(phases::plan(deployment, row.tier.parse().map_err(StoreError::unreadable)?))
    }

    async fn region(&self, connection: &mut PgConnection, key: &str) -> StoreResult<Option<(i64, Region)>> {
        let row = regions::one(connection, key).await?;
        Ok(row.map(|row| (row.version, row.region.0)))
    }

    async fn ended(&self, connection: &mut PgConnection, run: &RunTransition<'_>) -> StoreResult<()> {
        if run.cause.kind == RunKind::Change {
            changed(&mut *connection, run).await?;
        }
        notices::tell_ended(connection, run).await
    }

    async fn halted(
        &self,
        connection: &mut PgConnection,
        run: &RunTransition<'_>,
        error: &ErrorRecord,
    ) -> StoreResult<()> {
        notices::tell_halted(connection, run, error).await
    }
}

/// The tenant is as the change says from now on; or what the change was to bring is still to be done.
async fn changed(connection: &mut PgConnection, run: &RunTransition<'_>) -> StoreResult<()> {
    let tenant = run.cause.tenant.id;
    if run.to.status != RunStatus::Succeeded {
        return domains::not_served(connection, tenant, run.run_id).await;
    }
    sqlx::query!(
        r#"UPDATE tenants t
               SET tier = COALESCE(r.change->>'tier', t.tier), container = COALESCE(r.change->'container', t.container),
                   deployment_reason = COALESCE(r.change->>'deploymentReason', t.deployment_reason)
               FROM provisioning_runs r WHERE r.id = $2 AND t.id = $1"#,
        tenant.0,
        run.run_id.0
    )
    .execute(connection)
    .await?;
    Ok(())
}
