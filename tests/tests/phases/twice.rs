//! Phases called again, or called to undo what was never done: directly, without the engine around them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use shared::decide::phases::{self, Reads};
use shared::model::{DeploymentType, RunId, Tenant, Tier};
use shared::phase::{
    Checkpoints, Error, Fence, Interrupt, Kind, Operation, Owner, Progress, Result, Scope, Step, StepParts,
    Wait,
};
use shared::runtime::DynPhase;
use tests::{RegionWorld, kubectl, slug};
use tokio_util::sync::CancellationToken;

/// Never lost. What a phase keeps for its next call it finds again, as in the engine: since when a record is gone, say.
#[derive(Default)]
struct Remembering(Mutex<Vec<Operation>>);

#[async_trait]
impl Fence for Remembering {
    async fn record(&self, operations: &[Operation]) -> std::result::Result<(), Interrupt> {
        *self.0.lock().unwrap() = operations.to_vec();
        Ok(())
    }
}

fn step(
    tenant: &Tenant,
    run_id: RunId,
    phase: &dyn DynPhase,
    backward: bool,
    scope: Scope,
    fence: &Arc<Remembering>,
) -> Step {
    let owner = Owner { tenant_id: tenant.id, slug: tenant.slug.clone(), run_id, epoch: 1, scope };
    Step::new(StepParts {
        owner,
        phase: phase.name(),
        backward,
        failures: 0,
        waits: 0,
        waited: Duration::ZERO,
        fence: fence.clone(),
        cancel: CancellationToken::new(),
    })
    .after(fence.0.lock().unwrap().clone(), chrono::Utc::now())
}

/// Calls until there is nothing to wait for.
async fn done<T, F, R>(call: F) -> T
where
    F: Fn() -> R,
    R: Future<Output = Result<Progress<T>>>,
{
    for _ in 0..60 {
        let wait = match call().await {
            Ok(Progress::Done(value)) => return value,
            Ok(Progress::Wait(wait)) | Err(Error { kind: Kind::Parked(wait), .. }) => wait,
            // As the engine has it: nobody's failure.
            Err(Error { kind: Kind::Unavailable { .. }, message, .. }) => {
                Wait { after: Duration::from_millis(500), on: message, fixed: false }
            }
            Err(error) => panic!("{error}"),
        };
        tokio::time::sleep(wait.after).await;
    }
    panic!("waits for ever");
}

/// What plans read of earlier phases.
fn earlier(first: Option<(String, Value)>) -> Checkpoints {
    let address = serde_json::json!({ "address": "192.0.2.1" });
    Checkpoints::new([("DEPLOY_INGRESS_CONTROLLER".to_owned(), address)].into_iter().chain(first).collect())
}

/// Every phase of a tenant's run, connected, with the tenant.
struct Set<'a> {
    world: &'a RegionWorld,
    tenant: Tenant,
    phases: Vec<Arc<dyn DynPhase>>,
    plans: Vec<Value>,
    /// Those that cannot be planned before the first is done: what they do is done on what that makes.
    later: Vec<Arc<dyn DynPhase>>,
}

impl<'a> Set<'a> {
    async fn new(world: &'a RegionWorld, tier: Tier, dedicated: bool) -> Self {
        let slug = slug("twice");
        // Known to the store, whose own rows are some phases' effects; nobody works on its run.
        let id = world.tenant_as(&slug, &["CREATE_NAMESPACE"], |_| {}).await;
        let tenant = Tenant {
            id,
            slug: slug.parse().unwrap(),
            name: "Twice".into(),
            tier,
            region: "eastus".into(),
            admin_email: "admin@twice.example".into(),
            deployment_type: DeploymentType::ContainerPerTenant,
            has_dedicated_database: dedicated,
            cost_center: None,
            alerting: shared::model::Alerting::default(),
            suspended: false,
            container: shared::model::Container::default(),
            domains: Vec::new(),
            created_by: "tester".into(),
            created_at: chrono::Utc::now(),
        };
        let runner = world.registry().await;
        let find = |name| runner.phases().find(|phase| phase.name() == name).cloned();
        let names = phases::plan(DeploymentType::ContainerPerTenant, tier);
        let phases: Vec<_> = names.into_iter().map(|name| find(name).expect("in the registry")).collect();
        let mut set = Self { world, tenant, phases: Vec::new(), plans: Vec::new(), later: phases };
        let first = if tier == Tier::Enterprise { 1 } else { set.later.len() };
        set.plan(first, None);
        set
    }

    /// Plans so many of the later phases.
    fn plan(&mut self, count: usize, first: Option<&Value>) {
        let first = first.map(|checkpoint| (self.phases[0].name().to_string(), checkpoint.clone()));
        let earlier = earlier(first);
        for phase in self.later.drain(..count) {
            self.plans.push(phase.plan(&self.tenant, &self.world.platform, &earlier).unwrap());
            self.phases.push(phase);
        }
    }

    async fn apply(&self, run: RunId) -> Vec<Value> {
        let mut checkpoints = Vec::new();
        for (phase, plan) in self.phases.iter().zip(&self.plans) {
            let fence = Arc::default();
            let call = || async {
                phase.apply(plan, &step(&self.tenant, run, phase.as_ref(), false, Scope::Run, &fence)).await
            };
            checkpoints.push(done(call).await);
        }
        checkpoints
    }

