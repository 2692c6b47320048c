use engine::phase::Scope;
use model::RunId;
use testing::{kubectl, waits_for};

use crate::world::World;
use crate::zone;

const FINALIZER: &str = "tests.example/held";

#[tokio::test]
async fn the_undo_waits_for_what_cert_manager_takes_away_and_converges_from_any_half_state() {
    let world = World::new().await;
    // Never begun.
    world.undo(world.run, Scope::Run).await;
    world.undo(world.run, Scope::Tenant).await;

    // In the middle of an issuance that cannot end, for there is no zone: a request is held.
    world.until_waiting(" is pending: ").await;
    let within = ["-n", &world.namespace];
    let request = kubectl(&[&["get", "certificaterequests", "-oname"], &within[..]].concat());
    let request = request.trim();
    let hold = format!(r#"--patch={{"metadata":{{"finalizers":["{FINALIZER}"]}}}}"#);
    kubectl(&[&["patch", request, "--type=merge", &hold], &within[..]].concat());
    for _ in 0..2 {
        let on = waits_for(world.undo_once(Scope::Run).await);
        assert!(on.contains("CertificateRequest ") && on.contains(FINALIZER), "{on}");
    }
    kubectl(
        &[&["patch", request, "--type=merge", r#"--patch={"metadata":{"finalizers":null}}"#], &within[..]]
            .concat(),
    );
    world.undo(world.run, Scope::Run).await;
    assert_eq!(world.there(), [""; 0]);

    // Everything but the Secret removed by hand: the Secret says by itself whose it is and of which run.
    zone::create(&world.zone()).await;
    zone::delegate(&world.zone()).await;
    world.create_by(world.run).await;
    kubectl(&[&["delete", "ingress,services,certificates", "--all"], &within[..]].concat());
    world.undo(RunId::generate(), Scope::Run).await;
    assert!(world.object(&["secret", &world.certificate]).is_some());
    world.undo(world.run, Scope::Run).await;
    assert_eq!(world.there(), [""; 0]);
    zone::remove(&world.zone()).await;
}
