use std::time::{Duration, Instant};

use engine::phase::{Kind, Scope};
use futures::StreamExt;

use crate::probe::Probe;
use crate::world::{ADDRESS, World};

/// A name asked for all the time never leads to an address after the undo says that it is nobody's.
async fn undone_in_time(lost_at: Option<usize>) -> bool {
    let mut world = World::new();
    // Longer than an attempt takes, so that a wait that is left out shows.
    world.platform.dns.ttl = 3;
    let probe = Probe::start(&world.zone());
    world.apply().await.unwrap();
    // Every layer has been seen.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut lost = false;
    if let Some(write) = lost_at {
        world.lose_worker_at(write);
        lost = world.revert(Scope::Run).await.is_err();
        assert_eq!(lost, world.was_lost());
    }
    world.revert(Scope::Run).await.unwrap();
    let released = Instant::now();
    let seen = probe.stop().await;
    assert_eq!(
        seen.addresses,
        [ADDRESS.parse::<std::net::Ipv4Addr>().unwrap()],
        "asked {} times",
        seen.asked
    );
    assert_eq!(
        seen.lame, [""; 0],
        "lost at {lost_at:?}: the addresses went before their delegation was forgotten"
    );
    let held = seen.held_until.unwrap();
    assert!(held <= released, "lost at {lost_at:?}: held for {:?} after its release", held - released);
    assert_eq!(world.inventory().await, [""; 0]);
    lost
}

#[tokio::test(flavor = "multi_thread")]
async fn no_resolver_holds_an_address_after_its_release_whenever_the_worker_is_lost() {
    assert!(!undone_in_time(None).await);
    let undone = |write| async move { undone_in_time(Some(write)).await };
    let lost: Vec<bool> = futures::stream::iter(0..WRITES).map(undone).buffered(AT_ONCE).collect().await;
    assert_eq!(lost, [true; WRITES]);
}

/// An undo that is given up (`abandon`) leaves nothing of what it knew to the run of the DELETE after it.
#[tokio::test(flavor = "multi_thread")]
async fn no_resolver_holds_an_address_after_its_release_when_the_undo_is_given_up_and_begun_anew() {
    let mut world = World::new();
    world.platform.dns.ttl = 3;
    let probe = Probe::start(&world.zone());
    world.apply().await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Until the addresses are removed, this moment, and only their TTL is waited for.
    loop {
        match world.try_revert(Scope::Run).await.unwrap_err().kind {
            Kind::Parked(wait) if wait.on.contains("addresses") => break,
            Kind::Parked(wait) => tokio::time::sleep(wait.after).await,
            other => panic!("{other:?}"),
        }
    }
    let deleting = world.later_run();
    let waits = deleting.revert(Scope::Tenant).await.unwrap();
    let released = Instant::now();
    let held = probe.stop().await.held_until.unwrap();
    assert!(held <= released, "held for {:?} after its release", held - released);
    assert_eq!(waits.len(), 2, "{waits:?}");
    assert_eq!(world.inventory().await, [""; 0]);
}

#[tokio::test]
async fn whoever_finds_a_zone_without_its_records_waits_as_if_they_had_just_been_removed() {
    // By hand, all but the zone.
    let world = World::new();
    world.apply().await.unwrap();
    world.take(&world.zone(), "NS").await;
    world.take_addresses().await;
    // A rollback of another run than the zone's does not touch it, and has nothing to wait for.
    assert_eq!(world.later_run().revert(Scope::Run).await.unwrap(), [""; 0]);
    let waits = world.later_run().revert(Scope::Tenant).await.unwrap();
    assert!(
        waits.len() == 2 && waits[0].contains("delegation") && waits[1].contains("addresses"),
        "{waits:?}"
    );
    assert!(world.zone_json().await.is_null());
    // Half made: the worker is lost once the zone is there. Nobody knows any more that it never had records.
    let world = World::new();
    world.lose_worker_at(2);
    world.apply().await.unwrap_err();
    assert!(world.was_lost() && !world.zone_json().await.is_null());
    assert_eq!(world.revert(Scope::Run).await.unwrap().len(), 2);
    assert!(world.zone_json().await.is_null());
}

/// The writes of the undo until both layers are removed, in two attempts; after that it only waits and looks.
const WRITES: usize = 18;

/// Undos under way at once.
const AT_ONCE: usize = 18;

#[tokio::test]
async fn what_was_never_there_is_not_waited_for() {
    let world = World::new();
    for scope in [Scope::Run, Scope::Tenant] {
        assert_eq!(world.revert(scope).await.unwrap(), [""; 0]);
    }
    // Taken away by hand, all of it.
    let world = World::new();
    world.apply().await.unwrap();
    world.take(&world.zone(), "NS").await;
    world.take_zone().await;
    assert_eq!(world.revert(Scope::Run).await.unwrap(), [""; 0]);
    // And twice.
    assert_eq!(world.revert(Scope::Run).await.unwrap(), [""; 0]);
}
