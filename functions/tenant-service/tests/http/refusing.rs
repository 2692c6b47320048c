//! Bad input: a 4xx that names what is wrong, and nothing written.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::world::{Answer, World, body, with_world};

async fn post(
    world: &World,
    content_type: &str,
    key: Option<&str>,
    body: impl Into<reqwest::Body>,
) -> Answer {
    let mut request = world.request(Method::POST, "/api/v1/tenants").body(body);
    if !content_type.is_empty() {
        request = request.header(CONTENT_TYPE, content_type);
    }
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn each_bad_field_is_named_and_nothing_is_written() {
    with_world(|world| async move {
        let before = world.everything().await;
        let table = [
            ("slug", json!("Not A Slug")),
            ("slug", json!("www")),
            ("slug", json!("nsx")),
            ("name", json!("n".repeat(101))),
            ("tier", json!("gold")),
            ("planType", json!("free")),
            ("adminEmail", json!("nobody")),
            ("memberCount", json!(-1)),
            ("monthlyApiCalls", json!(-1)),
            ("region", json!("mars")),
            ("domain", json!("x.matih.ai")),
            ("hasDedicatedDatabase", json!("yes")),
            ("costCenter", json!(7)),
            ("alerting", json!([])),
            ("onFailure", json!("retry")),
            ("unheardOf", json!(true)),
        ];
        for (field, value) in table {
            let mut sent = body("acme");
            sent[field] = value;
            let refused = world.create(&format!("key-{field}"), &sent).await.problem(422, "invalid_fields");
            assert_eq!(refused.fields(), [field], "{sent}");
        }
        let regions = world.create("r", &json!({ "region": "mars" })).await;
        assert!(regions.body.to_string().contains("eastus, eu-west-1, za-north"), "{}", regions.body);
        assert_eq!(world.everything().await, before);
    })
    .await;
}

#[tokio::test]
async fn all_bad_fields_at_once_are_all_named() {
    with_world(|world| async move {
        let before = world.everything().await;
        let sent = json!({
            "slug": "-", "name": "", "tier": "gold", "region": "mars", "adminEmail": "x", "domain": "x",
            "memberCount": -1, "monthlyApiCalls": "many", "deploymentType": "vm", "hasDedicatedDatabase": 1,
            "costCenter": {}, "alerting": { "email": "x", "slackWebhookRef": "https://hooks.example/secret" },
            "onFailure": "x", "complianceRequired": "x", "one": 1, "two": 2,
        });
        let refused = world.create("all", &sent).await.problem(422, "invalid_fields");
        let mut named = refused.fields();
        named.sort();
        let mut expected: Vec<String> =
            sent.as_object().unwrap().keys().filter(|name| *name != "alerting").cloned().collect();
        expected.extend(["alerting.email".to_owned(), "alerting.slackWebhookRef".to_owned()]);
        expected.sort();
        assert_eq!(named, expected);
        assert!(!refused.body.to_string().contains("hooks.example"), "a webhook is a secret");
        assert_eq!(world.everything().await, before);

        let empty = world.create("empty", &json!({})).await.problem(422, "invalid_fields");
        assert_eq!(empty.fields(), ["slug", "name", "tier", "region", "adminEmail"]);
    })
    .await;
}

#[tokio::test]
async fn what_the_platform_cannot_make_is_422() {
    with_world(|world| async move {
        let before = world.everything().await;
        for change in [
            json!({ "tier": "enterprise" }),
            json!({ "deploymentType": "shared" }),
            json!({ "deploymentType": null }),
        ] {
            let mut sent = body("acme");
            for (name, value) in change.as_object().unwrap() {
                sent[name] = value.clone();
            }
            world.create("k", &sent).await.problem(422, "deployment_type_unavailable");
        }
        let mut forbidden = body("acme");
        forbidden["deploymentType"] = json!("shared");
        forbidden["complianceRequired"] = json!(true);
        let refused = world.create("k", &forbidden).await.problem(422, "invalid_fields");
        assert_eq!(refused.body["errors"][0]["code"], "deployment_type_forbidden");
        assert_eq!(world.everything().await, before);
    })
    .await;
}

#[tokio::test]
async fn a_body_that_cannot_be_read_says_why() {
    with_world(|world| async move {
        let before = world.everything().await;
        let good = body("acme").to_string();
        let json = "application/json";
        let broken = post(&world, json, Some("k"), "{\"slug\": ").await.problem(400, "malformed_json");
        assert!(broken.body["detail"].as_str().unwrap().contains("line 1"), "{}", broken.body);
        post(&world, json, Some("k"), "").await.problem(400, "malformed_json");
        post(&world, json, Some("k"), vec![0xff, 0xfe]).await.problem(400, "malformed_json");
        post(&world, json, Some("k"), "[".repeat(10_000)).await.problem(400, "malformed_json");
        for other in ["[]", "null", "1", "\"acme\""] {
            post(&world, json, Some("k"), other).await.problem(400, "not_an_object");
        }
        for other in ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
            post(&world, other, Some("k"), good.clone()).await.problem(415, "unsupported_media_type");
        }
        let mut large = body("acme");
        large["name"] = json!("n".repeat(64 * 1024));
        post(&world, json, Some("k"), large.to_string()).await.problem(413, "body_too_large");
        // Without a Content-Length the limit holds as well.
        let chunks = futures::stream::iter((0..200).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024])));
        post(&world, json, Some("k"), reqwest::Body::wrap_stream(chunks))
            .await
            .problem(413, "body_too_large");
        assert_eq!(world.everything().await, before);
        post(&world, "application/json; charset=utf-8", Some("k"), good).await.ok(202);
    })
    .await;
}

