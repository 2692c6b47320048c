//! A tenant's phases called directly, without the engine around them.

use std::sync::Arc;
use std::time::Duration;

use engine::phase::{Checkpoints, Error, Kind, Progress, Result, Scope, Step, Wait};
use engine::runtime::DynPhase;
use model::{DeploymentType, RunId, Tenant, Tier};
use serde_json::Value;
use tenants::phases;
use testing::{ClaimedStep, LastRecord};
use tests::{Failpoints, RegionWorld, kubectl, slug};

fn step(
    tenant: &Tenant,
    run_id: RunId,
    phase: &dyn DynPhase,
    backward: bool,
    scope: Scope,
    fence: &Arc<LastRecord>,
) -> Step {
    // What a phase keeps for its next call it finds again, as in the engine: since when a record is gone, say.
    ClaimedStep::new(phase.name(), tenant, run_id)
        .scope(scope)
        .backward(backward)
        .fence(fence.clone())
        .step()
        .after(fence.operations(), chrono::Utc::now())
        .with_hook(Failpoints::of_this_process().hook())
}

/// Calls until there is nothing to wait for, or until it fails.
async fn ended<T, F, R>(call: F) -> Result<T>
where
    F: Fn() -> R,
    R: Future<Output = Result<Progress<T>>>,
{
    for _ in 0..60 {
        let wait = match call().await {
            Ok(Progress::Done(value)) => return Ok(value),
            Ok(Progress::Wait(wait)) | Err(Error { kind: Kind::Parked(wait), .. }) => wait,
            // As the engine has it: nobody's failure.
            Err(Error { kind: Kind::Unavailable { .. }, message, .. }) => {
                Wait { after: Duration::from_millis(500), on: message, fixed: false }
            }
            Err(error) => return Err(error),
        };
        tokio::time::sleep(wait.after).await;
    }
    panic!("waits for ever");
}

/// What plans read of earlier phases, where those are planned before the phases they read of are done.
pub fn earlier(first: Option<(String, Value)>) -> Checkpoints {
    let address = serde_json::json!({ "address": "192.0.2.1" });
    Checkpoints::new([("DEPLOY_INGRESS_CONTROLLER".to_owned(), address)].into_iter().chain(first).collect())
}

/// A tenant with the phases of its run, connected.
pub struct Set<'a> {
    pub world: &'a RegionWorld,
    pub tenant: Tenant,
    /// Those that are planned.
    pub phases: Vec<Arc<dyn DynPhase>>,
    pub plans: Vec<Value>,
    /// Those that are not planned yet.
    pub later: Vec<Arc<dyn DynPhase>>,
}

impl<'a> Set<'a> {
    /// None of the phases is planned.
    pub async fn new(world: &'a RegionWorld, tier: Tier, dedicated: bool) -> Self {
        let slug = slug("direct");
        // Known to the store, whose own rows are some phases' effects; nobody works on its run.
        let id = world.tenant_as(&slug, &["CREATE_NAMESPACE"], |_| {}).await;
        let tenant = Tenant {
            id,
            slug: slug.parse().unwrap(),
            tier,
            has_dedicated_database: dedicated,
            ..testing::tenant("direct")
        };
        let runner = world.registry().await;
        let find = |name| runner.phases().find(|phase| phase.name() == name).cloned();
        let names = phases::plan(DeploymentType::ContainerPerTenant, tier);
        let later = names.into_iter().map(|name| find(name).expect("in the registry")).collect();
        Self { world, tenant, phases: Vec::new(), plans: Vec::new(), later }
    }

    /// Plans so many of the later phases.
    pub fn plan(&mut self, count: usize, earlier: &Checkpoints) {
        for phase in self.later.drain(..count) {
            self.plans.push(phase.plan(&self.tenant, &self.world.platform, earlier).unwrap());
            self.phases.push(phase);
        }
    }

    /// Does the nth planned phase; its checkpoint, and the names of its operations.
    pub async fn apply_one(&self, nth: usize, run: RunId) -> Result<(Value, Vec<String>)> {
        let (phase, fence) = (&self.phases[nth], Arc::default());
        let call = || async {
            let step = step(&self.tenant, run, phase.as_ref(), false, Scope::Run, &fence);
            phase.apply(&self.plans[nth], &step).await
        };
        let checkpoint = ended(call).await?;
        let operations = fence.operations().into_iter().map(|operation| operation.name).collect();
        Ok((checkpoint, operations))
    }

    /// Does all that are planned.
    pub async fn apply(&self, run: RunId) -> Vec<Value> {
        let mut checkpoints = Vec::new();
        for nth in 0..self.phases.len() {
            checkpoints.push(self.apply_one(nth, run).await.unwrap().0);
        }
        checkpoints
    }

    /// Undoes the nth.
    pub async fn revert_one(&self, nth: usize, run: RunId, scope: Scope, checkpoint: Option<&Value>) {
        let (phase, fence) = (&self.phases[nth], Arc::default());
        let call = || async {
            let step = step(&self.tenant, run, phase.as_ref(), true, scope, &fence);
            phase.revert(&self.plans[nth], checkpoint, &step).await
        };
        ended(call).await.unwrap_or_else(|error| panic!("{}: {error}", phase.name()));
    }

    /// Undoes all that are planned, the last first, each twice in a row.
    pub async fn revert_twice(&self, run: RunId, scope: Scope, checkpoints: Option<&Vec<Value>>) {
        self.revert_twice_from(0, run, scope, checkpoints).await;
    }

    /// As [`Set::revert_twice`], only those from the nth on.
    pub async fn revert_twice_from(
        &self,
        from: usize,
        run: RunId,
        scope: Scope,
        checkpoints: Option<&Vec<Value>>,
    ) {
        for nth in (from..self.phases.len()).rev() {
            for _ in 0..2 {
                self.revert_one(nth, run, scope, checkpoints.map(|all| &all[nth])).await;
            }
        }
    }

    /// What there is of the tenant outside.
    pub async fn outside(&self) -> Vec<String> {
        self.world.outside(self.tenant.slug.as_str(), self.tenant.id).await
    }

    /// As [`Set::outside`], without what is known of a tofu that has ended, and without what Kubernetes itself puts into each
    /// namespace when it gets round to it.
    pub async fn lasting(&self) -> Vec<String> {
        let mut there = self.outside().await;
        let other = [" tf-", "/kube-root-ca.crt ", "/default "];
        there.retain(|line| !other.iter().any(|other| line.contains(other)));
        there.sort();
        there
    }

    /// As [`Set::lasting`], once two looks in a row show the same: what a controller makes of what a phase has made may come
    /// a little later.
    pub async fn at_rest(&self) -> Vec<String> {
        let mut last = self.lasting().await;
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = self.lasting().await;
            if now == last {
                return now;
            }
            last = now;
        }
        panic!("no rest: {last:#?}");
    }

    /// Name and revision of each release.
    pub async fn releases(&self) -> Vec<(String, String)> {
        let namespace = format!("matih-{}", self.tenant.slug);
        let secrets = ["get", "secrets", "-l", "owner=helm", "-n", &namespace, "-o", "json"];
        let secrets: Value = serde_json::from_str(&kubectl(&secrets).await).unwrap();
        let labels = secrets["items"].as_array().unwrap().iter().map(|secret| &secret["metadata"]["labels"]);
        labels.map(|labels| (labels["name"].to_string(), labels["version"].to_string())).collect()
    }
}
