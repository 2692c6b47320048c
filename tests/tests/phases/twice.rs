//! Phases called again, or called to undo what was never done.

use engine::phase::Scope;
use model::{RunId, Tenant, Tier};
use tenants::phases::{self, Reads};
use tests::RegionWorld;

use crate::direct::{Set, earlier};

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
    // The other phases of an enterprise tenant cannot be planned before the first is done: what they do is done on what
    // that makes.
    set.plan(if tier == Tier::Enterprise { 1 } else { set.later.len() }, &earlier(None));
    let run = RunId::generate();
    // Undone before anything was done.
    set.revert_twice(run, Scope::Run, None).await;
    set.revert_twice(run, Scope::Tenant, None).await;
    assert_eq!(set.outside().await, [""; 0]);
    if !set.later.is_empty() {
        let first = set.apply(run).await.remove(0);
        set.plan(set.later.len(), &earlier(Some((set.phases[0].name().to_string(), first))));
        // Undone before anything of them was done.
        set.revert_twice_from(1, run, Scope::Run, None).await;
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
    set.revert_twice(later, Scope::Run, Some(&again)).await;
    assert_eq!(set.lasting().await, once);
    // Undone twice; for one tenant as after a lost checkpoint.
    set.revert_twice(run, Scope::Run, dedicated.then_some(&checkpoints)).await;
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
            let mut set = Set::new(&world, Tier::Professional, true).await;
            set.plan(set.later.len(), &earlier(None));
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
