use engine::phase::{Kind, Scope};
use hickory_proto::op::ResponseCode;
use reqwest::Method;
use serde_json::json;
use testing::required;
use tokio::net::TcpListener;

use crate::dig::answer;
use crate::world::{ADDRESS, World, child};

#[tokio::test]
async fn every_name_resolves_through_the_delegation_and_is_gone_after_the_undo() {
    let world = World::new();
    let zone = world.zone();
    let (parent, server) = (required("PARENT_DNS_ADDR"), required("DNS_ADDR"));
    let made = world.apply().await.unwrap();
    assert_eq!(made.name_servers.len(), 2);
    let address = ADDRESS.parse().unwrap();
    for name in ["", "api.", "bi.", "anything."] {
        let name = format!("{name}{zone}");
        let referred = answer(&parent, &name).await;
        assert!(!referred.authoritative && referred.addresses.is_empty(), "{name}: {referred:?}");
        let mut servers = referred.referral.clone();
        servers.sort();
        assert_eq!(servers, [("ns1.matih.ai.".into(), 1), ("ns2.matih.ai.".into(), 1)], "{name}");
        let answered = answer(&server, &name).await;
        assert!(answered.authoritative, "{name}: {answered:?}");
        assert_eq!(answered.addresses, [(address, 1)], "{name}");
    }
    let update = child(Method::GET, &format!("zones/{zone}./metadata/TSIG-ALLOW-DNSUPDATE"), None).await;
    assert_eq!(update["metadata"], json!(["tenantry-acme"]));

    // Again, by the same run and by a later one: nothing is written.
    let before = (world.zone_json().await, world.parent_json().await);
    world.apply().await.unwrap();
    let later = world.later_run();
    let again = later.apply().await.unwrap();
    assert!(!again.zone.created && !again.delegation.created);
    assert_eq!((world.zone_json().await, world.parent_json().await), before);
    // And the later run's rollback takes nothing of it, and waits for nothing.
    assert_eq!(later.revert(Scope::Run).await.unwrap(), [""; 0]);
    assert_eq!((world.zone_json().await, world.parent_json().await), before);
    assert!(world.inventory().await.contains(&format!("zone {zone}")));

    assert_eq!(world.revert(Scope::Run).await.unwrap().len(), 2, "one wait for each layer");
    assert_eq!(answer(&parent, &zone).await.code, ResponseCode::NXDomain);
    assert_eq!(answer(&server, &zone).await.code, ResponseCode::Refused);
    assert_eq!((world.zone_json().await, world.inventory().await), (json!(null), vec![]));

    // The slug's next life.
    let next = world.later_run();
    next.apply().await.unwrap();
    assert_eq!(answer(&server, &zone).await.addresses, [(address, 1)]);
    let deprovisioning = next.later_run();
    assert_eq!(deprovisioning.revert(Scope::Tenant).await.unwrap().len(), 2);
    assert_eq!(world.inventory().await, [""; 0]);
}

#[tokio::test]
async fn an_address_that_a_later_run_changed_goes_with_its_rollback() {
    let first = World::new();
    first.apply().await.unwrap();
    let mut later = first.later_run();
    later.address = "192.0.2.8".into();
    later.apply().await.unwrap();
    let server = required("DNS_ADDR");
    assert_eq!(answer(&server, &first.zone()).await.addresses, [("192.0.2.8".parse().unwrap(), 1)]);
    // What it said before is the first run's address, which nobody vouches for any more.
    later.revert(Scope::Run).await.unwrap();
    assert_eq!(answer(&server, &first.zone()).await.addresses, []);
    assert!(!first.zone_json().await.is_null());
    first.later_run().revert(Scope::Tenant).await.unwrap();
    assert_eq!(first.inventory().await, [""; 0]);
}

#[tokio::test]
async fn a_server_that_is_down_parks_forward_and_back() {
    let world = World::new();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let mut down = world.clone();
    down.platform.dns.powerdns.as_mut().unwrap().parent_url = Some(nowhere);
    let unavailable = Kind::Unavailable { dependency: "dns".into() };
    // In the middle: the zone is made, the parent does not answer.
    assert_eq!(down.try_apply().await.unwrap_err().kind, unavailable);
    assert!(!world.zone_json().await.is_null());
    assert_eq!(down.try_revert(Scope::Run).await.unwrap_err().kind, unavailable);
    assert!(!world.zone_json().await.is_null(), "what guards comes first");
    world.apply().await.unwrap();
    world.revert(Scope::Run).await.unwrap();

    let mut refused = world.clone();
    refused.platform.dns.powerdns.as_mut().unwrap().api_key = "env:PATH".parse().unwrap();
    let error = refused.try_apply().await.unwrap_err();
    assert_eq!((error.kind, error.code), (unavailable, "dns_unauthorized"));
    let path = std::env::var("PATH").unwrap();
    assert!(!error.message.contains(&path), "an error shows no key");
}
