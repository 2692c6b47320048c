//! A sink that is down delays what goes there, and nothing else.

use engine::decide::verbs::Verb;
use model::platform::Seconds;
use tests::{Proxy, eventually, fresh_slug, required};

use crate::post::{Answer, Post};
use crate::station::{Station, letters};
use crate::topic;

#[tokio::test(flavor = "multi_thread")]
async fn kafka_being_down_delays_events_only_and_they_drain_by_themselves() {
    Station::run(
        |platform| platform.events.delivery.timeout = Seconds(1.0),
        |mut station| async move {
            let slug = fresh_slug("nokafka");
            let tenant = station.world.tenant(&slug, &["ONE"]).await;
            station.finish(station.works(), &[tenant], "ACTIVE").await;
            let brokers = Proxy::to(&required("KAFKA_BROKERS")).await;
            brokers.cut().await;
            station.variables.insert("KAFKA_BROKERS".into(), brokers.address().to_string());
            let relay = station.relay().await;

            relay.until("tenantry_relay_failures_total", "kafka", 3).await;
            letters(&format!("admin@{slug}.example"), 1).await;
            relay.until_drained("email").await;
            assert!(relay.measure("tenantry_outbox_waiting", "kafka").await > 0, "the backlog shows");
            assert!(relay.measure("tenantry_outbox_failing", "kafka").await > 0, "and that it fails");
            assert_eq!(topic::records(&station.topic).await.len(), 0);

            brokers.open().await;
            relay.until_drained("kafka").await;
            let records = station.records(1).await;
            // A try that timed out may have come through all the same: again, but with the same id.
            let ids = station.ids(tenant, "kafka").await;
            assert!(records.iter().all(|record| record.id() == ids[0]), "{records:?}");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_refuses_for_now_delays_letters_only_and_keeps_their_order() {
    Station::run(
        |_| {},
        |mut station| async move {
            let slug = fresh_slug("nomail");
            let tenant = station.world.tenant(&slug, &["ONE"]).await;
            station.finish(station.fails(), &[tenant], "FAILED").await;
            station.world.ask(tenant, Verb::Retry).await.unwrap();
            station.finish(station.works(), &[tenant], "ACTIVE").await;
            let post = Post::open(Answer::Refuse { slug: slug.clone(), line: "451 4.3.0 later" }).await;
            station.variables.insert("SMTP_URL".into(), post.url());
            let relay = station.relay().await;

            relay.until("tenantry_relay_failures_total", "email", 3).await;
            let kinds: Vec<_> = station.records(2).await.iter().map(|it| it.kind().to_owned()).collect();
            assert_eq!(kinds, ["tenant.provisioning_failed", "tenant.provisioned"]);
            eventually("the operators are told", || async { !post.to(&station.operators()).is_empty() })
                .await;
            let address = format!("admin@{slug}.example");
            assert_eq!(post.to(&address).len(), 0);
            assert!(relay.measure("tenantry_outbox_set_aside", "email").await == 0, "it may still be taken");

            post.answer(Answer::Take);
            relay.until_drained("email").await;
            let ids = station.ids(tenant, "email").await;
            let found: Vec<_> = post.to(&address).iter().map(|letter| letter.header("Message-ID")).collect();
            assert_eq!(found, [format!("<{}@matih.ai>", ids[0]), format!("<{}@matih.ai>", ids[1])]);
        },
    )
    .await;
}
