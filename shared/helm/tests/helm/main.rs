//! Releases on a real API server with the real helm and a real chart repository.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails here")]

mod repository;
mod stack;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use engine::phase::{Kind, Progress, Scope};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServicePort, ServiceSpec};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use model::{RunId, TenantId};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use repository::Repository;
use serde_json::json;
use stack::{PREFIX, ReleaseFixture, exists, helms_of};
use testing::required;
use tokio_util::sync::CancellationToken;

/// Where the slow chart hangs while it is deployed.
const DEPLOY: &str = "post-install,post-upgrade";

#[tokio::test]
async fn installed_twice_is_one_revision() {
    let place = ReleaseFixture::new().await;
    let (release, owner, step) = (place.query_engine(), place.owner(Scope::Run), place.step());
    let first = place.helm.ensure_release(&release, &owner, &step).await.unwrap();
    let second = place.helm.ensure_release(&release, &owner, &step).await.unwrap();
    assert_eq!(first, second);
    assert_eq!((first.revision, first.created_by), (1, Some(place.run)));
    assert_eq!(place.statuses("query-engine").await, ["deployed"]);
    let found = place.helm.inventory(place.tenant, PREFIX).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].name.as_str(), found[0].status.as_str()), ("query-engine", "deployed"));
}

#[tokio::test]
async fn changed_values_are_an_upgrade_that_keeps_owner_and_first_run() {
    let mut place = ReleaseFixture::new().await;
    let mut release = place.query_engine();
    place.helm.ensure_release(&release, &place.owner(Scope::Run), &place.step()).await.unwrap();
    let first = place.run;
    place.run = RunId::generate();
    release.values = json!({ "replicaCount": 2 });
    let upgraded =
        place.helm.ensure_release(&release, &place.owner(Scope::Run), &place.step()).await.unwrap();
    assert_eq!((upgraded.revision, upgraded.created_by), (2, Some(first)));
    let storage = place.storage("query-engine").await;
    for (status, secret) in &storage {
        assert_eq!(secret.labels()["matih.ai/tenant-id"], place.tenant.to_string(), "{status}");
        assert_eq!(secret.labels()["matih.ai/run-id"], first.to_string(), "{status}");
    }
    let deployments: Api<Deployment> = Api::namespaced(place.client.clone(), &place.namespace);
    assert_eq!(deployments.get("query-engine").await.unwrap().spec.replicas, Some(2));
}

#[tokio::test]
async fn a_foreign_release_is_refused_and_stays_as_it_is() {
    let place = ReleaseFixture::new().await;
    let repository = format!("--repo={}", required("CHART_REPOSITORY_URL"));
    let namespace = format!("--namespace={}", place.namespace);
    let theirs = Command::new("helm")
        .args(["install", "query-engine", "query-engine", &repository, &namespace])
        .output()
        .unwrap();
    assert!(theirs.status.success(), "{}", String::from_utf8_lossy(&theirs.stderr));
    let before = place.storage("query-engine").await[0].1.resource_version();

    let (release, owner, step) = (place.query_engine(), place.owner(Scope::Tenant), place.step());
    let refused = place.helm.ensure_release(&release, &owner, &step).await.unwrap_err();
    assert_eq!((refused.kind, refused.code), (Kind::Fatal, "foreign_object"));
    let left = place
        .helm
        .ensure_uninstalled(&release.namespace, "query-engine", PREFIX, &owner, &step)
        .await
        .unwrap();
    assert_eq!(left, Progress::Done(()));
    let after = place.storage("query-engine").await;
    assert_eq!((after.len(), after[0].1.resource_version()), (1, before));
}

