use std::time::Duration;

use engine::phase::{Kind, Scope};
use testing::{kubectl, waits_for};

use crate::world::World;
use crate::zone;

/// What every refusal of an ACME server names.
const REFUSAL: &str = "urn:ietf:params:acme:error:";

#[tokio::test]
async fn a_refused_challenge_is_shown_and_once_mended_is_tried_again_at_once() {
    let world = World::new().await;
    // cert-manager can write its answer, and the ACME server finds none where it looks.
    zone::create(&world.zone()).await;
    zone::delegate(&world.zone()).await;
    zone::eclipse(&world.zone()).await;
    let on = world.until_waiting(": failed, ").await;
    let named = format!("Certificate {}/{}: ", world.namespace, world.certificate);
    assert!(on.starts_with(&named), "{on}");
    assert!(on.contains("challenge for ") && on.contains(&world.host) && on.contains(REFUSAL), "{on}");
    assert!(on.contains("; cert-manager tries again at 20"), "{on}");
    assert!(world.object(&["ingress", "tenant-ingress"]).is_none(), "no route before there is a certificate");

    // As after many failures: cert-manager would not try again for minutes.
    let often = r#"--patch={"status":{"failedIssuanceAttempts":6}}"#;
    let what = ["certificate", &world.certificate, "-n", &world.namespace];
    kubectl(&[&["patch"], &what[..], &["--subresource=status", "--type=merge", often]].concat());
    let late = world.attempt(1, Duration::from_mins(10)).await.unwrap_err();
    assert_eq!((late.kind, late.code), (Kind::Retryable, "certificate_failed"));
    assert!(late.message.contains(REFUSAL) && late.message.ends_with("(after 600 s)"), "{}", late.message);
    assert!(late.next_action.contains("try again at once"), "{}", late.next_action);

    zone::end_eclipse(&world.zone()).await;
    // Out of a wait, it waits on for cert-manager's own time.
    let on = waits_for(world.attempt(1, Duration::ZERO).await);
    assert!(on.contains(": failed, "), "{on}");
    let (made, _) = world.create_by(world.run).await;
    assert_eq!(made.secret, world.certificate);
    world.undo(world.run, Scope::Run).await;
    assert_eq!(world.there(), [""; 0]);
    zone::remove(&world.zone()).await;
}

#[tokio::test]
async fn a_missing_zone_is_shown_and_once_made_is_gone_on_with() {
    let world = World::new().await;
    let on = world.until_waiting(" is pending: ").await;
    assert!(on.contains("challenge for ") && on.contains(&world.host), "{on}");
    zone::create(&world.zone()).await;
    zone::delegate(&world.zone()).await;
    world.create_by(world.run).await;
    world.undo(world.run, Scope::Tenant).await;
    assert_eq!(world.there(), [""; 0]);
    zone::remove(&world.zone()).await;
}

#[tokio::test]
async fn what_is_somebody_elses_stops_the_phase_and_stays_as_it_is() {
    let world = World::new().await;
    let within = ["-n", &world.namespace];
    let create = |what: &[&str]| drop(kubectl(&[&["create"], what, &within[..]].concat()));
    for (make, what) in [
        (vec!["service", "clusterip", "api-gateway", "--tcp=1"], vec!["service", "api-gateway"]),
        (
            vec!["secret", "generic", &world.certificate, "--from-literal=tls.crt=theirs"],
            vec!["secret", &world.certificate],
        ),
    ] {
        create(&make);
        let before = world.object(&what).unwrap();
        let error = world.attempt(0, Duration::ZERO).await.unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Fatal, "foreign_object"), "{what:?}");
        assert!(error.message.contains(what[1]), "{}", error.message);
        for scope in [Scope::Run, Scope::Tenant] {
            world.undo(world.run, scope).await;
            assert_eq!(world.object(&what).unwrap(), before, "{what:?}");
        }
        kubectl(&[&["delete"], &what[..], &within[..]].concat());
    }
    assert_eq!(world.there(), [""; 0]);
}
