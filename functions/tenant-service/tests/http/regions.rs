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
