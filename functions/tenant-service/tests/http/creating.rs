//! Creating tenants: once, whatever is sent how often.

use model::{DeploymentType, TenantId, Tier};
use serde_json::json;
use tenants::phases;

use crate::world::{Answer, BOB, body, with_platform, with_world};

#[tokio::test]
async fn a_tenant_is_recorded_with_its_run_and_answered_202() {
    with_world(|world| async move {
        let mut body = body("acme");
        body["domain"] = json!("Portal.Acme.Example");
        body["costCenter"] = json!("CC-1");
        body["alerting"] =
            json!({ "email": "ops@acme.example", "slackWebhookRef": "k8s:matih-acme/slack#url" });
        let made = world.create("k", &body).await.ok(202);
        let id = made.body["id"].as_str().unwrap().to_owned();
        assert_eq!(made.header("location"), format!("/api/v1/tenants/{id}"));
        assert!(made.header("retry-after").parse::<u32>().unwrap() > 0);
        for (field, value) in [
            ("slug", json!("acme")),
            ("status", json!("PENDING")),
            ("tier", json!("professional")),
            ("deploymentType", json!("container_per_tenant")),
            ("hasDedicatedDatabase", json!(true)),
            ("domain", json!("portal.acme.example")),
            ("costCenter", json!("CC-1")),
            ("createdBy", json!("alice")),
            ("provisioningError", json!(null)),
            ("deletedAt", json!(null)),
        ] {
            assert_eq!(made.body[field], value, "{field}");
        }
        assert!(made.body["deploymentReason"].as_str().unwrap().contains("asks for"));
        // The links lead somewhere.
        for link in made.body["links"].as_object().unwrap().values() {
            world.get(link.as_str().unwrap()).await.ok(200);
        }
        assert_eq!(world.get("/api/v1/tenants/acme").await.ok(200).body, made.body);
        assert_eq!(world.get(made.header("location")).await.ok(200).body, made.body);
        let phases = phases::plan(DeploymentType::ContainerPerTenant, Tier::Professional).len();
        let recorded = world.number("SELECT count(*) FROM provisioning_phases WHERE position >= 0").await;
        assert_eq!(usize::try_from(recorded), Ok(phases));
        assert_eq!(
            world.number("SELECT count(*) FROM provisioning_audit_logs WHERE actor = 'alice'").await,
            1
        );
    })
    .await;
}

#[tokio::test]
async fn the_same_key_and_body_get_the_first_answer_and_make_one_tenant() {
    with_world(|world| async move {
        let first = world.create("same", &body("acme")).await.ok(202);
        assert_eq!(first.header("idempotency-replayed"), "");
        let before = world.everything().await;
        let second = world.create("same", &body("acme")).await.ok(202);
        assert_eq!(second.header("idempotency-replayed"), "true");
        assert_eq!(second.body, first.body);
        for header in ["location", "retry-after", "content-type"] {
            assert_eq!(second.header(header), first.header(header), "{header}");
        }
        assert_eq!(world.everything().await, before);
        assert_eq!(world.number("SELECT count(*) FROM tenants").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_key_belongs_to_one_body_and_to_one_caller() {
    with_world(|world| async move {
        world.create("key", &body("acme")).await.ok(202);
        let before = world.everything().await;
        world.create("key", &body("other")).await.problem(422, "idempotency_key_reused");
        assert_eq!(world.everything().await, before);
        let bob = world.client.post(format!("{}/api/v1/tenants", world.url)).bearer_auth(BOB);
        let bob = bob.header("idempotency-key", "key").json(&body("other")).send().await.unwrap();
        assert_eq!(Answer::of(bob).await.ok(202).body["createdBy"], "bob");
    })
    .await;
}

#[tokio::test]
async fn a_key_whose_request_is_still_being_answered_is_409() {
    with_world(|world| async move {
        let before = world.everything().await;
        let mut other = world.look().await;
        sqlx::query("SELECT pg_advisory_lock(hashtextextended('alice' || chr(10) || 'held', 1))")
            .execute(&mut other)
            .await
            .unwrap();
        let refused = world.create("held", &body("acme")).await.problem(409, "idempotency_key_in_flight");
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(world.everything().await, before);
        drop(other);
        // The lock is the database session's own; it is gone a moment after the session.
        for _ in 0..200 {
            if world.create("held", &body("acme")).await.status == 202 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("the key stayed taken");
    })
    .await;
}

#[tokio::test]
async fn of_two_requests_for_one_slug_at_once_one_is_made_and_one_is_told_so() {
    with_world(|world| async move {
        for round in 0..10 {
            let slug = format!("twice-{round}");
            let (one, two) = (body(&slug), body(&slug));
            let (keys, world) = ((format!("a{round}"), format!("b{round}")), &world);
            let (first, second) = tokio::join!(world.create(&keys.0, &one), world.create(&keys.1, &two));
            let (won, lost) = if first.status == 202 { (first, second) } else { (second, first) };
            won.ok(202);
            let lost = lost.problem(409, "slug_taken");
            assert_eq!(lost.body["tenant"], format!("/api/v1/tenants/{slug}"));
        }
        assert_eq!(world.number("SELECT count(*) FROM tenants").await, 10);
        assert_eq!(world.number("SELECT count(*) FROM provisioning_runs").await, 10);
    })
    .await;
}

#[tokio::test]
async fn one_key_sent_many_times_at_once_makes_one_tenant() {
    with_world(|world| async move {
        let wanted = body("acme");
        let answers = futures::future::join_all((0..12).map(|_| world.create("storm", &wanted))).await;
        for answer in answers {
            match answer.status {
                202 => assert_eq!(answer.body["slug"], "acme"),
                _ => drop(answer.problem(409, "idempotency_key_in_flight")),
            }
        }
        assert_eq!(world.number("SELECT count(*) FROM tenants").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_slug_rests_after_its_tenant_is_deleted_and_then_is_free_again() {
    with_platform(
        |platform| platform.slug_rest = model::platform::Seconds(3.0),
        |world| async move {
            let first: TenantId = world.tenant("acme").await;
            world.finish(first).await;
            world.delete("/api/v1/tenants/acme").await.ok(202);
            world.create("early", &body("acme")).await.problem(409, "slug_taken");
            world.finish(first).await;
            assert_eq!(world.get("/api/v1/tenants/acme").await.body["status"], "DELETED");

            let resting = world.create("resting", &body("acme")).await.problem(409, "slug_taken");
            assert!(resting.body["freeAt"].is_string(), "{}", resting.body);
            let wait: u64 = resting.header("retry-after").parse().unwrap();
            tokio::time::sleep(std::time::Duration::from_secs(wait)).await;

            let again = world.create("resting", &body("acme")).await.ok(202);
            assert_ne!(again.body["id"], first.to_string());
            // A slug means its newest tenant; the old one is still there under its id.
            assert_eq!(world.get("/api/v1/tenants/acme").await.body["id"], again.body["id"]);
            assert_eq!(world.get(&format!("/api/v1/tenants/{first}")).await.body["status"], "DELETED");
        },
    )
    .await;
}
