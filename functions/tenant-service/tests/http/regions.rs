//! Regions: made, shown, changed, and what refuses them.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::world::{Answer, World, body, with_world};

const PATH: &str = "/api/v1/regions";

fn region(key: &str) -> Value {
    json!({
        "key": key, "tenantApiUrl": "http://10.1.0.9:8090", "internalSecret": "env:EU_INTERNAL",
        "database": { "host": "db.eu.example", "port": 5432, "sharedDatabase": "region_eu", "adminUser": "admin",
                      "adminPassword": "file:/run/secrets/eu-admin" },
        "databaseCidrs": ["10.42.0.0/16"], "cluster": "k8s:matih-system/eu#kubeconfig", "domain": "eu.example",
    })
}

impl World {
    async fn make_region(&self, body: &Value) -> Answer {
        Answer::of(self.request(Method::POST, PATH).json(body).send().await.unwrap()).await
    }

    async fn patch_region(&self, key: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::PATCH, &format!("{PATH}/{key}")).json(body).send().await.unwrap())
            .await
    }

    async fn tenant_in(&self, slug: &str, region: &str) -> Answer {
        let mut asked = body(slug);
        asked["region"] = json!(region);
        self.create(&format!("key-{slug}"), &asked).await
    }
}

#[tokio::test]
async fn a_region_is_made_once_and_its_tenants_are_accepted_at_once() {
    with_world(|world| async move {
        // The service has read the list of regions before this one was in it.
        world.tenant_in("early", "eu-north-1").await.problem(422, "invalid_fields");
        let made = world.make_region(&region("eu-north-1")).await.ok(201);
        assert_eq!(made.header("location"), "/api/v1/regions/eu-north-1");
        assert_eq!((&made.body["source"], &made.body["tenants"]), (&json!("api"), &json!(0)));
        assert_eq!(made.body["createdBy"], "alice");
        for (name, value) in region("eu-north-1").as_object().unwrap() {
            assert_eq!(&made.body[name], value, "{name}");
        }
        let again = world.make_region(&region("eu-north-1")).await.ok(201);
        assert_eq!(again.body, made.body, "the same body is answered the same");
        let mut other = region("eu-north-1");
        other["domain"] = json!("other.example");
        world.make_region(&other).await.problem(409, "region_exists");
        assert_eq!(world.get(&format!("{PATH}/eu-north-1")).await.ok(200).body, made.body);

        world.tenant_in("acme", "eu-north-1").await.ok(202);
        let listed = world.get(PATH).await.ok(200).body["regions"].as_array().unwrap().clone();
        let shown: Vec<(&str, &str, i64)> = listed
            .iter()
            .map(|at| {
                (at["key"].as_str().unwrap(), at["source"].as_str().unwrap(), at["tenants"].as_i64().unwrap())
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("eastus", "file", 0),
                ("eu-north-1", "api", 1),
                ("eu-west-1", "file", 0),
                ("za-north", "file", 0)
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn only_what_can_be_a_region_is_taken_and_no_secret_is_repeated() {
    with_world(|world| async move {
        const SECRET: &str = "hunter2-hunter2";
        let wrong = |path: &[&str], value: Value| {
            let mut body = region("eu-north-1");
            *path.iter().fold(&mut body, |at, name| &mut at[*name]) = value;
            body
        };
        for (path, value, code) in [
            (&["key"][..], json!("EU"), "invalid_key"),
            (&["key"], json!(null), "required"),
            (&["tenantApiUrl"], json!(format!("http://admin:{SECRET}@a")), "invalid_url"),
            (&["tenantApiUrl"], json!(null), "required"),
            (&["internalSecret"], json!(SECRET), "invalid_secret_reference"),
            (&["internalSecret"], json!("env:DATABASE_URL"), "secret_reference_forbidden"),
            (&["internalSecret"], json!(null), "required"),
            (&["database"], json!(null), "required"),
            (&["database", "host"], json!("db.example:5432"), "invalid_host"),
            (&["database", "port"], json!(70000), "out_of_range"),
            (&["database", "sharedDatabase"], json!("a\"b"), "invalid_name"),
            (&["database", "adminUser"], json!(""), "invalid_name"),
            (&["database", "adminPassword"], json!(SECRET), "invalid_secret_reference"),
            (&["database", "adminPassword"], json!("file://proc/self/environ"), "invalid_secret_reference"),
            (&["database", "adminPassword"], json!("file:/./etc/shadow"), "invalid_secret_reference"),
            (&["database", "adminPassword"], json!("file:/proc/self/environ"), "secret_reference_forbidden"),
            (&["internalSecret"], json!("k8s:matih-acme/internal#secret"), "secret_reference_forbidden"),
            (&["internalSecret"], json!("k8s:matih-system/tf-acme#state"), "secret_reference_forbidden"),
            // Of the file's regions.
            (&["internalSecret"], json!("env:UNUSED"), "secret_reference_forbidden"),
            (&["cluster"], json!(format!("apiVersion: v1 token: {SECRET}")), "invalid_secret_reference"),
            (&["domain"], json!("example"), "invalid_domain"),
            (&["isolation"], json!("some"), "unknown_value"),
            (&["acceptsTenants"], json!(1), "wrong_type"),
            (
                &["jobs"],
                json!({ "management": format!("http://a:{SECRET}@b"), "host": "h", "port": 1 }),
                "invalid_secret_reference",
            ),
            (&["provider"], json!("aws"), "unknown_field"),
        ] {
            let refused = world.make_region(&wrong(path, value)).await.problem(422, "invalid_fields");
            let field = if path == ["jobs"] { "jobs.management".to_owned() } else { path.join(".") };
            assert_eq!(refused.fields(), std::slice::from_ref(&field));
            assert_eq!(refused.body["errors"][0]["code"], code, "{field}");
            assert!(!refused.body.to_string().contains(SECRET), "{}", refused.body);
        }
        let several = wrong(&["databaseCidrs"], json!(["10.0.0.0/8", "x", 7]));
        let several = world.make_region(&several).await.problem(422, "invalid_fields");
        assert_eq!(several.fields(), ["databaseCidrs[1]", "databaseCidrs[2]"]);
        world.get(&format!("{PATH}/eu-north-1")).await.problem(404, "region_not_found");
        world.patch_region("eu-north-1", &json!({})).await.problem(404, "region_not_found");
        world.get(&format!("{PATH}/A%00")).await.problem(404, "region_not_found");
        let nobody =
            world.client.post(format!("{}{PATH}", world.url)).json(&region("a")).send().await.unwrap();
        Answer::of(nobody).await.problem(401, "unauthorized");
    })
    .await;
}

#[tokio::test]
async fn a_region_of_the_platform_file_is_read_only() {
    with_world(|world| async move {
        let shown = world.get(&format!("{PATH}/eastus")).await.ok(200).body;
        assert_eq!((&shown["source"], &shown["createdBy"]), (&json!("file"), &Value::Null));
        world.make_region(&region("eastus")).await.problem(409, "region_in_platform_file");
        world
            .patch_region("eastus", &json!({ "acceptsTenants": false }))
            .await
            .problem(409, "region_in_platform_file");
    })
    .await;
}

#[tokio::test]
async fn a_region_with_tenants_stays_where_it_is() {
    with_world(|world| async move {
        world.make_region(&region("eu-north-1")).await.ok(201);
        let moves = [
            json!({ "cluster": "env:OTHER" }),
            json!({ "cluster": null }),
            json!({ "domain": "other.example" }),
            json!({ "database": { "host": "other" } }),
            json!({ "database": { "port": 1 } }),
            json!({ "database": { "sharedDatabase": "other" } }),
            json!({ "jobs": { "host": "other.eu.example" } }),
            json!({ "jobs": { "port": 5673 } }),
            json!({ "jobs": { "vhost": "other" } }),
            json!({ "jobs": null }),
        ];
        let jobs = json!({ "management": "env:EU_JOBS", "host": "jobs.eu.example", "port": 5672 });
        for change in &moves {
            world.patch_region("eu-north-1", &json!({ "jobs": jobs })).await.ok(200);
            world.patch_region("eu-north-1", change).await.ok(200);
        }
        let mut as_it_was = region("eu-north-1");
        as_it_was.as_object_mut().unwrap().remove("key");
        world.patch_region("eu-north-1", &as_it_was).await.ok(200);
        world.tenant_in("acme", "eu-north-1").await.ok(202);
        // There is no broker that anything could be at, so that one may come.
        world.patch_region("eu-north-1", &json!({ "jobs": jobs })).await.ok(200);
        for change in &moves {
            let refused = world.patch_region("eu-north-1", change).await.problem(409, "region_has_tenants");
            assert_eq!(refused.body["tenants"], 1, "{change}");
        }
        let may = json!({
            "tenantApiUrl": "https://new.example", "internalSecret": "env:NEW", "isolation": "dedicated",
            "database": { "adminUser": "other", "adminPassword": "env:NEW" }, "databaseCidrs": [],
            "jobs": { "management": "env:JOBS", "tls": true, "cidrs": ["10.43.0.0/16"] },
        });
        let changed = world.patch_region("eu-north-1", &may).await.ok(200).body;
        assert_eq!(
            (&changed["tenantApiUrl"], &changed["isolation"]),
            (&json!("https://new.example"), &json!("dedicated"))
        );
        assert_eq!(
            (&changed["database"]["adminUser"], &changed["database"]["port"]),
            (&json!("other"), &json!(5432))
        );
        assert_eq!(
            (&changed["jobs"]["tls"], &changed["jobs"]["vhost"], &changed["jobs"]["management"]),
            (&json!(true), &json!("tenant-jobs"), &json!("env:JOBS"))
        );
        assert_eq!(changed["cluster"], region("x")["cluster"]);
        let again = world.patch_region("eu-north-1", &may).await.ok(200).body;
        assert_eq!(again, changed, "a second call changes nothing");
        let refused =
            world.patch_region("eu-north-1", &json!({ "internalSecret": "plain", "key": "b" })).await;
        assert_eq!(refused.problem(422, "invalid_fields").fields(), ["internalSecret", "key"]);

        let mut look = world.look().await;
        look.execute("UPDATE tenants SET status = 'DELETED', deleted_at = now()").await.unwrap();
        world.patch_region("eu-north-1", &moves[0]).await.ok(200);
    })
    .await;
}

#[tokio::test]
async fn a_closed_region_takes_no_new_tenants() {
    with_world(|world| async move {
        world.make_region(&region("eu-north-1")).await.ok(201);
        world.tenant_in("first", "eu-north-1").await.ok(202);
        world.patch_region("eu-north-1", &json!({ "acceptsTenants": false })).await.ok(200);
        let refused = world.tenant_in("second", "eu-north-1").await.problem(422, "invalid_fields");
        assert_eq!(
            (refused.fields(), &refused.body["errors"][0]["code"]),
            (vec!["region".to_owned()], &json!("region_closed"))
        );
        let unknown = world.tenant_in("third", "mars").await.problem(422, "invalid_fields");
        assert!(!unknown.body.to_string().contains("eu-north-1"), "a closed one is not proposed");
        world.patch_region("eu-north-1", &json!({ "acceptsTenants": null })).await.ok(200);
        world.tenant_in("second", "eu-north-1").await.ok(202);
    })
    .await;
}

#[tokio::test]
async fn names_below_a_regions_domain_are_no_tenants_own() {
    with_world(|world| async move {
        world.make_region(&region("eu-north-1")).await.ok(201);
        let mut asked = body("acme");
        asked["domain"] = json!("shop.eu.example");
        let refused = world.create("key", &asked).await.problem(422, "invalid_fields");
        assert_eq!(refused.body["errors"][0]["code"], "reserved_domain", "{}", refused.body);
    })
    .await;
}

#[tokio::test]
async fn a_request_that_was_taken_is_answered_the_same_when_its_region_is_closed_since() {
    with_world(|world| async move {
        world.make_region(&region("eu-north-1")).await.ok(201);
        let first = world.tenant_in("acme", "eu-north-1").await.ok(202);
        world.patch_region("eu-north-1", &json!({ "acceptsTenants": false })).await.ok(200);
        let before = world.everything().await;
        let again = world.tenant_in("acme", "eu-north-1").await.ok(202);
        assert_eq!((&again.body, again.header("idempotency-replayed")), (&first.body, "true"));
        assert_eq!(again.header("location"), first.header("location"));
        // Another body under the key, and the body under another key, are others.
        let mut other = body("acme");
        other["region"] = json!("eu-north-1");
        world.create("fresh", &other).await.problem(422, "invalid_fields");
        other["name"] = json!("Other");
        world.create("key-acme", &other).await.problem(422, "idempotency_key_reused");
        assert_eq!(world.everything().await, before);
    })
    .await;
}

#[tokio::test]
async fn a_regions_domain_is_within_no_living_tenants_name_and_no_domain_of_its_own() {
    with_world(|world| async move {
        let at = |key: &str, domain: &str| {
            let mut body = region(key);
            body["domain"] = json!(domain);
            body
        };
        world.make_region(&region("eu-north-1")).await.ok(201);
        let mut acme = body("acme");
        acme["domain"] = json!("shop.acme.example");
        world.create("acme", &acme).await.ok(202);
        world.tenant_in("globex", "eu-north-1").await.ok(202);
        let before = world.everything().await;
        let within = [
            "acme.matih.ai",
            "eu.acme.matih.ai",
            "a.eu.acme.matih.ai",
            "globex.eu.example",
            "eu.globex.eu.example",
            "shop.acme.example",
            "eu.shop.acme.example",
        ];
        for domain in within {
            let refused = world.make_region(&at("eu-2", domain)).await.problem(422, "invalid_fields");
            let error = &refused.body["errors"][0];
            assert_eq!((&error["field"], &error["code"]), (&json!("domain"), &json!("domain_taken")), "{domain}");
        }
        assert_eq!(world.everything().await, before);
        // By the names that the tenants have, and no others.
        for (key, domain) in [("a", "acme.eu.example"), ("b", "globex.matih.ai"), ("c", "notacme.matih.ai"), ("d", "acme.example")] {
            world.make_region(&at(key, domain)).await.ok(201);
        }
        for domain in within {
            let change = json!({ "domain": domain });
            let refused = world.patch_region("c", &change).await.problem(422, "invalid_fields");
            assert_eq!(refused.body["errors"][0]["code"], "domain_taken", "{domain}");
        }
        // A region that has such a domain already can still be closed.
        let old = "WITH old AS (UPDATE regions SET settings = jsonb_set(settings, '{domain}', '\"eu.acme.matih.ai\"') \
                   WHERE key = 'c' RETURNING 1) SELECT count(*) FROM old";
        assert_eq!(world.number(old).await, 1);
        world.patch_region("c", &json!({ "acceptsTenants": false })).await.ok(200);
        // What nobody has any more is free.
        world.delete("/api/v1/tenants/acme/domains/shop.acme.example").await.ok(204);
        let mut look = world.look().await;
        look.execute("UPDATE tenants SET status = 'DELETED', deleted_at = now()").await.unwrap();
        for (key, domain) in [("e", "eu.shop.acme.example"), ("f", "acme.matih.ai")] {
            world.make_region(&at(key, domain)).await.ok(201);
        }
    })
    .await;
}

#[tokio::test]
async fn a_tenants_name_does_not_hold_a_regions_domain() {
    with_world(|world| async move {
        for (key, domain) in
            [("eu-north-1", "eu.matih.ai"), ("us-2", "east.usa.matih.ai"), ("there", "other.example")]
        {
            let mut body = region(key);
            body["domain"] = json!(domain);
            world.make_region(&body).await.ok(201);
        }
        let before = world.everything().await;
        for (slug, at) in [("usa", "eastus"), ("usa", "za-north")] {
            let refused = world.tenant_in(slug, at).await.problem(422, "invalid_fields");
            let error = &refused.body["errors"][0];
            assert_eq!((&error["field"], &error["code"]), (&json!("slug"), &json!("reserved_slug")));
        }
        assert_eq!(world.everything().await, before);
        let mut eur = region("eur");
        eur["domain"] = json!("eur.matih.ai");
        world.make_region(&eur).await.ok(201);
        world.tenant_in("eur", "eastus").await.problem(422, "invalid_fields");
        // Its name is elsewhere.
        world.tenant_in("usa", "there").await.ok(202);
        world.tenant_in("east", "eastus").await.ok(202);
        world.tenant_in("eur", "eu-north-1").await.ok(202);
    })
    .await;
}

#[tokio::test]
async fn a_region_keeps_the_secrets_that_it_shared_with_one_of_the_file_before() {
    with_world(|world| async move {
        let mut old = region("eu-north-1");
        world.make_region(&old).await.ok(201);
        old["internalSecret"] = json!("env:UNUSED");
        let share = "WITH old AS (UPDATE regions SET settings = jsonb_set(settings, '{internal_secret}', '\"env:UNUSED\"') \
                     RETURNING 1) SELECT count(*) FROM old";
        assert_eq!(world.number(share).await, 1);
        world.make_region(&old).await.ok(201);
        let closed = world.patch_region("eu-north-1", &json!({ "acceptsTenants": false })).await.ok(200).body;
        assert_eq!((&closed["acceptsTenants"], &closed["internalSecret"]), (&json!(false), &json!("env:UNUSED")));
        world.patch_region("eu-north-1", &json!({ "internalSecret": "env:OWN" })).await.ok(200);
        let back = json!({ "internalSecret": "env:UNUSED" });
        let refused = world.patch_region("eu-north-1", &back).await.problem(422, "invalid_fields");
        assert_eq!(refused.body["errors"][0]["code"], "secret_reference_forbidden");
    })
    .await;
}
