//! Messages that are no jobs: put aside with the reason, listed, replayed; nobody's queue stands still for them.

use std::collections::BTreeMap;

use engine::phase::{Job, Progress, queue_name};
use model::{PhaseName, RunId};
use queue::Publisher;
use tests::{World, eventually, seconds};

#[tokio::test(flavor = "multi_thread")]
async fn malformed_messages_are_put_aside_with_the_reason_and_the_consumer_goes_on() {
    World::run(|world| async move {
        let broker = world.broker();
        let publisher = Publisher::new(&broker);
        let tenant = world.tenant("malformed", &["ONE"]).await;
        let other = world.tenant("another", &["ONE"]).await;
        world.declare_queue(tenant).await;
        let good = world.job(tenant, 0).await;
        let queue = queue_name(tenant);
        let unknown = Job::new(tenant, RunId::generate(), PhaseName::new("ONE"), 1);
        let bodies = [
            ("no json", b"{nonsense".to_vec()),
            ("no text", vec![0xff, 0xfe, 0x00]),
            ("empty", Vec::new()),
            ("wrong version", Job { v: 99, ..good.clone() }.encode()),
            ("another's", world.job(other, 0).await.encode()),
            ("unknown run", unknown.encode()),
        ];
        for (_, body) in &bodies {
            publisher.publish_raw(&queue, body).await.unwrap();
        }
        // More of them than a consumer may hold at once, and all before the good one.
        let dispatcher = world.dispatch(vec![world.phase("ONE").arc()]);
        world.until(tenant, "ACTIVE").await;
        world.until(other, "ACTIVE").await;
        assert_eq!(world.effects("malformed").await, ["ONE apply"]);
        eventually("all are put aside", || async {
            queue::list_dead(&broker, 100).await.unwrap().len() == bodies.len()
        })
        .await;

        // Listed twice: listing takes nothing out.
        let letters = queue::list_dead(&broker, 100).await.unwrap();
        assert_eq!(queue::list_dead(&broker, 2).await.unwrap().len(), 2);
        assert!(letters.iter().all(|letter| letter.queue == queue), "{letters:?}");
        let reasons: BTreeMap<&str, &str> = bodies
            .iter()
            .map(|(what, body)| {
                let text = String::from_utf8_lossy(body);
                let letter = letters.iter().find(|letter| letter.body == text).expect(what);
                (*what, letter.reason.as_str())
            })
            .collect();
        assert!(reasons["no json"].contains("not a job"), "{reasons:?}");
        assert!(reasons["wrong version"].contains("99"), "{reasons:?}");
        assert!(reasons["another's"].contains("another tenant"), "{reasons:?}");
        assert_eq!(reasons["unknown run"], "no such run");

        // The queue they came from is gone with its run: they stay.
        eventually("the queue is gone", || async { world.management.tenant_queues().await.is_empty() }).await;
        assert!(queue::replay_dead(&broker, None).await.unwrap().is_empty());
        assert_eq!(queue::list_dead(&broker, 100).await.unwrap().len(), bodies.len());
        dispatcher.stop().await.unwrap();
        broker.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_message_that_is_replayed_works() {
    World::run(|mut world| async move {
        // Nothing but the replay moves the run.
        world.platform.engine.sweep = seconds(300.0);
        world.platform.engine.sweep_cap = seconds(300.0);
        let broker = world.broker();
        let publisher = Publisher::new(&broker);
        let tenant = world.tenant("replayed", &["ONE"]).await;
        world.declare_queue(tenant).await;
        // As a dispatcher that dies between its look and its publish.
        assert_eq!(world.store.sweep(&world.platform.engine).await.unwrap().len(), 1);
        let job = world.job(tenant, 0).await;
        publisher.bury(&job.encode(), "by mistake", &job.queue()).await.unwrap();
        publisher.bury(b"rubbish", "no job", &job.queue()).await.unwrap();
        let dispatcher =
            world.dispatch(vec![world.phase("ONE").on_apply(|_| async { Ok(Progress::Done(())) }).arc()]);
        eventually("it consumes", || async { dispatcher.health().consumers() == 1 }).await;
        assert_eq!(world.entered("replayed").await, 0);

        let letters = queue::list_dead(&broker, 100).await.unwrap();
        let mistake = letters.iter().find(|letter| letter.reason == "by mistake").unwrap();
        let replayed = queue::replay_dead(&broker, Some(&mistake.id)).await.unwrap();
        assert_eq!(replayed.len(), 1);
        assert_eq!(replayed[0].id, mistake.id);
        world.until(tenant, "ACTIVE").await;
        assert_eq!(world.effects("replayed").await, ["ONE apply"]);
        let left = queue::list_dead(&broker, 100).await.unwrap();
        assert_eq!(left.iter().map(|letter| letter.body.as_str()).collect::<Vec<_>>(), ["rubbish"]);
        dispatcher.stop().await.unwrap();
        broker.close().await;
    })
    .await;
}