#[tokio::test]
async fn an_idempotency_key_is_required_and_of_visible_ascii() {
    with_world(|world| async move {
        let before = world.everything().await;
        let good = body("acme").to_string();
        post(&world, "application/json", None, good.clone()).await.problem(400, "idempotency_key_required");
        for bad in ["", "two words", &"k".repeat(256)] {
            post(&world, "application/json", Some(bad), good.clone())
                .await
                .problem(400, "invalid_idempotency_key");
        }
        assert_eq!(world.everything().await, before);
        post(&world, "application/json", Some(&"k".repeat(255)), good).await.ok(202);
    })
    .await;
}

#[tokio::test]
async fn without_a_valid_token_nothing_is_told_and_nothing_is_written() {
    with_world(|world| async move {
        world.tenant("acme").await;
        let before = world.everything().await;
        let paths = [
            (Method::GET, "/api/v1/tenants"),
            (Method::POST, "/api/v1/tenants"),
            (Method::GET, "/api/v1/tenants/acme"),
            (Method::DELETE, "/api/v1/tenants/acme"),
            (Method::GET, "/api/v1/tenants/acme/provisioning/status"),
            (Method::GET, "/api/v1/tenants/acme/provisioning/audit"),
            (Method::POST, "/api/v1/tenants/acme/provisioning/rollback"),
        ];
        for (method, path) in paths {
            for header in
                [None, Some("Bearer wrong"), Some("Bearer "), Some("Basic YTpi"), Some("the-token-of-alice")]
            {
                let mut request = world.client.request(method.clone(), format!("{}{path}", world.url));
                if let Some(header) = header {
                    request = request.header("authorization", header);
                }
                let refused = Answer::of(request.json(&body("other")).send().await.unwrap()).await;
                let refused = refused.problem(401, "unauthorized");
                assert!(refused.header("www-authenticate").starts_with("Bearer"));
            }
        }
        assert_eq!(world.everything().await, before);
    })
    .await;
}

#[tokio::test]
async fn unknown_tenants_paths_and_methods_are_problems_too() {
    with_world(|world| async move {
        world.tenant("acme").await;
        for id in [
            "nobody",
            "01a20117-0a13-704b-bad6-bc2d86350e17",
            "%00",
            "a%2Fb",
            "%F0%9F%A6%80",
            "A".repeat(300).as_str(),
        ] {
            for path in ["", "/provisioning/status", "/provisioning/audit"] {
                world.get(&format!("/api/v1/tenants/{id}{path}")).await.problem(404, "tenant_not_found");
            }
            world.delete(&format!("/api/v1/tenants/{id}")).await.problem(404, "tenant_not_found");
            world.verb(id, "retry", &json!({ "seq": 1 })).await.problem(404, "tenant_not_found");
        }
        for path in [
            "/",
            "/api/v1",
            "/api/v1/tenant",
            "/api/v1/tenants/acme/provisioning",
            "/api/v1/tenants/acme/provisioning/explode",
        ] {
            world.get(path).await.problem(404, "not_found");
        }
        let put = world.request(Method::PUT, "/api/v1/tenants/acme").send().await.unwrap();
        let put = Answer::of(put).await.problem(405, "method_not_allowed");
        assert!(put.header("allow").contains("DELETE"), "{}", put.header("allow"));
        world.get("/api/v1/tenants/acme/provisioning/retry").await.problem(405, "method_not_allowed");
        let bad = world.get("/api/v1/tenants/%FF").await;
        assert!((400..500).contains(&bad.status), "{}", bad.status);
        assert_eq!(bad.header("content-type"), "application/problem+json");
    })
    .await;
}

#[tokio::test]
async fn bad_parameters_are_named() {
    with_world(|world| async move {
        world.tenant("acme").await;
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=201", "limit"),
            ("limit=ten", "limit"),
            ("limit=1&limit=2", "limit"),
            ("status=ready", "status"),
            ("cursor=abc", "cursor"),
            ("page=2", "page"),
        ] {
            let refused = world.get(&format!("/api/v1/tenants?{query}")).await;
            assert_eq!(refused.problem(400, "invalid_parameters").fields(), [field], "{query}");
        }
        let audit = world.get("/api/v1/tenants/acme/provisioning/audit?after=-1&limit=501").await;
        assert_eq!(audit.problem(400, "invalid_parameters").fields(), ["after", "limit"]);
        let long = format!("/api/v1/tenants/acme?seq=x&reason={}", "r".repeat(501));
        let before: Value = world.status("acme").await;
        assert_eq!(world.delete(&long).await.problem(400, "invalid_parameters").fields(), ["seq", "reason"]);
        assert_eq!(world.status("acme").await, before);
    })
    .await;
}