#[tokio::test]
async fn a_foreign_object_in_the_releases_place_is_refused_and_stays() {
    let place = ReleaseFixture::new().await;
    let services: Api<Service> = Api::namespaced(place.client.clone(), &place.namespace);
    let mut theirs = Service {
        spec: Some(ServiceSpec {
            ports: Some(vec![ServicePort { port: 1, ..ServicePort::default() }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    theirs.metadata.name = Some("query-engine".into());
    let before = services.create(&PostParams::default(), &theirs).await.unwrap();

    let (release, owner, step) = (place.query_engine(), place.owner(Scope::Run), place.step());
    let refused = place.helm.ensure_release(&release, &owner, &step).await.unwrap_err();
    assert_eq!((refused.kind, refused.code), (Kind::Fatal, "foreign_object"));
    assert!(refused.message.contains("Service \"query-engine\""), "{}", refused.message);
    place.helm.ensure_uninstalled(&release.namespace, "query-engine", PREFIX, &owner, &step).await.unwrap();
    let after = services.get("query-engine").await.unwrap();
    assert_eq!(after.resource_version(), before.resource_version());
}

/// Starts the slow chart, and kills its helm once the release has this status.
async fn kill_helm_at(
    place: &ReleaseFixture,
    repository: &Repository,
    values: serde_json::Value,
    status: &str,
) {
    let release = place.release("slow", &repository.url, values);
    let (owner, step) = (place.owner(Scope::Run), place.step());
    let work = place.helm.ensure_release(&release, &owner, &step);
    let kill = async {
        place.until("slow", status).await;
        let helms = helms_of(&place.namespace);
        assert_eq!(helms.len(), 1, "{helms:?}");
        kill(Pid::from_raw(helms[0]), Signal::SIGKILL).unwrap();
    };
    let (died, ()) = tokio::join!(work, kill);
    let died = died.unwrap_err();
    assert_eq!((died.kind, died.code), (Kind::Retryable, "helm_failed"));
}

#[tokio::test]
async fn a_helm_killed_in_the_middle_of_an_install_is_recovered() {
    let (place, repository) = (ReleaseFixture::new().await, Repository::start().await);
    kill_helm_at(&place, &repository, json!({ "text": "a", "hang": DEPLOY }), "pending-install").await;
    assert_eq!(place.statuses("slow").await, ["pending-install"]);

    let release = place.release("slow", &repository.url, json!({ "text": "a" }));
    let (owner, step) = (place.owner(Scope::Run), place.step());
    let ensured = place.helm.ensure_release(&release, &owner, &step).await.unwrap();
    assert_eq!(ensured.created_by, Some(place.run));
    assert_eq!(place.statuses("slow").await, ["deployed"]);
}

#[tokio::test]
async fn a_helm_killed_in_the_middle_of_an_upgrade_is_recovered() {
    let (place, repository) = (ReleaseFixture::new().await, Repository::start().await);
    let before = place.release("slow", &repository.url, json!({ "text": "before" }));
    let (owner, step) = (place.owner(Scope::Run), place.step());
    place.helm.ensure_release(&before, &owner, &step).await.unwrap();
    let broken = json!({ "text": "broken", "extra": true, "hang": DEPLOY });
    kill_helm_at(&place, &repository, broken, "pending-upgrade").await;

    let after = place.release("slow", &repository.url, json!({ "text": "after" }));
    let ensured = place.helm.ensure_release(&after, &owner, &step).await.unwrap();
    assert_eq!(ensured.created_by, Some(place.run));
    assert_eq!(place.statuses("slow").await.last().unwrap(), "deployed");
    let maps: Api<ConfigMap> = Api::namespaced(place.client.clone(), &place.namespace);
    assert_eq!(maps.get("slow").await.unwrap().data.unwrap()["text"], "after");
    assert!(
        maps.get_opt("slow-extra").await.unwrap().is_none(),
        "what the killed upgrade added is left over"
    );
    // Once more: settled.
    assert_eq!(place.helm.ensure_release(&after, &owner, &step).await.unwrap(), ensured);
}

#[tokio::test]
async fn a_release_left_pending_is_removed_by_a_rollback() {
    let (place, repository) = (ReleaseFixture::new().await, Repository::start().await);
    kill_helm_at(&place, &repository, json!({ "text": "a", "hang": DEPLOY }), "pending-install").await;
    let (owner, step) = (place.owner(Scope::Run), place.step());
    let release = place.release("slow", &repository.url, json!({}));
    place.helm.ensure_uninstalled(&release.namespace, "slow", PREFIX, &owner, &step).await.unwrap();
    assert!(place.statuses("slow").await.is_empty());
    let maps: Api<ConfigMap> = Api::namespaced(place.client.clone(), &place.namespace);
    assert!(maps.get_opt("slow").await.unwrap().is_none());
}

#[tokio::test]
async fn a_helm_killed_in_the_middle_of_an_uninstall_is_recovered() {
    let (place, repository) = (ReleaseFixture::new().await, Repository::start().await);
    let release = place.release("slow", &repository.url, json!({ "text": "a", "hang": "post-delete" }));
    let (owner, step) = (place.owner(Scope::Run), place.step());
    for finish_by_installing in [true, false] {
        place.helm.ensure_release(&release, &owner, &step).await.unwrap();
        // By hand, since our own uninstall runs no hooks and cannot be made to hang.
        let namespace = format!("--namespace={}", place.namespace);
        let mut by_hand = Command::new("helm").args(["uninstall", "slow", &namespace]).spawn().unwrap();
        place.until("slow", "uninstalling").await;
        by_hand.kill().unwrap();
        by_hand.wait().unwrap();
        assert_eq!(place.statuses("slow").await, ["uninstalling"]);
        if finish_by_installing {
            place.helm.ensure_release(&release, &owner, &step).await.unwrap();
            assert_eq!(place.statuses("slow").await, ["deployed"]);
        } else {
            place.helm.ensure_uninstalled(&release.namespace, "slow", PREFIX, &owner, &step).await.unwrap();
            assert!(place.statuses("slow").await.is_empty());
        }
    }
}

#[tokio::test]
async fn cancelling_kills_helm_and_reaps_it_before_the_call_returns() {
    let (place, repository) = (ReleaseFixture::new().await, Repository::start().await);
    let release = place.release("slow", &repository.url, json!({ "text": "a", "hang": DEPLOY }));
    let cancel = CancellationToken::new();
    let (owner, step) = (place.owner(Scope::Run), place.cancellable(cancel.clone()));
    let work = place.helm.ensure_release(&release, &owner, &step);
    let stop = async {
        place.until("slow", "pending-install").await;
        let helms = helms_of(&place.namespace);
        cancel.cancel();
        helms
    };
    let work = async {
        let stopped = work.await;
        // At this very moment: whoever awaited the call may answer now.
        (stopped, helms_of(&place.namespace))
    };
    let ((stopped, after), before) = tokio::join!(work, stop);
    assert!(matches!(stopped.unwrap_err().kind, Kind::Interrupted(_)));
    assert_eq!((before.len(), after.len()), (1, 0));
    assert!(!exists(before[0]), "helm is a zombie");
}

#[tokio::test]
async fn a_dropped_call_kills_helm_and_reaps_it() {
    let (place, repository) = (ReleaseFixture::new().await, Repository::start().await);
    let release = place.release("slow", &repository.url, json!({ "text": "a", "hang": DEPLOY }));
    let (owner, step) = (place.owner(Scope::Run), place.step());
    let helms = async {
        place.until("slow", "pending-install").await;
        helms_of(&place.namespace)
    };
    let helms = tokio::select! {
        ended = place.helm.ensure_release(&release, &owner, &step) => panic!("{ended:?}"),
        helms = helms => helms,
    };
    assert_eq!(helms.len(), 1);
    assert!(!exists(helms[0]), "helm lives on, or is a zombie");
}

/// Not a test: the process that the next test kills.
#[tokio::test]
#[ignore = "started by a_helm_dies_with_the_process_that_asked_for_it"]
async fn install_slowly() {
    let tenant = required("TEST_TENANT").parse().unwrap();
    let place = ReleaseFixture::at(&required("TEST_NAMESPACE"), tenant).await;
    let release = place.release("slow", &required("TEST_REPOSITORY"), json!({ "text": "a", "hang": DEPLOY }));
    drop(place.helm.ensure_release(&release, &place.owner(Scope::Run), &place.step()).await);
}

#[tokio::test]
async fn a_helm_dies_with_the_process_that_asked_for_it() {
    let (place, repository) = (ReleaseFixture::new().await, Repository::start().await);
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "install_slowly", "--ignored"])
        .env("TEST_TENANT", place.tenant.to_string())
        .env("TEST_NAMESPACE", &*place.namespace)
        .env("TEST_REPOSITORY", &repository.url)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    place.until("slow", "pending-install").await;
    assert_eq!(helms_of(&place.namespace).len(), 1);
    worker.kill().unwrap();
    worker.wait().unwrap();
    for _ in 0..100 {
        if helms_of(&place.namespace).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("helm lives on: {:?}", helms_of(&place.namespace));
}

#[tokio::test]
async fn uninstalling_twice_and_without_a_namespace_succeeds() {
    let place = ReleaseFixture::new().await;
    let (release, owner, step) = (place.query_engine(), place.owner(Scope::Run), place.step());
    place.helm.ensure_release(&release, &owner, &step).await.unwrap();
    let uninstall =
        || place.helm.ensure_uninstalled(&release.namespace, "query-engine", PREFIX, &owner, &step);
    assert_eq!(uninstall().await.unwrap(), Progress::Done(()));
    assert_eq!(uninstall().await.unwrap(), Progress::Done(()));
    let deployments: Api<Deployment> = Api::namespaced(place.client.clone(), &place.namespace);
    assert!(deployments.get_opt("query-engine").await.unwrap().is_none());
    assert!(place.helm.inventory(place.tenant, PREFIX).await.unwrap().is_empty());

    // Again, while the namespace goes away, at whatever moment.
    place.helm.ensure_release(&release, &owner, &step).await.unwrap();
    place.delete_namespace().await;
    assert_eq!(uninstall().await.unwrap(), Progress::Done(()));
    assert!(place.statuses("query-engine").await.is_empty());
}

#[tokio::test]
async fn a_rollback_leaves_the_release_of_another_run() {
    let mut place = ReleaseFixture::new().await;
    let release = place.query_engine();
    place.helm.ensure_release(&release, &place.owner(Scope::Run), &place.step()).await.unwrap();
    place.run = RunId::generate();
    let rollback = place.owner(Scope::Run);
    let step = place.step();
    place
        .helm
        .ensure_uninstalled(&release.namespace, "query-engine", PREFIX, &rollback, &step)
        .await
        .unwrap();
    assert_eq!(place.statuses("query-engine").await, ["deployed"]);
    let deprovision = place.owner(Scope::Tenant);
    place
        .helm
        .ensure_uninstalled(&release.namespace, "query-engine", PREFIX, &deprovision, &step)
        .await
        .unwrap();
    assert!(place.statuses("query-engine").await.is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_the_chart_or_its_repository_is_told_apart() {
    let place = ReleaseFixture::new().await;
    let (owner, step) = (place.owner(Scope::Run), place.step());
    let mut release = place.query_engine();
    release.repository_url = "http://127.0.0.1:1".into();
    let down = place.helm.ensure_release(&release, &owner, &step).await.unwrap_err();
    assert_eq!(down.kind, Kind::Unavailable { dependency: "chart-repository".into() });

    let mut release = place.query_engine();
    release.version = "9.9.9".into();
    let absent = place.helm.ensure_release(&release, &owner, &step).await.unwrap_err();
    assert_eq!((absent.kind, absent.code), (Kind::Fatal, "chart_not_found"));

    let mut release = place.query_engine();
    release.values = json!({ "replicaCount": "many" });
    let invalid = place.helm.ensure_release(&release, &owner, &step).await.unwrap_err();
    assert_eq!((invalid.kind, invalid.code), (Kind::Fatal, "chart_invalid"));

    // The failed release that helm leaves is no obstacle.
    let release = place.query_engine();
    place.helm.ensure_release(&release, &owner, &step).await.unwrap();
    assert_eq!(place.statuses("query-engine").await, ["deployed"]);
}

/// Not a test: what the next test runs with a kubeconfig that leads nowhere.
#[tokio::test]
#[ignore = "started by an_api_server_that_is_down_is_nobodys_failure"]
async fn without_an_api_server() {
    let place = ReleaseFixture::at("matih-nowhere", TenantId::generate()).await;
    let (release, owner, step) = (place.query_engine(), place.owner(Scope::Run), place.step());
    let cluster = Kind::Unavailable { dependency: "cluster".into() };
    let installed = place.helm.ensure_release(&release, &owner, &step).await.unwrap_err();
    assert_eq!(installed.kind, cluster);
    let uninstall = place.helm.ensure_uninstalled(&release.namespace, "query-engine", PREFIX, &owner, &step);
    assert_eq!(uninstall.await.unwrap_err().kind, cluster);
    assert_eq!(place.helm.inventory(place.tenant, PREFIX).await.unwrap_err().kind, cluster);
}

#[tokio::test]
async fn an_api_server_that_is_down_is_nobodys_failure() {
    // The stack's own kubeconfig, with an address where nobody listens.
    let mut kubeconfig = kube::config::Kubeconfig::read_from(required("KUBECONFIG")).unwrap();
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        cluster.server = Some("https://127.0.0.1:1".into());
    }
    let mut nowhere = tempfile::NamedTempFile::new().unwrap();
    nowhere.write_all(&serde_json::to_vec(&kubeconfig).unwrap()).unwrap();
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "without_an_api_server", "--ignored"])
        .env("KUBECONFIG", nowhere.path())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}
