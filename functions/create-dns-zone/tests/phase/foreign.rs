use engine::phase::{Kind, Result, Scope};
use reqwest::Method;
use serde_json::json;

use crate::world::{World, child};

fn is_foreign<T: std::fmt::Debug>(result: Result<T>, naming: &str) {
    let error = result.unwrap_err();
    assert_eq!((&error.kind, error.code), (&Kind::Fatal, "foreign_object"), "{error}");
    assert!(error.message.contains(naming) && !error.next_action.is_empty(), "{error}");
}

#[tokio::test]
async fn a_zone_of_somebody_elses_stays_as_it_is() {
    for account in ["", "somebody", "550e8400-e29b-41d4-a716-446655440000"] {
        let world = World::new();
        let zone = json!({
            "name": format!("{}.", world.zone()), "kind": "Native", "account": account,
            "nameservers": ["ns1.matih.ai."],
        });
        child(Method::POST, "zones", Some(zone)).await;
        world.put(false, &world.zone(), "A", "198.51.100.1").await;
        let before = (world.zone_json().await, world.parent_json().await);
        is_foreign(world.apply().await, &world.zone());
        for scope in [Scope::Run, Scope::Tenant] {
            assert_eq!(world.revert(scope).await.unwrap(), [""; 0]);
        }
        assert_eq!((world.zone_json().await, world.parent_json().await), before);
        world.take_zone().await;
    }
}

#[tokio::test]
async fn a_delegation_or_record_of_somebody_elses_in_the_parent_stays_as_it_is() {
    for (below, kind, content) in [
        ("", "NS", "ns1.elsewhere.example."),
        ("", "A", "198.51.100.1"),
        ("mail.", "A", "198.51.100.1"),
        ("deep.down.", "TXT", "\"theirs\""),
    ] {
        let world = World::new();
        let name = format!("{below}{}", world.zone());
        world.put(true, &name, kind, content).await;
        let before = world.parent_json().await;
        is_foreign(world.apply().await, &format!("{kind} {name}"));
        assert_eq!(world.parent_json().await, before);
        // The zone is this run's, and whether it ever had a delegation or addresses nobody knows.
        assert_eq!(world.revert(Scope::Run).await.unwrap().len(), 2);
        assert_eq!(world.revert(Scope::Tenant).await.unwrap(), [""; 0]);
        assert_eq!(world.parent_json().await, before);
        assert!(world.zone_json().await.is_null(), "what this run made is gone");
        world.take(&name, kind).await;
    }
}

#[tokio::test]
async fn a_record_of_somebody_elses_in_the_tenants_zone_stays_as_it_is() {
    let world = World::new();
    // The zone is made, and no more.
    world.lose_worker_at(2);
    world.apply().await.unwrap_err();
    assert!(world.was_lost());
    let api = format!("api.{}", world.zone());
    world.put(false, &api, "A", "198.51.100.1").await;
    let theirs = |zone: &serde_json::Value| {
        let sets = zone["rrsets"].as_array().unwrap();
        sets.iter().find(|set| set["name"] == format!("{api}.")).cloned()
    };
    let before = theirs(&world.zone_json().await);
    assert!(before.is_some());
    is_foreign(world.apply().await, &format!("A {api}"));
    // The zone is ours, and cannot go without what is theirs: an operator decides.
    is_foreign(world.revert(Scope::Run).await, &format!("A {api}"));
    assert_eq!(theirs(&world.zone_json().await), before);
    assert_eq!(world.inventory().await.last().unwrap(), &format!("zone {}", world.zone()));
    let taken = json!({ "rrsets": [{ "name": format!("{api}."), "type": "A", "changetype": "DELETE" }] });
    child(Method::PATCH, &format!("zones/{}.", world.zone()), Some(taken)).await;
    // A certificate manager's challenge is no hindrance.
    world.put(false, &format!("_acme-challenge.{}", world.zone()), "TXT", "\"token\"").await;
    world.revert(Scope::Run).await.unwrap();
    assert_eq!(world.inventory().await, [""; 0]);
}
