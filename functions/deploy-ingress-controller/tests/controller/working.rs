use std::collections::BTreeSet;
use std::time::Duration;

use engine::phase::Scope;
use model::RunId;
use serde_json::json;
use testing::{kubectl, object};

use crate::world::World;

fn may(account: &str, what: &[&str]) -> bool {
    let user = format!("--as=system:serviceaccount:{account}");
    let done =
        std::process::Command::new("kubectl").args(["auth", "can-i", &user]).args(what).output().unwrap();
    String::from_utf8(done.stdout).unwrap().trim() == "yes"
}

#[tokio::test]
async fn a_tenant_gets_a_controller_of_its_own_and_the_address_of_its_load_balancer() {
    let world = World::new("", |_| {}).await;
    let (slug, namespace) = (world.tenant.slug.to_string(), world.namespace.to_string());
    let made = world.deploy().await;
    assert_eq!(made.created_by, Some(world.run));

    let within = ["-n", &namespace];
    let service =
        object(&[&["service", &format!("ingress-nginx-{slug}-controller")], &within[..]].concat()).unwrap();
    assert_eq!(service["spec"]["type"], "LoadBalancer");
    assert_eq!(service["status"]["loadBalancer"]["ingress"][0]["ip"], made.address);
    assert_eq!(
        service["metadata"]["annotations"]["service.beta.kubernetes.io/azure-load-balancer-health-probe-request-path"],
        "/healthz"
    );
    let class = object(&["ingressclass", &format!("nginx-{slug}")]).unwrap();
    assert_eq!(class["spec"]["controller"], format!("k8s.io/ingress-nginx-{slug}"));
    let namespace_uid = object(&["namespace", &namespace]).unwrap()["metadata"]["uid"].clone();
    for tied in [
        class,
        object(&["clusterrole", &format!("ingress-nginx-{slug}-class")]).unwrap(),
        object(&["clusterrolebinding", &format!("ingress-nginx-{slug}-class")]).unwrap(),
    ] {
        let metadata = &tied["metadata"];
        assert_eq!(metadata["labels"]["matih.ai/tenant-id"], world.tenant.id.to_string(), "{metadata}");
        assert_eq!(metadata["annotations"]["matih.ai/run-id"], world.run.to_string(), "{metadata}");
        assert_eq!(metadata["ownerReferences"][0]["uid"], namespace_uid, "{metadata}");
    }
    let deployment =
        object(&[&["deployment", &format!("ingress-nginx-{slug}-controller")], &within[..]].concat())
            .unwrap();
    assert_eq!(deployment["status"]["readyReplicas"], 2);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["resources"],
        json!({
            "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "cpu": "500m", "memory": "256Mi" },
        })
    );
    let arguments: BTreeSet<&str> =
        container["args"].as_array().unwrap().iter().filter_map(|it| it.as_str()).collect();
    for argument in [
        format!("--controller-class=k8s.io/ingress-nginx-{slug}"),
        format!("--ingress-class=nginx-{slug}"),
        format!("--watch-namespace={namespace}"),
    ] {
        assert!(arguments.contains(argument.as_str()), "{argument} is not in {arguments:?}");
    }

    // Secrets by Role only: its own namespace's, and nobody else's.
    let account = format!("{namespace}:ingress-nginx-{slug}");
    assert!(may(&account, &["list", "secrets", "-n", &namespace]));
    assert!(!may(&account, &["list", "secrets", "-n", "default"]));
    assert!(!may(&account, &["list", "secrets", "--all-namespaces"]));
    assert!(may(&account, &["watch", "ingressclasses"]));
    assert!(!may(&account, &["list", "nodes"]));

    // Again, and by a later run: nothing changes, and the later run's rollback takes nothing of it.
    let before = world.there();
    assert_eq!(world.deploy().await, made);
    let later = RunId::generate();
    assert_eq!(world.deploy_by(later).await, made);
    assert_eq!(world.there(), before);
    world.undo(later, Scope::Run).await;
    assert_eq!(world.there(), before);

    for _ in 0..2 {
        world.undo(world.run, Scope::Run).await;
        assert_eq!(world.there(), [""; 0]);
    }
}

#[tokio::test]
async fn two_tenants_stand_side_by_side_and_the_first_ones_end_leaves_the_second_whole() {
    let (first, second) = (World::new("", |_| {}).await, World::new("", |_| {}).await);
    let (one, two) = tokio::join!(first.deploy(), second.deploy());
    assert_ne!(one.address, two.address);
    assert_ne!(one.class, two.class);
    let before = second.there();
    first.undo(first.run, Scope::Tenant).await;
    assert_eq!(first.there(), [""; 0]);
    assert_eq!(second.there(), before);
    assert_eq!(second.deploy().await, two);
}

/// Other charts bring no class, or one without our label.
#[tokio::test]
async fn a_chart_without_a_class_gets_ours_and_one_without_labels_is_labelled() {
    let bare = World::new("", |platform| {
        platform.ingress.values["controller"]["ingressClassResource"]["enabled"] = false.into();
    });
    let unlabelled = World::new("", |platform| platform.ingress.values["commonLabels"] = json!({}));
    let (bare, unlabelled) = tokio::join!(bare, unlabelled);
    for world in [bare, unlabelled] {
        let name = format!("nginx-{}", world.tenant.slug);
        for _ in 0..2 {
            world.deploy().await;
            let class = object(&["ingressclass", &name]).unwrap();
            let metadata = &class["metadata"];
            assert_eq!(metadata["labels"]["matih.ai/tenant-id"], world.tenant.id.to_string());
            assert_eq!(metadata["ownerReferences"][0]["name"], *world.namespace);
            assert_eq!(class["spec"]["controller"], format!("k8s.io/ingress-{name}"));
        }
        world.undo(world.run, Scope::Run).await;
        assert_eq!(world.there(), [""; 0]);
    }
}

#[tokio::test]
async fn a_namespace_removed_by_hand_takes_what_is_cluster_scoped_with_it() {
    let world = World::new("", |_| {}).await;
    world.deploy().await;
    kubectl(&["delete", "namespace", &world.namespace, "--wait=false"]);
    let began = std::time::Instant::now();
    let label = format!("-lmatih.ai/tenant-id={}", world.tenant.id);
    let left =
        || kubectl(&["get", "ingressclasses,clusterroles,clusterrolebindings,namespaces", "-oname", &label]);
    while !left().is_empty() {
        assert!(began.elapsed() < Duration::from_mins(3), "{}", left());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    world.undo(world.run, Scope::Run).await;
}
