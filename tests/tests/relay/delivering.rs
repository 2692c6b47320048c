//! What is told when all is well.

use std::collections::BTreeSet;

use engine::decide::verbs::Verb;
use model::OnFailure;
use nix::sys::signal::Signal;
use serde_json::Value;
use tenants::NewTenant;
use tests::{fresh_slug, required};

use crate::station::{Station, letters, mailbox};
use crate::topic;

/// Names that a letter shall not let through as they are.
const NAME: &str = "<b>Acme</b> & \"Söhne\"";

fn message_id(letter: &Value) -> String {
    letter["messageId"].as_str().expect("a Message-ID").trim_matches(['<', '>']).to_owned()
}

fn text(letter: &Value, key: &str) -> String {
    letter[key].as_str().expect("a text").to_owned()
}

/// Nothing that opens anything is in what goes out.
fn no_secret(what: &str) {
    for name in
        ["ADMIN_TOKEN", "TENANT_API_INTERNAL_SECRET", "REGION_DATABASE_ADMIN_PASSWORD", "PDNS_API_KEY"]
    {
        assert!(!what.contains(&required(name)), "{name} is in {what}");
    }
    for word in ["password", "token", "invit", "postgres://"] {
        assert!(!what.to_lowercase().contains(word), "'{word}' is in {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_run_is_an_event_and_a_letter_with_ids_that_stay() {
    Station::run(
        |_| {},
        |station| async move {
            let slug = fresh_slug("told");
            let tenant = station.world.tenant_as(&slug, &["ONE"], |new| new.name = NAME.into()).await;
            station.finish(station.works(), &[tenant], "ACTIVE").await;
            let mut relay = station.relay().await;

            let event = station.records(1).await.remove(0);
            assert_eq!(event.key, tenant.to_string());
            assert!(event.content_type.starts_with("application/cloudevents+json"), "{event:?}");
            assert_eq!(event.event["specversion"], "1.0");
            assert_eq!(station.ids(tenant, "kafka").await, [event.id()]);
            assert_eq!(event.kind(), "tenant.provisioned");
            assert_eq!(event.event["subject"], tenant.to_string());
            assert_eq!(event.event["data"]["name"], NAME);
            assert_eq!(event.event["data"]["url"], format!("https://{slug}.matih.ai"));

            let address = format!("admin@{slug}.example");
            let letter = letters(&address, 1).await.remove(0);
            let id = station.ids(tenant, "email").await.remove(0);
            assert_eq!(message_id(&letter), format!("{id}@matih.ai"));
            assert_eq!(letter["subject"], format!("{NAME} is ready"));
            let html = text(&letter, "html");
            assert!(html.contains("&lt;b&gt;Acme&lt;/b&gt; &amp; &quot;Söhne&quot;"), "{html}");
            assert!(!html.contains("<b>Acme"), "{html}");
            assert!(html.contains(&format!("<a href=\"https://{slug}.matih.ai\">")), "{html}");
            assert!(text(&letter, "text").contains(NAME) && text(&letter, "text").contains("https://"));
            no_secret(&["subject", "text", "html"].map(|key| text(&letter, key)).concat());
            no_secret(&event.event.to_string());

            relay.until_drained("kafka").await;
            relay.until_drained("email").await;
            assert_eq!(topic::records(&station.topic).await.len(), 1);
            assert_eq!(mailbox(&address).await.len(), 1);
            assert_eq!(mailbox(&station.operators()).await.len(), 0);
            relay.process.signal(Signal::SIGTERM);
            assert_eq!(relay.process.end().await.code(), Some(0));
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_to_the_operators_with_its_cause_and_what_to_do() {
    Station::run(
        |_| {},
        |station| async move {
            let slug = fresh_slug("fails");
            let tenant = station.world.tenant(&slug, &["ONE"]).await;
            // A rollback lies between the failure and the run's end.
            station.finish(station.fails(), &[tenant], "FAILED").await;
            // One pass, as on a schedule.
            station.command(&["once"]).await;

            let event = station.records(1).await.remove(0);
            assert_eq!(event.kind(), "tenant.provisioning_failed");
            assert_eq!(event.event["data"]["error"]["code"], "no_chart");
            let letter = letters(&station.operators(), 1).await.remove(0);
            assert!(text(&letter, "subject").contains(&slug));
            assert!(text(&letter, "text").contains("no_chart: no chart <ingress> & no other"));
            assert!(text(&letter, "text").contains("Publish the chart."));
            assert!(text(&letter, "html").contains("no chart &lt;ingress&gt; &amp; no other"));
            let id = station.ids(tenant, "operators").await.remove(0);
            assert_eq!(message_id(&letter), format!("{id}@matih.ai"));
            let letter = letters(&format!("admin@{slug}.example"), 1).await.remove(0);
            assert!(
                !letter.to_string().contains("no_chart"),
                "the cause is the operators' to read: {letter}"
            );
            no_secret(&["subject", "text", "html"].map(|key| text(&letter, key)).concat());
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_an_operator_is_told_to_the_operators_alone() {
    Station::run(
        |_| {},
        |station| async move {
            let slug = fresh_slug("waits");
            let pauses = |new: &mut NewTenant| new.on_failure = OnFailure::Pause;
            let tenant = station.world.tenant_as(&slug, &["ONE"], pauses).await;
            let dispatcher = station.world.dispatch(vec![station.fails()]);
            let row = station.world.until_row(tenant, "paused", |row| row.run.status == "paused").await;
            dispatcher.stop().await.unwrap();
            station.command(&["once"]).await;

            let letter = letters(&station.operators(), 1).await.remove(0);
            let id = station.ids(tenant, "operators").await.remove(0);
            assert_eq!(message_id(&letter), format!("{id}@matih.ai"));
            assert_eq!(
                letter["subject"],
                format!("{slug} ({slug}): paused while being provisioned: no_chart")
            );
            let plain = text(&letter, "text");
            for part in [
                "is paused while being provisioned, at ONE.",
                "Cause: no_chart: no chart <ingress> & no other",
                "Next action: Publish the chart.",
                "Allowed verbs: retry, rollback, resume, abandon, delete",
                &format!("POST /api/v1/tenants/{tenant}/provisioning/<verb> {{\"seq\": {},", row.run.seq),
            ] {
                assert!(plain.contains(part), "{part} in {plain}");
            }
            let html = text(&letter, "html");
            assert!(html.contains("no chart &lt;ingress&gt; &amp; no other"), "{html}");
            no_secret(&["subject", "text", "html"].map(|key| text(&letter, key)).concat());
            // One pass has told all there is to tell.
            assert_eq!(mailbox(&station.operators()).await.len(), 1);
            assert_eq!(mailbox(&format!("admin@{slug}.example")).await.len(), 0);
            assert_eq!(station.ids(tenant, "kafka").await, [""; 0]);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_deliver_each_once_and_a_tenants_in_order() {
    const TENANTS: usize = 12;
    Station::run(
        // Few at a time, so that both have a part in it.
        |platform| platform.events.delivery.in_flight = 3,
        |station| async move {
            let mut tenants = Vec::new();
            for _ in 0..TENANTS {
                tenants.push(station.world.tenant(&fresh_slug("pair"), &["ONE"]).await);
            }
            station.finish(station.works(), &tenants, "ACTIVE").await;
            for tenant in &tenants {
                station.world.ask(*tenant, Verb::Delete).await.unwrap();
            }
            station.finish(station.works(), &tenants, "DELETED").await;

            let (one, other) = tokio::join!(station.relay(), station.relay());
            one.until_drained("kafka").await;
            one.until_drained("email").await;
            let records = station.records(2 * TENANTS).await;
            assert_eq!(records.len(), 2 * TENANTS, "each once");
            let ids: BTreeSet<&str> = records.iter().map(topic::Record::id).collect();
            assert_eq!(ids.len(), records.len());
            for tenant in &tenants {
                let of_tenant: Vec<_> =
                    records.iter().filter(|record| record.key == tenant.to_string()).collect();
                let kinds: Vec<_> = of_tenant.iter().map(|record| record.kind()).collect();
                assert_eq!(kinds, ["tenant.provisioned", "tenant.deprovisioned"]);
            }
            let (by_one, by_other) = tokio::join!(
                one.measure("tenantry_relay_delivered_total", "email"),
                other.measure("tenantry_relay_delivered_total", "email"),
            );
            assert_eq!(usize::try_from(by_one + by_other).unwrap(), TENANTS, "each letter once");
        },
    )
    .await;
}
