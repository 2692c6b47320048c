//! Changes of living tenants, as far as the service decides on them. What the runs then do is tested with the engine.

use engine::decide::machine::Event;
use model::TenantId;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, World, with_platform, with_world};

impl World {
    async fn patch(&self, tenant: &str, body: &Value) -> Answer {
        let request = self.request(Method::PATCH, &format!("/api/v1/tenants/{tenant}")).json(body);
        Answer::of(request.send().await.unwrap()).await
    }

    async fn ask(&self, tenant: &str, what: &str) -> Answer {
        let request = self.request(Method::POST, &format!("/api/v1/tenants/{tenant}/{what}"));
        Answer::of(request.send().await.unwrap()).await
    }

    async fn active(&self, slug: &str) -> TenantId {
        let tenant = self.tenant(slug).await;
        self.finish(tenant).await;
        tenant
    }
}

#[tokio::test]
async fn another_tier_is_a_run_until_it_is_so() {
    with_world(|world| async move {
        let tenant = world.active("acme").await;
        let free = json!({ "tier": "free" });
        let begun = world.patch("acme", &free).await.ok(202).body;
        assert_eq!(world.patch("acme", &free).await.ok(202).body["runId"], begun["runId"], "the same run");
        let status = world.status("acme").await;
        assert_eq!((&status["run"]["id"], &status["run"]["kind"]), (&begun["runId"], &json!("change")));
        assert_eq!(status["run"]["change"]["tier"], "free");
        assert_eq!(status["tenant"]["status"], "ACTIVE");
        assert_eq!(status["allowedActions"], json!(["retry", "rollback", "pause", "abandon", "delete"]));
        world.patch("acme", &json!({ "tier": "professional" })).await.problem(409, "invalid_transition");
        world.ask("acme", "suspend").await.problem(409, "invalid_transition");
        assert_eq!(world.get("/api/v1/tenants/acme").await.ok(200).body["tier"], "professional");
        world.finish(tenant).await;
        assert_eq!(world.patch("acme", &free).await.ok(200).body["tier"], "free");
        let page = world.get("/api/v1/tenants/acme/provisioning/audit?limit=500").await.ok(200).body;
        let entries = page["entries"].as_array().unwrap();
        let started = entries.iter().find(|entry| entry["action"] == "CHANGE_STARTED").unwrap();
        assert_eq!(
            (&started["actor"], &started["detail"]["change"]["tier"]),
            (&json!("alice"), &json!("free"))
        );
        assert!(entries.iter().any(|entry| entry["action"] == "TENANT_CHANGED"));
    })
    .await;
}

#[tokio::test]
async fn a_suspended_tenant_says_so_and_is_resumed() {
    with_world(|world| async move {
        let tenant = world.active("acme").await;
        for (what, status) in [("suspend", "SUSPENDED"), ("resume", "ACTIVE")] {
            world.ask("acme", what).await.ok(202);
            world.ask("acme", what).await.ok(202);
            world.finish(tenant).await;
            assert_eq!(world.ask("acme", what).await.ok(200).body["status"], status);
        }
        let counted = world.number("SELECT count(*) FROM provisioning_runs").await;
        assert_eq!(counted, 3);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_tenant_says_when_it_goes_and_resuming_takes_that_back() {
    let kept = |platform: &mut model::platform::Platform| {
        platform.lifecycle.retention = model::platform::Seconds(3600.0);
    };
    with_platform(kept, |world| async move {
        let tenant = world.active("acme").await;
        let wrong = world.delete("/api/v1/tenants/acme?immediately=perhaps").await;
        assert_eq!(wrong.problem(400, "invalid_parameters").fields(), ["immediately"]);
        let deletion = world.delete("/api/v1/tenants/acme").await.ok(202).body;
        assert_eq!(world.status("acme").await["run"]["change"]["status"], "SUSPENDED");
        world.finish(tenant).await;
        let shown = world.get("/api/v1/tenants/acme").await.ok(200).body;
        assert_eq!((&shown["status"], &shown["deleteAt"]), (&json!("SUSPENDED"), &deletion["deleteAt"]));
        assert!(shown["deleteAt"].is_string());
        assert_eq!(world.delete("/api/v1/tenants/acme").await.ok(202).body["deleteAt"], shown["deleteAt"]);
        world.ask("acme", "resume").await.ok(202);
        world.finish(tenant).await;
        assert_eq!(world.get("/api/v1/tenants/acme").await.body["deleteAt"], Value::Null);
        world.delete("/api/v1/tenants/acme?immediately=true").await.ok(202);
        assert_eq!(world.get("/api/v1/tenants/acme").await.body["status"], "DEPROVISIONING");
    })
    .await;
}

#[tokio::test]
async fn a_change_that_was_taken_back_is_shown_with_its_error() {
    with_world(|world| async move {
        let tenant = world.active("acme").await;
        world.patch("acme", &json!({ "tier": "free" })).await.ok(202);
        let claimed = world.claim(tenant).await;
        let error = engine::phase::Error::fatal("quota_exceeded", "too much").record();
        world.end(&claimed, &Event::Fatal(error)).await;
        world.finish(tenant).await;
        let status = world.status("acme").await;
        assert_eq!(
            (&status["run"]["status"], &status["tenant"]["status"]),
            (&json!("failed"), &json!("ACTIVE"))
        );
        assert_eq!(status["run"]["error"]["code"], "quota_exceeded");
        assert_eq!(status["tenant"]["provisioningError"], Value::Null);
        assert_eq!(world.get("/api/v1/tenants/acme").await.ok(200).body["tier"], "professional");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused_and_nothing_is_written() {
    with_world(|world| async move {
        world.active("acme").await;
        world.tenant("young").await;
        let before = world.everything().await;
        for (body, code, fields) in [
            (json!({}), "invalid_fields", vec!["tier"]),
            (json!({ "tier": "gold" }), "invalid_fields", vec!["tier"]),
            (json!({ "tier": 1, "name": "x" }), "invalid_fields", vec!["tier", "name"]),
        ] {
            assert_eq!(world.patch("acme", &body).await.problem(422, code).fields(), fields);
        }
        let moved = world.patch("acme", &json!({ "tier": "enterprise" })).await;
        moved.problem(409, "deployment_would_change");
        world.patch("young", &json!({ "tier": "free" })).await.problem(409, "invalid_transition");
        world.ask("young", "suspend").await.problem(409, "invalid_transition");
        world.ask("nobody", "suspend").await.problem(404, "tenant_not_found");
        world.patch("nobody", &json!({ "tier": "free" })).await.problem(404, "tenant_not_found");
        assert_eq!(world.everything().await, before);
    })
    .await;
}
