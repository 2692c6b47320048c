use engine::phase::Scope;
use model::RunId;
use testing::{kubectl, object, waits_for};

use crate::world::World;

/// What a cloud's controller puts on a Service with a load balancer, until that is taken down.
const FINALIZER: &str = "tests.example/load-balancer-cleanup";

#[tokio::test]
async fn the_undo_waits_until_the_address_is_released() {
    let world = World::new("", |_| {}).await;
    world.deploy().await;
    let service = format!("ingress-nginx-{}-controller", world.tenant.slug);
    let at = ["service", &service, "-n", &world.namespace];
    let hold = format!(r#"--patch={{"metadata":{{"finalizers":["{FINALIZER}"]}}}}"#);
    kubectl(&[&["patch"], &at[..], &["--type=merge", &hold]].concat());
    for _ in 0..2 {
        let on = waits_for(world.undo_once(Scope::Run).await);
        assert!(on.contains(&format!("Service {}/{service}", world.namespace)), "{on}");
        assert!(on.contains(FINALIZER), "{on}");
    }
    let let_go = r#"--patch={"metadata":{"finalizers":null}}"#;
    kubectl(&[&["patch"], &at[..], &["--type=merge", let_go]].concat());
    world.undo(world.run, Scope::Run).await;
    assert_eq!(world.there(), [""; 0]);
}

#[tokio::test]
async fn the_undo_converges_from_any_half_state() {
    let world = World::new("", |_| {}).await;
    let slug = world.tenant.slug.to_string();
    let namespace = ["-n", &world.namespace];
    // Never begun.
    world.undo(world.run, Scope::Run).await;
    world.undo(world.run, Scope::Tenant).await;

    // Some of it removed by hand.
    world.deploy().await;
    kubectl(&["delete", "ingressclass", &format!("nginx-{slug}")]);
    kubectl(&["delete", "clusterrole", &format!("ingress-nginx-{slug}-class")]);
    kubectl(&[&["delete", "service", &format!("ingress-nginx-{slug}-controller")], &namespace[..]].concat());
    world.undo(world.run, Scope::Run).await;
    assert_eq!(world.there(), [""; 0]);

    // Helm's record lost: what is cluster-scoped says by itself whose it is and of which run; a rollback of another run
    // leaves it. What is in the namespace goes with that.
    world.deploy().await;
    kubectl(&[&["delete", "secrets", "-l", "owner=helm"], &namespace[..]].concat());
    world.undo(RunId::generate(), Scope::Run).await;
    assert!(object(&["ingressclass", &format!("nginx-{slug}")]).is_some());
    world.undo(world.run, Scope::Run).await;
    let left = world.there();
    assert!(
        !left.iter().any(|line| line.starts_with("IngressClass") || line.starts_with("Cluster")),
        "{left:?}"
    );
    // A deprovisioning releases the address all the same.
    world.undo(world.run, Scope::Tenant).await;
    assert!(
        !world
            .there()
            .iter()
            .any(|line| line.starts_with(&format!("Service/ingress-nginx-{slug}-controller ")))
    );
}
