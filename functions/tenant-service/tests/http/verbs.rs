//! What operators may do, and what they are refused.

use engine::decide::machine::Event;
use engine::phase::Error;
use serde_json::{Value, json};

use crate::world::with_world;

#[tokio::test]
async fn a_verb_takes_effect_at_once_where_no_worker_is_at_it_and_a_double_click_is_refused() {
    with_world(|world| async move {
        let tenant = world.tenant("acme").await;
        let paused = world.verb("acme", "pause", &json!({ "seq": 1, "reason": "lunch" })).await.ok(202);
        assert_eq!((&paused.body["seq"], &paused.body["pending"]), (&json!(2), &json!(false)));
        let before = world.everything().await;
        let twice = world.verb("acme", "pause", &json!({ "seq": 1 })).await.problem(409, "stale_seq");
        assert_eq!(twice.body["currentSeq"], 2);
        assert_eq!(world.everything().await, before);

        let status = world.get(paused.body["links"]["status"].as_str().unwrap()).await.ok(200).body;
        assert_eq!((&status["run"]["status"], &status["run"]["seq"]), (&json!("paused"), &json!(2)));
        assert_eq!(status["run"]["pauseReason"]["code"], "paused_by_operator");
        assert_eq!(status["run"]["nextAttemptAt"], Value::Null);
        assert_eq!(status["allowedActions"], json!(["retry", "rollback", "resume", "abandon", "delete"]));
        world.verb("acme", "resume", &json!({ "seq": 2 })).await.ok(202);
        world.finish(tenant).await;
        let audit = world.get("/api/v1/tenants/acme/provisioning/audit").await.body;
        let entries = audit["entries"].as_array().unwrap();
        let by = |action: &str| entries.iter().find(|entry| entry["action"] == action).unwrap();
        assert_eq!(
            (&by("RUN_PAUSED")["actor"], &by("RUN_PAUSED")["detail"]["reason"]),
            (&json!("alice"), &json!("lunch"))
        );
        assert_eq!(by("RUN_RESUMED")["actor"], "alice");
        assert_eq!(by("TENANT_ACTIVE")["actor"], "worker");
    })
    .await;
}

#[tokio::test]
async fn while_a_worker_is_at_it_a_verb_is_recorded_and_a_second_one_is_refused() {
    with_world(|world| async move {
        let tenant = world.tenant("acme").await;
        let claimed = world.claim(tenant).await;
        let asked = world.verb("acme", "rollback", &json!({ "seq": 1 })).await.ok(202);
        assert_eq!((&asked.body["seq"], &asked.body["pending"]), (&json!(1), &json!(true)));
        let before = world.everything().await;
        let second =
            world.verb("acme", "rollback", &json!({ "seq": 1 })).await.problem(409, "request_pending");
        assert_eq!(second.body["pending"], "rollback");
        world.delete("/api/v1/tenants/acme").await.problem(409, "request_pending");
        assert_eq!(world.everything().await, before);
        let status = world.status("acme").await;
        assert_eq!(status["run"]["request"]["verb"], "rollback");
        assert_eq!(status["run"]["nextAttemptAt"], Value::Null);
        assert_eq!(status["allowedActions"], json!([]));
        drop(claimed);
    })
    .await;
}

#[tokio::test]
async fn refused_verbs_have_their_code_and_write_nothing() {
    with_world(|world| async move {
        let tenant = world.tenant("acme").await;
        let before = world.everything().await;
        let seq = json!({ "seq": 1 });
        world.verb("acme", "resume", &seq).await.problem(409, "invalid_transition");
        let skip = json!({ "seq": 1, "reason": "not needed" });
        world.verb("acme", "skip", &skip).await.problem(409, "not_skippable");
        for (verb, body, fields) in [
            ("retry", json!({}), &["seq"][..]),
            ("retry", json!({ "seq": "1" }), &["seq"]),
            ("retry", json!({ "seq": 1.5, "force": "yes", "extra": 1 }), &["seq", "force", "extra"]),
            ("skip", json!({ "seq": 1 }), &["reason"]),
            ("abandon", json!({ "seq": 1, "reason": " " }), &["reason"]),
            ("abandon", json!({ "reason": "r".repeat(501) }), &["seq", "reason"]),
        ] {
            let refused = world.verb("acme", verb, &body).await.problem(422, "invalid_fields");
            assert_eq!(refused.fields(), fields, "{verb} {body}");
        }
        world.verb("acme", "retry", &json!([])).await.problem(400, "not_an_object");
        assert_eq!(world.everything().await, before);

        world.finish(tenant).await;
        let before = world.everything().await;
        let seq = json!({ "seq": world.status("acme").await["run"]["seq"], "reason": "why not" });
        for verb in ["retry", "rollback", "pause", "resume", "skip", "abandon"] {
            world.verb("acme", verb, &seq).await.problem(409, "invalid_transition");
        }
        world.verb("acme", "rollback", &json!({ "seq": 1 })).await.problem(409, "stale_seq");
        assert_eq!(world.status("acme").await["allowedActions"], json!(["delete"]));
        assert_eq!(world.everything().await, before);
    })
    .await;
}

