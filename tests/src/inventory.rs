//! The inventory of the tests' world: what the table `effects` says is there.

use async_trait::async_trait;
use engine::phase::{Checkpoints, Error, Progress, Result, Step};
use engine::runtime::DynPhase;
use model::platform::Platform;
use model::{PhaseName, Tenant};
use serde_json::{Value, json};
use sqlx::PgPool;

/// Ends a backward run: finds every effect that was applied and not reverted since.
#[derive(Clone, Debug)]
pub struct Inventory(pub PgPool);

#[async_trait]
impl DynPhase for Inventory {
    fn name(&self) -> PhaseName {
        PhaseName::TAKE_INVENTORY
    }

    fn plan(&self, tenant: &Tenant, _: &Platform, _: &Checkpoints) -> Result<Value> {
        Ok(json!({ "slug": tenant.slug }))
    }

    async fn apply(&self, _: &Value, _: &Step) -> Result<Progress<Value>> {
        Err(Error::fatal("backward_only", "an inventory ends a backward run"))
    }

    async fn revert(&self, _: &Value, _: Option<&Value>, step: &Step) -> Result<Progress<()>> {
        let left =
            step.operation("inventory", async { Ok(self.left(step.owner().slug.as_str()).await) }).await?;
        if left.is_empty() {
            return Ok(Progress::Done(()));
        }
        Err(Error::retryable("left_over", format!("left: {}", left.join(", "))))
    }
}

impl Inventory {
    async fn left(&self, slug: &str) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT phase FROM (SELECT DISTINCT ON (phase) phase, what FROM effects \
             WHERE slug = $1 AND what IN ('apply', 'revert') ORDER BY phase, id DESC) last \
             WHERE what = 'apply' ORDER BY phase",
        )
        .bind(slug)
        .fetch_all(&self.0)
        .await
        .expect("effects table")
    }
}
