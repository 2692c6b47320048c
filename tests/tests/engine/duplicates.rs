//! However often a message comes, and whenever: each effect once, one audit row for each transition.

use std::time::Duration;

use engine::phase::{Error, Job, Progress, queue_name};
use model::{PhaseName, TenantId};
use queue::Publisher;
use tests::{World, seconds};

/// Publishes ten messages of every transition around the one that the run is at: stale ones, its own, and early ones.
async fn flood(world: &World, publisher: &Publisher, slug: &str) {
    let Some(tenant) = world.store.find_tenant(slug).await.expect("tenants") else { return };
    let own = world.job(tenant, 0).await;
    let after = match own.phase.as_str() {
        "ONE" => "TWO",
        _ => "THREE",
    };
    let early = Job { seq: own.seq + 1, phase: PhaseName::new(after), ..own.clone() };
    let stale = [2, 1].map(|behind| Job { seq: own.seq - behind, ..own.clone() });
    for job in stale.into_iter().chain([own, early]) {
        for _ in 0..10 {
            // A queue that is gone at the end takes none, which is as well.
            drop(publisher.publish(&job).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_of_each_message_at_every_seq_do_everything_once() {
    World::run(|mut world| async move {
        // A slow machine is no lost worker.
        world.platform.engine.lease = seconds(20.0);
        let publisher = Publisher::new(&world.broker());
        world.tap_delays().await;
        let flooding = |name: &'static str| {
            let (world, publisher) = (world.clone(), publisher.clone());
            world.clone().phase(name).on_apply(move |attempt| {
                let (world, publisher) = (world.clone(), publisher.clone());
                async move {
                    // While this worker holds the step.
                    flood(&world, &publisher, &attempt.slug).await;
                    match (name, attempt.entered) {
                        ("TWO", 1) => Ok(Progress::wait(Duration::from_millis(2_500), "the tide")),
                        ("THREE", 1) => Err(Error::retryable("hiccup", "fails once")),
                        _ => Ok(Progress::Done(())),
                    }
                }
            })
        };
        let tenant = world.tenant("flooded", &["ONE", "TWO", "THREE"]).await;
        world.declare_queue(tenant).await;
        // Before anybody looks at the run.
        flood(&world, &publisher, "flooded").await;
        let phases = || vec![flooding("ONE").arc(), flooding("TWO").arc(), flooding("THREE").arc()];
        let (one, two) = (world.dispatch(phases()), world.dispatch(phases()));

        // While it is parked: straight to its queue, and through a delay queue that ends too early.
        world.until_row(tenant, "parked", |row| row.phases[2].waiting_on.is_some()).await;
        flood(&world, &publisher, "flooded").await;
        let parked = world.job(tenant, 0).await;
        for _ in 0..10 {
            publisher.publish_later(&parked, 1).await.unwrap();
        }
        world.until(tenant, "ACTIVE").await;

        assert_eq!(world.effects("flooded").await, ["ONE apply", "TWO apply", "THREE apply"]);
        let actions = world.actions(tenant).await;
        let expected = [
            "TENANT_CREATED",
            "PHASE_DONE",
            "PHASE_WAITING",
            "PHASE_DONE",
            "PHASE_RETRYING",
            "PHASE_DONE",
            "TENANT_ACTIVE",
        ];
        assert_eq!(actions, expected);
        assert_eq!(world.entered("flooded").await, 5, "one claim for each transition");
        for row in world.status(tenant).await.phases {
            assert_eq!(row.lost, 0, "no lease was lost in {}", row.name);
        }
        let (first, second) = (one.health(), two.health());
        one.stop().await.unwrap();
        two.stop().await.unwrap();

        // Five transitions; what went into delay queues without being ours; looks of the sweepers.
        let hops = world.tapped().await.len() as u64 - 10;
        let allowed = 5 + hops + world.sweeps(tenant).await;
        let published = first.published() + second.published();
        assert!(published <= allowed, "{published} publishes, but {hops} hops allow for {allowed}");
    })
    .await;
}

/// The row, not the message, says which phase a step is of.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_names_another_phase_is_put_aside_and_does_nothing() {
    World::run(|world| async move {
        let publisher = Publisher::new(&world.broker());
        let tenant = world.tenant("misnamed", &["ONE", "TWO"]).await;
        world.declare_queue(tenant).await;
        let job = Job { phase: PhaseName::new("TWO"), ..world.job(tenant, 0).await };
        publisher.publish(&job).await.unwrap();
        let dispatcher = world.dispatch(vec![world.phase("ONE").arc(), world.phase("TWO").arc()]);
        world.until(tenant, "ACTIVE").await;
        assert_eq!(world.effects("misnamed").await, ["ONE apply", "TWO apply"]);
        assert_eq!(world.entered("misnamed").await, 2);
        dispatcher.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_message_goes_round_again_only_if_it_came_out_of_a_delay_queue() {
    World::run(|mut world| async move {
        // Only messages move this run.
        world.platform.engine.sweep = seconds(300.0);
        world.platform.engine.sweep_cap = seconds(300.0);
        world.tap_delays().await;
        let publisher = Publisher::new(&world.broker());
        let dispatcher = world.dispatch(vec![
            world
                .phase("ONE")
                .on_apply(|attempt| async move {
                    Ok(if attempt.entered == 1 {
                        Progress::wait(Duration::from_secs(6), "the tide")
                    } else {
                        Progress::Done(())
                    })
                })
                .arc(),
        ]);
        let tenant = world.tenant("early", &["ONE"]).await;
        world.until_row(tenant, "parked", |row| row.phases[1].waiting_on.is_some()).await;
        let job = world.job(tenant, 0).await;
        for _ in 0..10 {
            publisher.publish(&job).await.unwrap();
        }
        world.until(tenant, "ACTIVE").await;
        dispatcher.stop().await.unwrap();
        let hops: Vec<u32> = world.tapped().await.into_iter().map(|(_, seconds)| seconds).collect();
        // Six seconds are a delay of five and, on arrival, what remains of them: no message but the run's own took part.
        assert_eq!(hops.first(), Some(&5));
        assert!(hops.len() <= 2, "{hops:?}");
        assert_eq!(world.sweeps(tenant).await, 1, "only the sweep that began the run");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_delay_queue_lets_go_arrives_in_the_tenants_queue_and_says_where_it_was() {
    World::run(|world| async move {
        let publisher = Publisher::new(&world.broker());
        let tenant: TenantId = world.tenant("letgo", &["ONE"]).await;
        world.declare_queue(tenant).await;
        let job = world.job(tenant, 0).await;
        publisher.publish_later(&job, 1).await.unwrap();
        let mut arrived = Vec::new();
        for _ in 0..600 {
            arrived = world.management.take(&queue_name(tenant)).await;
            if !arrived.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(arrived.len(), 1);
        assert_eq!(Job::decode(arrived[0]["payload"].as_str().unwrap().as_bytes()).unwrap(), job);
        assert_eq!(arrived[0]["properties"]["headers"]["x-death"][0]["queue"], "delay.1s");
    })
    .await;
}
