//! SIGKILL of our own programs in the middle of a run.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use model::TenantId;
use serde_json::Value;
use tenants::StatusRow;
use tests::process::Process;
use tests::{Site, fresh_slug, hasty, outside};

use crate::whole::PHASES;

/// An operation in the middle of each phase, and on which side of it the process dies.
const PLACES: [(&str, &str, &str); 13] = [
    ("CREATE_NAMESPACE", "rbac", "before"),
    ("PROVISION_DEPLOYMENT", "deployment", "after"),
    ("ISSUE_LICENSE", "issue license", "after"),
    ("SETUP_DATABASE", "initialize database", "after"),
    ("CREATE_BOOTSTRAP_USER", "create administrator", "after"),
    ("DEPLOY_CORE_SERVICES", "install ai-service", "after"),
    ("CONFIGURE_NETWORKING", "allow-same-namespace", "after"),
    ("DEPLOY_DATA_SERVICES", "install ml-service", "before"),
    ("DEPLOY_INGRESS_CONTROLLER", "release", "after"),
    ("CREATE_DNS_ZONE", "delegation", "after"),
    ("CREATE_TENANT_INGRESS", "certificate", "after"),
    ("DEPLOY_MONITORING", "dashboards", "before"),
    ("SETUP_OBSERVABILITY", "log and trace pipeline", "before"),
];

fn abort((phase, operation, edge): (&str, &str, &str), slug: &str) -> String {
    [slug, phase, "apply", operation, edge, "abort"].join("\t")
}

/// Nothing was done wrongly twice: one database and one role, whose password is that of the Secret; each Helm release
/// once, and none of its revisions failed or pending.
async fn all_is_as_after_one_run(slug: &str, tenant: TenantId) {
    let namespace = format!("matih-{slug}");
    assert_eq!(outside::databases_and_roles(tenant).await.len(), 2, "one database, one role");
    outside::log_in(&namespace).await;
    let releases = outside::objects(&["secrets", "--namespace", &namespace, "--selector", "owner=helm"]);
    let label = |release: &Value, name: &str| {
        release["metadata"]["labels"][name].as_str().expect("a label of Helm's").to_owned()
    };
    let mut deployed = Vec::new();
    for release in &releases {
        match label(release, "status").as_str() {
            "deployed" => deployed.push(label(release, "name")),
            "superseded" => {}
            other => panic!("{} is {other}", release["metadata"]["name"]),
        }
    }
    deployed.sort();
    let once: BTreeSet<&String> = deployed.iter().collect();
    // Nine services, the ingress controller, Grafana and the collector.
    assert_eq!((deployed.len(), once.len()), (12, 12), "each release is there once: {deployed:?}");
}

/// Every phase has lost its worker and has not failed. A machine so slow that a living worker loses its short lease too
/// may count more than the one that was killed.
fn charged_as_lost(row: &StatusRow) {
    for name in PHASES {
        let phase = row.phases.iter().find(|phase| phase.name == name).expect("a phase");
        assert_eq!(phase.total_failures, 0, "{phase:#?}");
        assert!(phase.lost >= 1, "{phase:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_killed_in_the_middle_of_each_phase_goes_on_when_started_again() {
    Site::run_with(hasty, |site| async move {
        let (_service, api) = site.tenant_service().await;
        let slug = fresh_slug("kill");
        site.failpoints(&[&abort(PLACES[0], &slug)]);
        let tenant = api.create(&slug).await;
        let mut password = None;
        for place in PLACES {
            site.failpoints(&[&abort(place, &slug)]);
            site.dispatcher().end_by_kill().await;
            let now = outside::password(&format!("matih-{slug}"));
            assert!(password.is_none() || password == now, "the password stays as it was");
            password = now;
        }
        site.failpoints(&[]);
        let _dispatcher = site.dispatcher();
        let row = site.until(tenant, "ACTIVE").await;
        charged_as_lost(&row);
        assert!(password.is_some() && outside::password(&format!("matih-{slug}")) == password);
        all_is_as_after_one_run(&slug, tenant).await;
        api.delete(tenant).await;
        site.until(tenant, "DELETED").await;
        site.nothing_is_left(&slug, tenant).await;
    })
    .await;
}

/// Starts and kills dispatchers at random times until the tenant is `wanted`, at most `times`; then lets one work.
async fn under_fire(site: &Site, tenant: TenantId, times: usize, wanted: &str) {
    for _ in 0..times {
        let mut dispatcher = site.dispatcher();
        tokio::time::sleep(Duration::from_millis(rand::random_range(300..4_000))).await;
        dispatcher.kill();
        if site.world.status(tenant).await.tenant.status == wanted {
            return;
        }
    }
    let _dispatcher = site.dispatcher();
    site.until(tenant, wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_killed_at_any_time_goes_on_when_started_again() {
    Site::run_with(hasty, |site| async move {
        let (_service, api) = site.tenant_service().await;
        let slug = fresh_slug("fire");
        let tenant = api.create(&slug).await;
        under_fire(&site, tenant, 5, "ACTIVE").await;
        let row = site.world.status(tenant).await;
        let told = site.world.store.audit(tenant, 0, 10_000).await.expect("audit log");
        assert!(row.phases.iter().all(|phase| phase.total_failures == 0), "{told:#?}");
        all_is_as_after_one_run(&slug, tenant).await;
        api.delete(tenant).await;
        under_fire(&site, tenant, 2, "DELETED").await;
        let _dispatcher = site.dispatcher();
        site.nothing_is_left(&slug, tenant).await;
    })
    .await;
}

/// Waits until one of the functions' processes is gone.
async fn one_dies(functions: &Process) {
    let began = Instant::now();
    let mut seen = BTreeSet::new();
    loop {
        let now: BTreeSet<u32> = functions.functions().into_iter().collect();
        if seen.difference(&now).next().is_some() {
            return;
        }
        seen.extend(now);
        assert!(began.elapsed() < Duration::from_mins(3), "no function dies");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_killed_in_the_middle_of_each_phase_is_charged_as_lost_and_not_as_failed() {
    Site::run_with(hasty, |site| async move {
        let (functions, endpoint) = site.functions().await;
        let (_service, api) = site.tenant_service().await;
        let slug = fresh_slug("fnkill");
        site.failpoints(&[&abort(PLACES[0], &slug)]);
        let _dispatcher = site.dispatcher_of(&endpoint);
        let tenant = api.create(&slug).await;
        for nth in 1..=PLACES.len() {
            // Its invocation is never answered; nobody can take the step before the lease is over, which leaves time to
            // lift the failpoint.
            one_dies(&functions).await;
            let next: Vec<String> = PLACES.get(nth).map(|place| abort(*place, &slug)).into_iter().collect();
            site.failpoints(&next.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let row = site.until(tenant, "ACTIVE").await;
        charged_as_lost(&row);
        all_is_as_after_one_run(&slug, tenant).await;
        api.delete(tenant).await;
        site.until(tenant, "DELETED").await;
        site.nothing_is_left(&slug, tenant).await;
    })
    .await;
}
