//! How an administrator comes in: from the request to the password, by the real programs, whatever is down in between.

use engine::store::Sealed;
use license::invitation::Token;
use model::TenantId;
use model::platform::{Delivery, Platform, Seconds};
use serde_json::{Value, json};
use tests::process::free_port;
use tests::{Site, calm, eventually, fresh_slug, letters, mailbox, required};

use crate::secrets::tables;

const PASSWORD: &str = "correct horse battery";

fn prompt(platform: &mut Platform) {
    calm(platform);
    platform.events.topic = format!("site-{}", uuid::Uuid::new_v4().simple());
    platform.invitations.delivery = Delivery {
        backoff: Seconds(0.2),
        backoff_cap: Seconds(1.0),
        poll: Seconds(0.2),
        ..Delivery::default()
    };
    platform.mail.delivery = platform.invitations.delivery.clone();
}

/// The token that waits, opened as the relay opens it.
async fn waiting(site: &Site, tenant: TenantId) -> Option<Token> {
    let row: (Option<Vec<u8>>, Option<Vec<u8>>, Option<String>) = sqlx::query_as(
        "SELECT sealed, wrapped_key, kek_id FROM outbox WHERE tenant_id = $1 AND sink = 'invitation' \
         ORDER BY number DESC LIMIT 1",
    )
    .bind(tenant.0)
    .fetch_one(&site.world.pool)
    .await
    .unwrap();
    let sealed = Sealed { text: row.0?, data_key: row.1?, key_id: row.2? };
    let seals = license::seals(&tests::license()).unwrap();
    let text = seals.open(license::seal::Purpose::Invitation, tenant, &sealed).unwrap();
    Some(Token::parse(&text).unwrap())
}

/// The invitations to an address, oldest first, once there are so many: Message-ID and the token of the link.
async fn invitations(slug: &str, count: usize) -> Vec<(String, Token)> {
    let address = format!("admin@{slug}.example");
    let link = format!("https://{slug}.matih.ai/invitation/");
    let read = |letter: &Value| {
        let token = |key: &str| {
            let after = letter[key].as_str()?.split(&link).nth(1)?;
            Some(
                after
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
                    .collect::<String>(),
            )
        };
        let (text, html) = (token("text")?, token("html")?);
        assert_eq!(text, html);
        Some((letter["messageId"].as_str()?.to_owned(), Token::parse(&text)?))
    };
    eventually(&format!("{count} invitations to {address}"), || async {
        mailbox(&address).await.iter().filter_map(read).count() >= count
    })
    .await;
    mailbox(&address).await.iter().filter_map(read).collect()
}

async fn accept(site: &Site, token: &Token) -> (u16, String) {
    let body = json!({ "token": token.expose(), "password": PASSWORD });
    let url = format!("{}/api/v1/invitations/accept", site.tenant_api_url());
    let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

fn gone(code: &str) -> (u16, String) {
    (410, code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_that_arrives_is_the_one_that_works_and_works_once() {
    Site::run_with(prompt, |site| async move {
        let (service, api) = site.tenant_service().await;
        let dispatcher = site.dispatcher();
        let (slug, slug2) = (fresh_slug("in"), fresh_slug("again"));
        let (one, two) = (api.create_shared(&slug).await, api.create_shared(&slug2).await);
        site.until(one, "ACTIVE").await;
        site.until(two, "ACTIVE").await;

        // No relay yet: it waits, sealed.
        let sealed = waiting(&site, one).await.unwrap();
        let dump = tables(&site.world).await;
        assert!(dump.contains("user.invited"));
        let (mut relay, _) = site.relay(&required("SMTP_URL")).await;
        let (id, token) = invitations(&slug, 1).await.remove(0);
        assert_eq!(token.hash(), sealed.hash(), "what was sealed is what is sent");
        eventually("it is erased with its delivery", || async { waiting(&site, one).await.is_none() }).await;
        let row: String =
            sqlx::query_scalar("SELECT id::text FROM outbox WHERE tenant_id = $1 AND sink = 'invitation'")
                .bind(one.0)
                .fetch_one(&site.world.pool)
                .await
                .unwrap();
        assert_eq!(id.trim_matches(['<', '>']), format!("{row}@matih.ai"), "the Message-ID stays");
        let first = invitations(&slug2, 1).await.remove(0).1;
        assert_eq!(accept(&site, &token).await.0, 200);
        assert_eq!(accept(&site, &token).await, gone("invitation_used"));
        relay.kill();

        // Another one for who has not come in yet; the mail server is away at first, and then the relay dies.
        api.invite(two).await;
        let second = waiting(&site, two).await.unwrap();
        let nobody = format!("smtp://127.0.0.1:{}", free_port());
        let (mut failing, measures) = site.relay(&nobody).await;
        eventually("it fails at the mail server", || async {
            let text = reqwest::get(&measures).await.unwrap().text().await.unwrap();
            text.lines().any(|line| {
                line.strip_prefix("tenantry_relay_failures_total{sink=\"invitation\"} ")
                    .is_some_and(|count| count != "0")
            })
        })
        .await;
        failing.kill();
        assert_eq!(accept(&site, &first).await, gone("invitation_void"), "as soon as the new one is told");
        let (relay, _) = site.relay(&required("SMTP_URL")).await;
        let sent = invitations(&slug2, 2).await;
        assert_eq!(sent[1].1.hash(), second.hash(), "a relay that died made no other link");
        assert_eq!(accept(&site, &sent[1].1).await.0, 200);
        assert_eq!(accept(&site, &sent[1].1).await, gone("invitation_used"));

        // For who has come in there is nothing to send.
        api.invite(one).await;
        eventually("it is done with", || async { waiting(&site, one).await.is_none() }).await;
        // "Ready", and the one invitation.
        assert_eq!(letters(&format!("admin@{slug}.example"), 2).await.len(), 2);

        let after = tables(&site.world).await;
        let places =
            [dump, after, relay.log(), failing.log(), service.log(), dispatcher.log(), site.tenant_api_log()];
        for (nth, place) in places.iter().enumerate() {
            assert!(place.contains(&two.to_string()), "place {nth} tells of the tenant");
            for token in [&token, &first, &second] {
                // Without the third that is the tenant's id.
                assert!(!place.contains(&token.expose()[22..]), "a token is in place {nth}");
            }
            assert!(!place.contains(PASSWORD), "a password is in place {nth}");
        }
        for tenant in [one, two] {
            api.delete(tenant).await;
            site.until(tenant, "DELETED").await;
        }
        site.nothing_is_left(&slug, one).await;
        site.nothing_is_left(&slug2, two).await;
    })
    .await;
}
