//! What is shown.

use engine::decide::machine::Event;
use engine::phase::{Error, Operation, OperationState, Wait};
use model::{DeploymentType, PhaseName, Tier};
use serde_json::{Value, json};
use tenants::phases;

use crate::world::with_world;

#[tokio::test]
async fn the_status_of_a_fresh_tenant_says_what_will_happen() {
    with_world(|world| async move {
        let tenant = world.tenant("acme").await;
        let status = world.status(tenant).await;
        assert_eq!(
            status["tenant"],
            json!({ "id": tenant, "slug": "acme", "status": "PENDING", "provisioningError": null })
        );
        for (field, value) in [
            ("kind", json!("provision")),
            ("status", json!("running")),
            ("direction", json!("forward")),
            ("seq", json!(1)),
            ("request", json!(null)),
            ("actor", json!("alice")),
            ("finishedAt", json!(null)),
        ] {
            assert_eq!(status["run"][field], value, "{field}");
        }
        assert_eq!((&status["percent"], &status["slow"]), (&json!(0), &json!(false)));
        // Nothing has ever been provisioned: the middle of the typical durations.
        let plan = phases::plan(DeploymentType::ContainerPerTenant, Tier::Professional);
        let facts = plan.iter().filter_map(phases::facts);
        let typical = facts.map(|phase| f64::from(phase.typical.0 + phase.typical.1) / 2.0);
        assert_eq!(status["expectedRemainingSeconds"], typical.sum::<f64>());
        let names: Vec<&str> =
            status["phases"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
        assert_eq!(names, plan.iter().map(PhaseName::as_str).collect::<Vec<_>>());
        assert_eq!(
            status["phases"][0],
            json!({
                "name": "CREATE_NAMESPACE", "state": "pending", "operations": [],
                "attempts": { "failures": 0, "totalFailures": 0, "lost": 0 }, "waits": 0, "waitingOn": null,
                "error": null, "startedAt": null, "finishedAt": null, "revertedAt": null,
                "expectedSeconds": 17.5, "slow": false,
            })
        );
        assert_eq!(status["allowedActions"], json!(["retry", "rollback", "pause", "abandon", "delete"]));
    })
    .await;
}

#[tokio::test]
async fn the_status_follows_the_run_to_its_end() {
    with_world(|world| async move {
        let tenant = world.tenant("acme").await;
        let claimed = world.claim(tenant).await;
        let now = chrono::Utc::now();
        let done = Operation {
            name: "namespace".into(),
            state: OperationState::Done,
            started_at: now,
            finished_at: Some(now),
            result: json!({ "uid": "1" }),
            kept: None,
        };
        let kept =
            world.store.record(&claimed.hold, Some(&[done]), Some(&json!({})), &world.platform.engine).await;
        kept.unwrap().unwrap();
        let status = world.status("acme").await;
        assert_eq!(status["tenant"]["status"], "PROVISIONING");
        assert_eq!(status["phases"][0]["state"], "running");
        assert_eq!(status["phases"][0]["operations"][0]["name"], "namespace");
        assert_eq!(status["phases"][0]["operations"][0]["state"], "done");

        let on = "Service matih-acme/x has no external IP, attempt 3/60";
        let wait = Wait { after: std::time::Duration::ZERO, on: on.into(), fixed: false };
        world.end(&claimed, &Event::Wait(wait)).await;
        let status = world.status("acme").await;
        assert_eq!(
            (&status["phases"][0]["state"], &status["phases"][0]["waits"]),
            (&json!("waiting"), &json!(1))
        );
        assert_eq!(status["phases"][0]["waitingOn"], on);

        let failure =
            Error::retryable("chart_repository", "503 from the repository").next("Look at it.").record();
        world.end(&*world.claim(tenant).await, &Event::Retryable(failure)).await;
        let phase = world.status("acme").await["phases"][0].clone();
        assert_eq!(phase["attempts"], json!({ "failures": 1, "totalFailures": 1, "lost": 0 }));
        assert_eq!(phase["error"]["code"], "chart_repository");
        assert_eq!(phase["error"]["nextAction"], "Look at it.");
        assert_eq!(phase["error"]["kind"], "retryable");

        // An operator who does not want to wait for the backoff.
        let seq = world.status("acme").await["run"]["seq"].clone();
        world.verb("acme", "retry", &json!({ "seq": seq })).await.ok(202);
        world.end(&*world.claim(tenant).await, &Event::Done).await;
        let status = world.status("acme").await;
        assert_eq!(status["phases"][0]["state"], "done");
        let percent = status["percent"].as_u64().unwrap();
        assert!((1..50).contains(&percent), "{percent}");
        world.finish(tenant).await;
        let status = world.status("acme").await;
        assert_eq!((&status["percent"], &status["expectedRemainingSeconds"]), (&json!(100), &json!(0.0)));
        assert_eq!(status["run"]["status"], "succeeded");
        assert_eq!(status["allowedActions"], json!(["delete"]));
        let tenant = world.get("/api/v1/tenants/acme").await.body;
        assert_eq!(tenant["status"], "ACTIVE");
        assert!(tenant["provisioningCompletedAt"].is_string());
    })
    .await;
}

#[tokio::test]
async fn a_rollback_shows_what_is_undone_and_the_inventory_last() {
    with_world(|world| async move {
        let tenant = world.tenant("acme").await;
        world.end(&*world.claim(tenant).await, &Event::Done).await;
        world.verb("acme", "rollback", &json!({ "seq": 2 })).await.ok(202);
        let status = world.status("acme").await;
        assert_eq!((&status["run"]["direction"], &status["percent"]), (&json!("backward"), &json!(0)));
        assert_eq!(status["expectedRemainingSeconds"], Value::Null);
        let phases = status["phases"].as_array().unwrap();
        let plan = phases::plan(DeploymentType::ContainerPerTenant, Tier::Professional);
        assert_eq!(phases.len(), plan.len() + 1);
        assert_eq!(phases.last().unwrap()["name"], "TAKE_INVENTORY");
        // Three undos: the phase that was next, the one that was done, the inventory.
        for percent in [33, 66] {
            world.end(&*world.claim(tenant).await, &Event::Done).await;
            assert_eq!(world.status("acme").await["percent"], percent);
        }
        world.finish(tenant).await;
        let status = world.status("acme").await;
        assert_eq!((&status["percent"], &status["tenant"]["status"]), (&json!(100), &json!("FAILED")));
        assert_eq!(status["tenant"]["provisioningError"]["code"], "rolled_back_by_operator");
    })
    .await;
}

#[tokio::test]
async fn the_audit_log_is_paged_in_order() {
    with_world(|world| async move {
        let tenant = world.tenant("acme").await;
        world.finish(tenant).await;
        let whole = world.get("/api/v1/tenants/acme/provisioning/audit").await.ok(200).body;
        let all = whole["entries"].as_array().unwrap().clone();
        assert_eq!(whole["nextAfter"], Value::Null);
        assert!(all.len() > 5, "{}", all.len());
        assert_eq!((&all[0]["action"], &all[0]["actor"]), (&json!("TENANT_CREATED"), &json!("alice")));
        let (mut paged, mut after) = (Vec::new(), 0);
        loop {
            let page = world
                .get(&format!("/api/v1/tenants/{tenant}/provisioning/audit?after={after}&limit=2"))
                .await
                .ok(200)
                .body;
            paged.extend(page["entries"].as_array().unwrap().clone());
            match page["nextAfter"].as_i64() {
                Some(next) => after = next,
                None => break,
            }
        }
        assert_eq!(paged, all);
    })
    .await;
}

#[tokio::test]
async fn tenants_are_listed_newest_first_a_page_at_a_time() {
    with_world(|world| async move {
        let mut made = Vec::new();
        for n in 0..5 {
            made.push(world.tenant(&format!("tenant-{n}")).await.to_string());
        }
        world.finish(made[1].parse().unwrap()).await;
        made.reverse();
        let ids = |page: &Value| -> Vec<String> {
            let tenants = page["tenants"].as_array().unwrap();
            tenants.iter().map(|tenant| tenant["id"].as_str().unwrap().to_owned()).collect()
        };
        let whole = world.get("/api/v1/tenants").await.ok(200).body;
        assert_eq!((ids(&whole), &whole["nextCursor"]), (made.clone(), &Value::Null));
        let (mut paged, mut query) = (Vec::new(), "limit=2".to_owned());
        loop {
            let page = world.get(&format!("/api/v1/tenants?{query}")).await.ok(200).body;
            paged.extend(ids(&page));
            match page["nextCursor"].as_str() {
                Some(cursor) => query = format!("limit=2&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(paged, made);
        let active = world.get("/api/v1/tenants?status=ACTIVE").await.ok(200).body;
        assert_eq!(ids(&active), [made[3].clone()]);
    })
    .await;
}

#[tokio::test]
async fn machines_are_told_without_a_token() {
    with_world(|world| async move {
        world.tenant("acme").await;
        world.get("/api/v1/tenants/nobody").await;
        let open = async |path: &str| {
            let response = world.client.get(format!("{}{path}", world.url)).send().await.unwrap();
            crate::world::Answer::of(response).await.ok(200)
        };
        assert_eq!(open("/healthz").await.body, "ok");
        let ready = open("/readyz").await.body;
        assert!(ready["durability"]["synchronousCommit"].is_boolean(), "{ready}");
        assert_eq!(open("/openapi.json").await.body["openapi"], "3.1.0");
        let metrics = open("/metrics").await.body;
        let metrics = metrics.as_str().unwrap();
        for line in [
            "tenantry_http_requests_total{method=\"POST\",route=\"/api/v1/tenants\",status=\"202\"} 1",
            "tenantry_http_requests_total{method=\"GET\",route=\"/api/v1/tenants/{id}\",status=\"404\"} 1",
            "tenantry_tenants{status=\"PENDING\"} 1",
            "tenantry_tenants{status=\"ACTIVE\"} 0",
            "tenantry_outbox_waiting{sink=\"kafka\"} 0",
            "tenantry_outbox_set_aside{sink=\"email\"} 0",
        ] {
            assert!(metrics.lines().any(|given| given == line), "{line}\n{metrics}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_not_migrated_is_not_ready() {
    with_world(|world| async move {
        world.get("/readyz").await.ok(200);
        let mut connection = world.look().await;
        sqlx::query("DROP TABLE dispatching").execute(&mut connection).await.unwrap();
        world.get("/readyz").await.problem(503, "database_unavailable");
    })
    .await;
}

#[tokio::test]
async fn without_its_database_it_is_alive_not_ready_and_says_when_to_come_again() {
    with_world(|world| async move {
        world.tenant("acme").await;
        world.lose_database().await;
        // The first ones may still meet a connection that was cut.
        for _ in 0..3 {
            world.get("/api/v1/tenants").await;
        }
        let list = world.get("/api/v1/tenants").await.problem(503, "database_unavailable");
        assert!(list.header("retry-after").parse::<u32>().unwrap() > 0);
        world.create("k", &crate::world::body("other")).await.problem(503, "database_unavailable");
        world.get("/readyz").await.problem(503, "database_unavailable");
        world.get("/healthz").await.ok(200);
        world.get("/metrics").await.ok(200);
    })
    .await;
}

#[tokio::test]
async fn every_answer_carries_a_request_id_the_callers_own_where_it_has_one() {
    with_world(|world| async move {
        let fresh = world.get("/healthz").await;
        assert_eq!(fresh.header("x-request-id").len(), 36);
        let own = world.request(reqwest::Method::GET, "/nowhere").header("x-request-id", "mine-1");
        let own = crate::world::Answer::of(own.send().await.unwrap()).await;
        assert_eq!(own.header("x-request-id"), "mine-1");
        let long = world.request(reqwest::Method::GET, "/nowhere").header("x-request-id", "x".repeat(65));
        let long = crate::world::Answer::of(long.send().await.unwrap()).await;
        assert_eq!(long.header("x-request-id").len(), 36);
    })
    .await;
}