#[tokio::test]
async fn skipping_an_undo_that_guards_another_needs_force() {
    with_world(|world| async move {
        let tenant = world.tenant("acme").await;
        let fatal = Event::Fatal(Error::fatal("broken", "it is broken").next("Mend it.").record());
        // The first phase fails for good, and so does its undo.
        world.end(&*world.claim(tenant).await, &fatal).await;
        world.end(&*world.claim(tenant).await, &fatal).await;
        let status = world.status("acme").await;
        assert_eq!(status["run"]["status"], "stuck");
        assert_eq!(status["phases"][0]["error"]["nextAction"], "Mend it.");
        assert_eq!(status["allowedActions"], json!(["retry", "skip", "abandon", "delete"]));
        let seq = status["run"]["seq"].clone();
        let before = world.everything().await;
        let skip = json!({ "seq": seq, "reason": "removed by hand" });
        world.verb("acme", "skip", &skip).await.problem(409, "needs_force");
        assert_eq!(world.everything().await, before);
        let forced = json!({ "seq": seq, "reason": "removed by hand", "force": true });
        world.verb("acme", "skip", &forced).await.ok(202);
        world.finish(tenant).await;
        let failed = world.get("/api/v1/tenants/acme").await.body;
        assert_eq!(
            (&failed["status"], &failed["provisioningError"]["code"]),
            (&json!("FAILED"), &json!("broken"))
        );

        // A failed tenant starts again with a run of its own.
        let status = world.status("acme").await;
        assert_eq!(status["allowedActions"], json!(["retry", "delete"]));
        let retried = world.verb("acme", "retry", &json!({ "seq": status["run"]["seq"] })).await.ok(202);
        assert_ne!(retried.body["runId"], status["run"]["id"]);
        world.finish(tenant).await;
        assert_eq!(world.get("/api/v1/tenants/acme").await.body["status"], "ACTIVE");
    })
    .await;
}

#[tokio::test]
async fn an_abandoned_tenant_is_failed_keeps_its_slug_and_can_be_deleted() {
    with_world(|world| async move {
        let tenant = world.tenant("acme").await;
        world.end(&*world.claim(tenant).await, &Event::Done).await;
        let asked = json!({ "seq": 2, "reason": "the cluster is gone" });
        world.verb("acme", "abandon", &asked).await.ok(202);
        let left = Event::Fatal(Error::fatal("inventory_not_empty", "a namespace is left").record());
        world.end(&*world.claim(tenant).await, &left).await;
        let status = world.status("acme").await;
        assert_eq!((&status["run"]["status"], &status["percent"]), (&json!("abandoned"), &json!(0)));
        assert_eq!(status["tenant"]["provisioningError"]["code"], "abandoned_by_operator");
        assert_eq!(status["allowedActions"], json!(["retry", "delete"]));
        world.create("again", &crate::world::body("acme")).await.problem(409, "slug_taken");
        world.delete("/api/v1/tenants/acme").await.ok(202);
        world.finish(tenant).await;
        assert_eq!(world.get("/api/v1/tenants/acme").await.body["status"], "DELETED");
    })
    .await;
}

#[tokio::test]
async fn delete_takes_an_active_tenant_out_once_however_often_it_is_sent() {
    with_world(|world| async move {
        let tenant = world.tenant("acme").await;
        world.finish(tenant).await;
        let stale = world.delete("/api/v1/tenants/acme?seq=1").await.problem(409, "stale_seq");
        let seq = stale.body["currentSeq"].clone();
        let first = world.delete(&format!("/api/v1/tenants/acme?seq={seq}&reason=gone")).await.ok(202);
        let before = world.everything().await;
        for _ in 0..3 {
            let again = world.delete("/api/v1/tenants/acme").await.ok(202);
            assert_eq!(again.body, first.body);
        }
        assert_eq!(world.everything().await, before);
        let status = world.status("acme").await;
        assert_eq!((&status["run"]["kind"], &status["percent"]), (&json!("deprovision"), &json!(0)));
        assert_eq!(status["phases"].as_array().unwrap().last().unwrap()["name"], "TAKE_INVENTORY");
        world.finish(tenant).await;
        assert_eq!(world.get("/api/v1/tenants/acme").await.body["status"], "DELETED");
        let before = world.everything().await;
        world.delete("/api/v1/tenants/acme").await.problem(409, "invalid_transition");
        assert_eq!(world.everything().await, before);
    })
    .await;
}

#[tokio::test]
async fn many_deletes_at_once_start_one_deprovisioning() {
    with_world(|world| async move {
        let tenant = world.tenant("acme").await;
        world.finish(tenant).await;
        let answers = futures::future::join_all((0..10).map(|_| world.delete("/api/v1/tenants/acme"))).await;
        let runs: std::collections::BTreeSet<String> =
            answers.into_iter().map(|answer| answer.ok(202).body["runId"].to_string()).collect();
        assert_eq!(runs.len(), 1);
        assert_eq!(
            world.number("SELECT count(*) FROM provisioning_runs WHERE kind = 'deprovision'").await,
            1
        );
    })
    .await;
}

#[tokio::test]
async fn of_many_retries_of_a_failed_tenant_at_once_one_starts_a_run() {
    with_world(|world| async move {
        let tenant = world.tenant("acme").await;
        world.verb("acme", "rollback", &json!({ "seq": 1 })).await.ok(202);
        world.finish(tenant).await;
        let seq = json!({ "seq": world.status("acme").await["run"]["seq"] });
        let answers = futures::future::join_all((0..10).map(|_| world.verb("acme", "retry", &seq))).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 202);
        assert_eq!(won.len(), 1);
        for refused in lost {
            refused.problem(409, "stale_seq");
        }
        assert_eq!(world.number("SELECT count(*) FROM provisioning_runs").await, 2);
    })
    .await;
}
