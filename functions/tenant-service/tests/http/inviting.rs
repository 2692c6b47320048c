//! Another invitation for a tenant's administrator.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use license::invitation::Token;
use license::seal::Purpose;
use model::TenantId;
use model::platform::Platform;
use model::secret::SecretRef;
use reqwest::Method;
use serde_json::json;

use crate::world::{Answer, World, with_platform};

/// A platform with a key that seals, in a file of this folder.
fn with_key(platform: &mut Platform, folder: &Path) {
    let path = folder.join("key");
    std::fs::write(&path, STANDARD.encode([7; 32])).unwrap();
    platform.license.seal_with = "k1".into();
    let key = SecretRef::File(path.display().to_string());
    platform.license.key_encryption_keys.insert("k1".into(), key);
}

impl World {
    async fn invite(&self, tenant: impl ToString, key: &str) -> Answer {
        let path = format!("/api/v1/tenants/{}/bootstrap-user/invitations", tenant.to_string());
        let request = self.request(Method::POST, &path).header("idempotency-key", key);
        Answer::of(request.send().await.unwrap()).await
    }

    async fn waiting(&self) -> i64 {
        self.number("SELECT count(*) FROM outbox WHERE sink = 'invitation' AND delivered_at IS NULL").await
    }

    async fn token(&self, tenant: TenantId) -> Token {
        let found = self.store.invitation(tenant).await.unwrap().unwrap();
        let seals = license::seals(&self.platform.license).unwrap();
        let text = seals.open(Purpose::Invitation, tenant, &found.sealed.unwrap()).unwrap();
        Token::parse(&text).unwrap()
    }
}

#[tokio::test]
async fn an_active_tenants_administrator_is_invited_again_once_for_each_key() {
    let folder = tempfile::tempdir().unwrap();
    with_platform(
        |platform| with_key(platform, folder.path()),
        async |world| {
            let tenant = world.tenant("again").await;
            let early = world.invite(tenant, "early").await.problem(409, "tenant_not_active");
            assert!(early.body["detail"].as_str().unwrap().contains("PENDING"), "{}", early.body);
            world.finish(tenant).await;
            let first = world.invite("again", "one").await.ok(202);
            assert_eq!(first.body["tenantId"], json!(tenant));
            let token = world.token(tenant).await;
            assert_eq!(token.tenant(), tenant);
            // Sent again, it is the same one.
            let again = world.invite("again", "one").await.ok(202);
            assert_eq!((&again.body, again.header("idempotency-replayed")), (&first.body, "true"));
            assert_eq!((world.waiting().await, world.token(tenant).await.hash()), (1, token.hash()));
            // A new one takes the place of what waits.
            let second = world.invite("again", "two").await.ok(202);
            assert_ne!(second.body["invitationId"], first.body["invitationId"]);
            assert_eq!(world.waiting().await, 1);
            let newer = world.token(tenant).await;
            assert_ne!(newer.hash(), token.hash());

            let audit = world.get("/api/v1/tenants/again/provisioning/audit?limit=200").await.ok(200);
            let rows = audit.body["entries"].as_array().unwrap_or_else(|| panic!("{}", audit.body)).clone();
            let rows: Vec<_> = rows.iter().filter(|row| row["action"] == "INVITATION_RENEWED").collect();
            assert_eq!(rows.len(), 2, "{rows:?}");
            assert_eq!(
                (&rows[0]["actor"], &rows[0]["detail"]["invitationId"]),
                (&json!("alice"), &first.body["invitationId"])
            );
            let everything = world.everything().await;
            for token in [token, newer] {
                assert!(!everything.contains(token.expose()) && !everything.contains(&token.expose()[22..]));
            }
        },
    )
    .await;
}

#[tokio::test]
async fn what_cannot_be_invited_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    with_platform(
        |platform| with_key(platform, folder.path()),
        async |world| {
            let tenant = world.tenant("refused").await;
            world.finish(tenant).await;
            let before = world.everything().await;
            let path = "/api/v1/tenants/refused/bootstrap-user/invitations";
            let bare = Answer::of(world.request(Method::POST, path).send().await.unwrap()).await;
            bare.problem(400, "idempotency_key_required");
            let asked = world.request(Method::POST, path).header("idempotency-key", "k");
            let told = asked.json(&json!({ "email": "bob@acme.example" })).send().await.unwrap();
            assert_eq!(Answer::of(told).await.problem(422, "invalid_fields").fields(), ["email"]);
            world.invite("nobody", "k").await.problem(404, "tenant_not_found");
            let anonymous = world.client.post(format!("{}{path}", world.url)).send().await.unwrap();
            Answer::of(anonymous).await.problem(401, "unauthorized");
            // Its key is gone.
            let key = folder.path().join("key");
            let good = std::fs::read(&key).unwrap();
            for bad in [None, Some("c2hvcnQ=")] {
                std::fs::remove_file(&key).ok();
                bad.inspect(|text| std::fs::write(&key, text).unwrap());
                let lost = world.invite(tenant, "k").await.problem(503, "license_key");
                assert!(!lost.body.to_string().contains("c2hvcnQ="));
            }
            assert_eq!(world.everything().await, before);
            std::fs::write(&key, good).unwrap();
            world.invite(tenant, "k").await.ok(202);

            // One without an administrator.
            let forget = "DELETE FROM tenant_phases WHERE name = 'CREATE_BOOTSTRAP_USER'";
            sqlx::query(forget).execute(&mut world.look().await).await.unwrap();
            world.invite(tenant, "l").await.problem(409, "no_bootstrap_user");
            world.delete(&format!("/api/v1/tenants/{tenant}")).await.ok(202);
            world.invite(tenant, "m").await.problem(409, "tenant_not_active");
        },
    )
    .await;
}
