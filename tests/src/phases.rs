//! Phases whose effects are rows of a real table, for tests of the engine.

use std::sync::Arc;

use async_trait::async_trait;
use engine::phase::{Checkpoints, Progress, Result, Step};
use engine::runtime::DynPhase;
use futures::future::BoxFuture;
use model::platform::Platform;
use model::{PhaseName, Tenant};
use serde_json::{Value, json};
use sqlx::PgPool;

/// What a scripted phase does besides its effect, in words of the test: gets the step and how often the phase was entered
/// in this direction.
pub type Act = Arc<dyn Fn(Arc<Attempt>) -> BoxFuture<'static, Result<Progress<()>>> + Send + Sync>;

/// One entry into a phase.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The tenant's slug.
    pub slug: String,
    /// How often the phase was entered in this direction for this tenant, this time included.
    pub entered: i64,
}

/// A phase that writes a row into `effects` for everything it does. The table is the outside world of these tests: it
/// knows nothing of runs, seqs or claims, so a thing done twice is there twice.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a handle with nothing to show")]
pub struct Scripted {
    name: PhaseName,
    world: PgPool,
    apply: Option<Act>,
    revert: Option<Act>,
    telling: bool,
}

impl Scripted {
    /// A phase that succeeds at once.
    pub fn new(name: &'static str, world: &PgPool) -> Self {
        Self { name: PhaseName::new(name), world: world.clone(), apply: None, revert: None, telling: false }
    }

    /// What it does before it applies its effect.
    #[must_use]
    pub fn on_apply<F, R>(mut self, act: F) -> Self
    where
        F: Fn(Arc<Attempt>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Progress<()>>> + Send + 'static,
    {
        self.apply = Some(Arc::new(move |attempt| Box::pin(act(attempt))));
        self
    }

    /// What it does before it reverts its effect.
    #[must_use]
    pub fn on_revert<F, R>(mut self, act: F) -> Self
    where
        F: Fn(Arc<Attempt>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Progress<()>>> + Send + 'static,
    {
        self.revert = Some(Arc::new(move |attempt| Box::pin(act(attempt))));
        self
    }

    /// Its effect says which tier it is for, and whether the tenant is suspended: `as free`, `as free, suspended`.
    #[must_use]
    pub fn telling(mut self) -> Self {
        self.telling = true;
        self
    }

    /// As the runtime wants it.
    pub fn arc(self) -> Arc<dyn DynPhase> {
        Arc::new(self)
    }

    async fn enter(&self, step: &Step, what: &str) -> Arc<Attempt> {
        let slug = step.owner().slug.to_string();
        self.write(&slug, &format!("enter {what}")).await;
        let entered =
            sqlx::query_scalar("SELECT count(*) FROM effects WHERE slug = $1 AND phase = $2 AND what = $3")
                .bind(&slug)
                .bind(self.name.as_str())
                .bind(format!("enter {what}"))
                .fetch_one(&self.world)
                .await
                .expect("effects table");
        Arc::new(Attempt { slug, entered })
    }

    async fn write(&self, slug: &str, what: &str) {
        sqlx::query("INSERT INTO effects (slug, phase, what) VALUES ($1, $2, $3)")
            .bind(slug)
            .bind(self.name.as_str())
            .bind(what)
            .execute(&self.world)
            .await
            .expect("effects table");
    }

    async fn go(
        &self,
        step: &Step,
        what: &'static str,
        plan: &Value,
        act: Option<&Act>,
    ) -> Result<Progress<()>> {
        let attempt = self.enter(step, what).await;
        if let Some(act) = act {
            step.wait_for("prepare", act(attempt)).await?;
        }
        let slug = step.owner().slug.to_string();
        step.operation("effect", async {
            self.write(&slug, what).await;
            if let (true, "apply", Some(shape)) = (self.telling, what, plan["as"].as_str()) {
                self.write(&slug, &format!("as {shape}")).await;
            }
            Ok(())
        })
        .await?;
        Ok(Progress::Done(()))
    }
}

#[async_trait]
impl DynPhase for Scripted {
    fn name(&self) -> PhaseName {
        self.name.clone()
    }

    fn plan(&self, tenant: &Tenant, _platform: &Platform, _earlier: &Checkpoints) -> Result<Value> {
        let suspended = if tenant.suspended { ", suspended" } else { "" };
        Ok(json!({ "slug": tenant.slug, "as": format!("{}{suspended}", tenant.tier) }))
    }

    async fn apply(&self, plan: &Value, step: &Step) -> Result<Progress<Value>> {
        Ok(match self.go(step, "apply", plan, self.apply.as_ref()).await? {
            Progress::Done(()) => Progress::Done(json!({ "by": step.owner().run_id })),
            Progress::Wait(wait) => Progress::Wait(wait),
        })
    }

    async fn revert(&self, plan: &Value, _done: Option<&Value>, step: &Step) -> Result<Progress<()>> {
        self.go(step, "revert", plan, self.revert.as_ref()).await
    }
}
