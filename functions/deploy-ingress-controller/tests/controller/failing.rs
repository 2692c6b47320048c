use std::process::Command;
use std::time::Duration;

use engine::phase::{Kind, Scope};
use testing::{kubectl, object, waits_for};

use crate::world::World;

/// The local stack's load balancers leave Services in such a namespace without an address.
#[tokio::test]
async fn a_missing_address_is_shown_with_its_count_and_fails_when_its_time_is_over() {
    let world = World::new("-no-address", |_| {}).await;
    let lacks = format!(
        "Service {}/ingress-nginx-{}-controller has no external IP",
        world.namespace, world.tenant.slug
    );
    for (waited, look) in [(0, "1/60"), (15, "3/60"), (599, "60/60")] {
        let on = waits_for(world.attempt(Duration::from_secs(waited)).await);
        assert_eq!(on, format!("{lacks}, attempt {look}"));
    }
    let late = world.attempt(Duration::from_mins(10)).await.unwrap_err();
    assert_eq!((late.kind, late.code), (Kind::Retryable, "no_external_ip"));
    assert_eq!(late.message, format!("{lacks} after 600 s"));
    assert!(late.next_action.contains("quota of public addresses"), "{}", late.next_action);

    kubectl(&["label", "namespace", &world.namespace, "tenantry.test/no-address=false"]);
    let made = world.deploy().await;
    assert!(made.address.parse::<std::net::IpAddr>().is_ok(), "{}", made.address);
}

#[tokio::test]
async fn a_repository_that_does_not_answer_is_nobodys_failure() {
    let world = World::new("", |platform| {
        platform.ingress.repository_url = "http://127.0.0.1:1/charts".into();
    })
    .await;
    let error = world.attempt(Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable { dependency: "chart-repository".into() }, "{error}");
    assert_eq!(world.there(), [""; 0], "asked before anything is made");
}

#[tokio::test]
async fn a_version_that_is_not_there_is_named() {
    let world = World::new("", |platform| platform.ingress.version = "0.0.1".into()).await;
    let error = world.attempt(Duration::ZERO).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Fatal, "chart_not_found"));
    assert!(error.message.contains("ingress-nginx") && error.message.contains("0.0.1"), "{}", error.message);
}

#[tokio::test]
async fn somebody_elses_class_role_or_release_stops_the_phase_and_stays_as_it_is() {
    let world = World::new("", |_| {}).await;
    let slug = &world.tenant.slug;
    let class = format!("nginx-{slug}");
    let role = format!("ingress-nginx-{slug}-class");
    let manifest = format!(
        r#"{{"apiVersion":"networking.k8s.io/v1","kind":"IngressClass","metadata":{{"name":"{class}"}},"spec":{{"controller":"example.com/theirs"}}}}"#
    );
    let folder = std::env::temp_dir().join(format!("tenantry-{class}.json"));
    std::fs::write(&folder, manifest).unwrap();
    let file = folder.display().to_string();
    let release = format!("ingress-nginx-{slug}");
    let secret = format!("sh.helm.release.v1.{release}.v1");
    let repository = format!("--repo={}", world.platform.charts.repository_url);
    let install =
        ["install", &release, "query-engine", &repository, "--version=0.1.0", "-n", &world.namespace];
    let make_class: &dyn Fn() = &|| drop(kubectl(&["create", "-f", &file]));
    let make_role: &dyn Fn() =
        &|| drop(kubectl(&["create", "clusterrole", &role, "--verb=get", "--resource=nodes"]));
    let make_release: &dyn Fn() = &|| {
        let done = Command::new("helm").args(install).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    for (make, what, named) in [
        (make_class, vec!["ingressclass", &class], format!("IngressClass {class}")),
        (make_role, vec!["clusterrole", &role], format!("ClusterRole {role}")),
        (make_release, vec!["secret", &secret, "-n", &world.namespace], format!("/{release}")),
    ] {
        make();
        let before = object(&what).unwrap();
        let error = world.attempt(Duration::ZERO).await.unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Fatal, "foreign_object"), "{named}");
        assert!(error.message.contains(&named), "{}", error.message);
        for scope in [Scope::Run, Scope::Tenant] {
            world.undo(world.run, scope).await;
            assert_eq!(object(&what).unwrap(), before, "{named}");
        }
        kubectl(&[&["delete"], &what[..]].concat());
    }
    std::fs::remove_file(folder).unwrap();
}