    async fn revert(&self, run: RunId, scope: Scope, checkpoints: Option<&Vec<Value>>) {
        self.revert_from(0, run, scope, checkpoints).await;
    }

    /// Only those from the nth on.
    async fn revert_from(&self, from: usize, run: RunId, scope: Scope, checkpoints: Option<&Vec<Value>>) {
        for (nth, phase) in self.phases.iter().enumerate().skip(from).rev() {
            let checkpoint = checkpoints.map(|all| &all[nth]);
            // Twice in a row, each time to its end.
            for _ in 0..2 {
                let fence = Arc::default();
                let call = || async {
                    let step = step(&self.tenant, run, phase.as_ref(), true, scope, &fence);
                    phase.revert(&self.plans[nth], checkpoint, &step).await
                };
                done(call).await;
            }
        }
    }

    async fn outside(&self) -> Vec<String> {
        self.world.outside(self.tenant.slug.as_str(), self.tenant.id).await
    }

    /// As [`Set::outside`], without what is known of a tofu that has ended.
    async fn lasting(&self) -> Vec<String> {
        let mut there = self.outside().await;
        there.retain(|line| !line.contains(" tf-"));
        there
    }

    /// Name and revision of each release.
    async fn releases(&self) -> Vec<(String, String)> {
        let namespace = format!("matih-{}", self.tenant.slug);
        let secrets = ["get", "secrets", "-l", "owner=helm", "-n", &namespace, "-o", "json"];
        let secrets: Value = serde_json::from_str(&kubectl(&secrets).await).unwrap();
        let labels = secrets["items"].as_array().unwrap().iter().map(|secret| &secret["metadata"]["labels"]);
        labels.map(|labels| (labels["name"].to_string(), labels["version"].to_string())).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_apply_and_every_revert_may_be_called_again_or_in_vain() {
    RegionWorld::run(
        |_| {},
        |world| async move {
            let all = [(Tier::Free, false), (Tier::Professional, true), (Tier::Enterprise, true)];
            futures::future::join_all(all.map(|(tier, dedicated)| called_again(&world, tier, dedicated)))
                .await;
        },
    )
    .await;
}

async fn called_again(world: &RegionWorld, tier: Tier, dedicated: bool) {
    let mut set = Set::new(world, tier, dedicated).await;
    let run = RunId::generate();
    // Undone before anything was done.
    set.revert(run, Scope::Run, None).await;
    set.revert(run, Scope::Tenant, None).await;
    assert_eq!(set.outside().await, [""; 0]);
    if !set.later.is_empty() {
        let first = set.apply(run).await.remove(0);
        set.plan(set.later.len(), Some(&first));
        // Undone before anything of them was done.
        set.revert_from(1, run, Scope::Run, None).await;
    }
    // Done twice. Objects of another uid would be other objects.
    let checkpoints = set.apply(run).await;
    let once = set.lasting().await;
    let own = tier == Tier::Enterprise;
    let of_kind = |kind: &str| once.iter().filter(|line| line.starts_with(kind)).count();
    assert_eq!((of_kind("role "), of_kind("instance ")), (usize::from(!own), usize::from(own)), "{once:#?}");
    // tenant-api, nine services, the ingress controller, Grafana and the collector.
    assert_eq!(once.iter().filter(|line| line.starts_with("Deployment ")).count(), 13, "{once:#?}");
    set.apply(run).await;
    assert_eq!(set.lasting().await, once);
    let releases = set.releases().await;
    assert_eq!(releases.len(), 12, "{releases:?}");
    assert!(releases.iter().all(|(_, revision)| revision == "\"1\""), "{releases:?}");
    // Done again by a later run, whose rollback takes nothing of what was there before it.
    let later = RunId::generate();
    let again = set.apply(later).await;
    assert_eq!(set.lasting().await, once);
    set.revert(later, Scope::Run, Some(&again)).await;
    assert_eq!(set.lasting().await, once);
    // Undone twice; for one tenant as after a lost checkpoint.
    set.revert(run, Scope::Run, dedicated.then_some(&checkpoints)).await;
    assert_eq!(set.outside().await, [""; 0]);
}

/// What a change does to a tenant.
type Change = fn(&mut Tenant);

/// Else a change would leave a phase out that it concerns, and nobody would notice.
#[tokio::test(flavor = "multi_thread")]
async fn a_phase_says_which_changes_its_plan_follows_from() {
    RegionWorld::run(
        |_| {},
        |world| async move {
            let set = Set::new(&world, Tier::Professional, true).await;
            let changes: [(Reads, Change); 3] = [
                (Reads::Tier, |tenant| tenant.tier = Tier::Free),
                (Reads::Suspension, |tenant| tenant.suspended = true),
                (Reads::Container, |tenant| tenant.container.image = Some("own/api:2".into())),
            ];
            for (reads, change) in changes {
                let mut tenant = set.tenant.clone();
                change(&mut tenant);
                for (phase, plan) in set.phases.iter().zip(&set.plans) {
                    let says = phases::facts(&phase.name()).unwrap().reads.contains(&reads);
                    let planned = phase.plan(&tenant, &world.platform, &earlier(None)).unwrap();
                    assert_eq!(planned != *plan, says, "{}: {reads:?}", phase.name());
                }
            }
        },
    )
    .await;
}
