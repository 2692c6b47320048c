//! A letter that no server will ever take, and one that a server takes later.

use engine::decide::verbs::Verb;
use model::platform::Seconds;
use tests::fresh_slug;

use crate::post::{Answer, Post};
use crate::station::Station;

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_refused_for_good_is_set_aside_shown_and_blocks_no_later_one() {
    Station::run(
        |platform| {
            platform.mail.refusals = 2;
            platform.mail.delivery.refused_for = Seconds(2.0);
        },
        |mut station| async move {
            let slug = fresh_slug("refused");
            let tenant = station.world.tenant(&slug, &["ONE"]).await;
            station.finish(station.fails(), &[tenant], "FAILED").await;
            let post =
                Post::open(Answer::Refuse { slug: slug.clone(), line: "550 5.1.1 no such user" }).await;
            station.variables.insert("SMTP_URL".into(), post.url());
            let relay = station.relay().await;
            relay.until("tenantry_outbox_set_aside", "email", 1).await;
            assert!(relay.measure("tenantry_relay_failures_total", "email").await > 1, "not at the first");

            let shown = station.command(&["refused", "list"]).await;
            let ids = station.ids(tenant, "email").await;
            assert!(shown.contains(&ids[0]) && shown.contains("no such user"), "{shown}");

            // The next one is sent although the first was not.
            post.answer(Answer::Take);
            station.world.ask(tenant, Verb::Retry).await.unwrap();
            station.finish(station.works(), &[tenant], "ACTIVE").await;
            relay.until_drained("email").await;
            let address = format!("admin@{slug}.example");
            let ids = station.ids(tenant, "email").await;
            let taken =
                || post.to(&address).iter().map(|letter| letter.header("Message-ID")).collect::<Vec<_>>();
            assert_eq!(taken(), [format!("<{}@matih.ai>", ids[1])]);

            // It was never forgotten.
            station.command(&["refused", "replay", "--id", &ids[0]]).await;
            relay.until("tenantry_relay_delivered_total", "email", 2).await;
            assert_eq!(taken(), [format!("<{}@matih.ai>", ids[1]), format!("<{}@matih.ai>", ids[0])]);
            assert_eq!(relay.measure("tenantry_outbox_set_aside", "email").await, 0);
        },
    )
    .await;
}

/// As while a mail server is being deployed: it denies everybody, with the words that are meant for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_denies_everything_for_a_while_sets_nothing_aside() {
    Station::run(
        |platform| platform.mail.refusals = 2,
        |mut station| async move {
            let slug = fresh_slug("denied");
            let tenant = station.world.tenant(&slug, &["ONE"]).await;
            station.finish(station.works(), &[tenant], "ACTIVE").await;
            let post =
                Post::open(Answer::Refuse { slug: slug.clone(), line: "554 5.7.1 relay access denied" })
                    .await;
            station.variables.insert("SMTP_URL".into(), post.url());
            let relay = station.relay().await;
            // More often than a letter may be refused.
            relay.until("tenantry_relay_failures_total", "email", 5).await;
            assert_eq!(relay.measure("tenantry_outbox_set_aside", "email").await, 0);
            assert_eq!(relay.measure("tenantry_outbox_failing", "email").await, 1, "but it shows");

            post.answer(Answer::Take);
            relay.until_drained("email").await;
            assert_eq!(
                post.to(&format!("admin@{slug}.example")).len(),
                1,
                "nobody had to have it sent again"
            );
        },
    )
    .await;
}
