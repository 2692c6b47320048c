//! Relays that die at the worst moment.

use std::collections::BTreeSet;

use model::platform::Seconds;
use sqlx::Executor as _;
use tests::{eventually, fresh_slug};

use crate::post::{Answer, Post};
use crate::station::Station;
use crate::topic::Record;

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_between_sending_and_marking_leaves_it_to_another_with_the_same_id() {
    Station::run(
        |platform| {
            for delivery in [&mut platform.events.delivery, &mut platform.mail.delivery] {
                delivery.timeout = Seconds(5.0);
                delivery.claim = Seconds(15.0);
            }
        },
        |mut station| async move {
            let slug = fresh_slug("killed");
            let tenant = station.world.tenant(&slug, &["ONE"]).await;
            station.finish(station.works(), &[tenant], "ACTIVE").await;
            // Kafka has acknowledged, and the relay cannot write it.
            station
                .world
                .pool
                .execute(
                    "CREATE FUNCTION not_now() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN RAISE EXCEPTION 'not now'; END $$;
                     CREATE TRIGGER not_now BEFORE UPDATE OF delivered_at ON outbox FOR EACH ROW
                     WHEN (NEW.sink = 'kafka') EXECUTE FUNCTION not_now()",
                )
                .await
                .unwrap();
            // The mail server has the letter, and the relay does not know it.
            let post = Post::open(Answer::Swallow).await;
            station.variables.insert("SMTP_URL".into(), post.url());
            let address = format!("admin@{slug}.example");
            let mut first = station.relay().await;
            eventually("the letter is with the server", || async { !post.to(&address).is_empty() }).await;
            station.records(1).await;
            first.process.kill();
            station.world.pool.execute("DROP TRIGGER not_now ON outbox").await.unwrap();
            post.answer(Answer::Take);

            let second = station.relay().await;
            second.until_drained("kafka").await;
            second.until_drained("email").await;
            let records = station.records(2).await;
            let ids: BTreeSet<&str> = records.iter().map(Record::id).collect();
            assert_eq!(ids.into_iter().collect::<Vec<_>>(), station.ids(tenant, "kafka").await);
            let letters = post.to(&address);
            assert!(letters.len() > 1, "sent again");
            let ids: BTreeSet<_> = letters.iter().map(|letter| letter.header("Message-ID")).collect();
            let id = station.ids(tenant, "email").await.remove(0);
            assert_eq!(ids, BTreeSet::from([format!("<{id}@matih.ai>")]));
        },
    )
    .await;
}
