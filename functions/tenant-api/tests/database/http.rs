//! The process and its answers to calls that are not as they must be.

use crate::world::{SECRET, Strategy, World, with_tenants};
use model::TenantId;
use serde_json::{Value, json};
use std::process::Command;
use tenant_api::Tables;

const PATHS: [&str; 3] = ["initialize", "drop", "inventory"];

#[tokio::test]
async fn a_wrong_or_missing_secret_is_401() {
    let world = World::new().await;
    for path in PATHS {
        let url = format!("{}/internal/database/{path}", world.url);
        let with = |secret: &str| world.client.post(&url).header("x-internal-secret", secret).body("{}");
        let almost = &SECRET[1..];
        for call in [world.client.post(&url).body("{}"), with(""), with("wrong"), with(almost)] {
            let answer = call.send().await.unwrap();
            assert_eq!(answer.status(), 401, "{path}");
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            assert_eq!(answer.json::<Value>().await.unwrap()["code"], "unauthorized");
        }
    }
    for path in ["healthz", "readyz"] {
        let answer = world.client.get(format!("{}/{path}", world.url)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test]
async fn bad_input_is_answered_with_its_field() {
    with_tenants([Strategy::Database], async |world, [tenant]| {
        let good = tenant.initialize(&world);
        let cases: [(&str, Value, &str); 18] = [
            ("/tenantId", json!("acme"), "tenantId"),
            ("/runId", json!(7), "runId"),
            ("/strategy", json!("shared"), "strategy"),
            ("/database", json!("a\"; DROP ROLE x"), "database"),
            ("/database", json!("postgres"), "database"),
            ("/database", good["admin"]["database"].clone(), "database"),
            ("/schema", json!("information_schema"), "schema"),
            ("/role", json!("a".repeat(64)), "role"),
            ("/role", json!("pg_monitor"), "role"),
            ("/role", good["admin"]["user"].clone(), "role"),
            ("/verifier", json!("secret-in-plain-text"), "verifier"),
            ("/verifier", Value::Null, "verifier"),
            ("/connectionLimit", json!(0), "connectionLimit"),
            ("/connectionLimit", json!("many"), "connectionLimit"),
            ("/admin/port", json!(70000), "admin.port"),
            ("/admin/host", json!(""), "admin.host"),
            ("/admin/password", json!(123_456_789), "admin.password"),
            ("/admin", json!("nobody"), "admin"),
        ];
        for (pointer, value, field) in cases {
            let mut body = good.clone();
            *body.pointer_mut(pointer).unwrap() = value.clone();
            let answer = world.refused("initialize", &body, 400, "invalid_request").await;
            assert_eq!(answer["field"], field, "{answer}");
            for secret in ["secret-in-plain-text", "123456789"] {
                assert!(!answer.to_string().contains(secret), "{answer}");
            }
        }
        for field in ["tenantId", "runId", "strategy", "database", "schema", "role", "verifier", "admin"] {
            let mut body = good.clone();
            body.as_object_mut().unwrap().remove(field);
            assert_eq!(world.refused("initialize", &body, 400, "invalid_request").await["field"], field);
        }
        let mut body = good.clone();
        body["admin"].as_object_mut().unwrap().remove("port");
        assert_eq!(world.refused("initialize", &body, 400, "invalid_request").await["field"], "admin.port");
        body = good.clone();
        body["admin"]["colour"] = json!("red");
        assert_eq!(world.refused("initialize", &body, 400, "invalid_request").await["field"], "admin.colour");
        body = good.clone();
        body["colour"] = json!("red");
        assert_eq!(world.refused("initialize", &body, 400, "invalid_request").await["field"], "colour");
        assert_eq!(world.inventory(&tenant).await, []);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_json_or_too_long_is_400() {
    let world = World::new().await;
    for body in ["", "{", "[]", "{} {}", &"x".repeat(100_000)] {
        for path in PATHS {
            let answer = world
                .client
                .post(format!("{}/internal/database/{path}", world.url))
                .header("x-internal-secret", SECRET)
                .body(body.to_owned())
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 400);
            assert_eq!(answer.json::<Value>().await.unwrap()["code"], "invalid_request");
        }
    }
}

#[tokio::test]
async fn a_schema_needs_a_database_that_is_there() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        let mut body = tenant.initialize(&world);
        body["database"] = json!("region_atlantis");
        assert_eq!(world.refused("initialize", &body, 400, "invalid_request").await["field"], "database");
        assert_eq!(world.inventory(&tenant).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_503_without_the_password() {
    with_tenants([Strategy::Schema], async |world, [tenant]| {
        for (field, value) in [("port", json!(1)), ("password", json!("not the password"))] {
            let mut body = tenant.initialize(&world);
            body["admin"][field] = value;
            let answer = world.refused("initialize", &body, 503, "database_unavailable").await;
            assert!(!answer.to_string().contains("not the password"), "{answer}");
            assert!(!answer.to_string().contains("SCRAM-SHA-256$"), "{answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_pinned_instance_is_asked_about_its_own_tenant_only() {
    with_tenants([Strategy::Schema, Strategy::Schema], async |world, [own, other]| {
        world.ok("initialize", &other.initialize(&world)).await;
        let pinned = World::serving(Tables::new(None, Some(TenantId(own.id)), false)).await;
        let user = json!({ "tenantId": other.id, "runId": other.run, "email": "ann@acme.example" });
        let invite = json!({ "tenantId": other.id, "email": "ann@acme.example", "number": 1,
                             "tokenHash": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "validFor": 60 });
        let inventory = json!({ "tenantId": other.id, "admin": world.admin() });
        for (path, body) in [
            ("database/initialize", other.initialize(&world)),
            ("database/drop", other.drop(&world, None)),
            ("database/inventory", inventory),
            ("users/bootstrap", user),
            ("users/invite", invite),
            ("users/remove", json!({ "tenantId": other.id, "runId": other.run })),
            ("exports", json!({ "tenantId": other.id })),
        ] {
            let call = world.client.post(format!("{}/internal/{path}", pinned.url)).json(&body);
            let answer = call.header("x-internal-secret", SECRET).send().await.unwrap();
            let (status, answer): (_, Value) = (answer.status(), answer.json().await.unwrap());
            assert_eq!(
                (status.as_u16(), &answer["code"]),
                (403, &json!("tenant_not_served")),
                "{path}: {answer}"
            );
            assert!(!answer.to_string().contains(&own.id.to_string()), "{answer}");
        }
        other.login(&world).await.expect("it is as it was");
        pinned.ok("initialize", &own.initialize(&world)).await;
    })
    .await;
}

#[tokio::test]
async fn what_was_done_is_counted_and_nothing_tells_whose_it_was() {
    with_tenants([Strategy::Database], async |_, [tenant]| {
        // More migrations than calls that ran any, and fewer than calls.
        let world = World::later().await;
        for _ in 0..3 {
            world.ok("initialize", &tenant.initialize(&world)).await;
        }
        let mut wrong = tenant.initialize(&world);
        wrong["admin"]["port"] = json!(0);
        world.refused("initialize", &wrong, 400, "invalid_request").await;
        let license = json!({ "tenantId": tenant.id, "license": "tl1.AAAA.AAAA" });
        let call = world.client.post(format!("{}/internal/license/refresh", world.url)).json(&license);
        call.header("x-internal-secret", SECRET).send().await.unwrap();
        for path in ["", "internal/license/x", &format!("nowhere/{}", tenant.id), "metrics"] {
            world.client.get(format!("{}/{path}", world.url)).send().await.unwrap();
        }
        let answer = world.client.get(format!("{}/metrics", world.url)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        for line in [
            "tenantry_databases_initialized_total 3",
            "tenantry_migrations_applied_total 2",
            "tenantry_license_refreshes_total{outcome=\"refused\"} 1",
            "# TYPE tenantry_http_request_duration_seconds histogram",
            r#"tenantry_http_requests_total{method="POST",route="/internal/database/initialize",status="200"} 3"#,
            r#"tenantry_http_requests_total{method="POST",route="/internal/database/initialize",status="400"} 1"#,
            r#"tenantry_http_requests_total{method="GET",route="/internal/license/{tenant}",status="401"} 1"#,
            r#"tenantry_http_requests_total{method="GET",route="unmatched",status="404"} 2"#,
            r#"tenantry_http_requests_total{method="GET",route="/metrics",status="200"} 1"#,
        ] {
            assert!(text.lines().any(|given| given == line), "{line}\n{text}");
        }
        for secret in [SECRET, &tenant.id.to_string(), world.admin()["password"].as_str().unwrap()] {
            assert!(!text.contains(secret), "{text}");
        }
    })
    .await;
}

#[test]
fn the_process_names_a_missing_or_bad_setting_in_one_line() {
    let start = |secret: &str, listen: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_tenant-api"))
            .env("TENANT_API_INTERNAL_SECRET", secret)
            .env("LISTEN", listen)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (secret, listen, named) in [
        ("", "127.0.0.1:0", "TENANT_API_INTERNAL_SECRET"),
        ("s3cr3t-value", "", "LISTEN"),
        ("s3cr3t-value", "nowhere", "LISTEN"),
    ] {
        let (code, text) = start(secret, listen);
        assert_eq!(code, Some(1));
        assert!(
            text.lines().count() == 1 && text.contains(named) && !text.contains("s3cr3t-value"),
            "{text}"
        );
    }
}
