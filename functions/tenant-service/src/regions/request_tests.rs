use super::*;

fn whole() -> Value {
    json!({
        "tenantApiUrl": "http://10.1.0.9:8090/", "internalSecret": "env:EU_INTERNAL",
        "database": { "host": "db.eu.example", "port": 5432, "sharedDatabase": "region_eu", "adminUser": "admin",
                      "adminPassword": "file:/run/secrets/eu-admin" },
        "databaseCidrs": ["10.42.0.0/16", "fd00::/8"], "cluster": "k8s:matih-system/eu#kubeconfig",
        "domain": "EU.example", "isolation": "dedicated", "acceptsTenants": false,
        "jobs": { "management": "env:EU_RABBITMQ", "host": "10.1.0.7", "port": 5672 },
    })
}

fn guard(platform: &Platform) -> Guard<'_> {
    Guard::of(platform, "eu", None)
}

fn read(value: Value) -> Result<Region, Vec<String>> {
    let Value::Object(body) = value else { panic!("an object") };
    let fields = |errors: Vec<FieldError>| errors.into_iter().map(|error| error.field).collect();
    parse(body, &guard(&Platform::default())).map_err(fields)
}

fn with(path: &[&str], value: Value) -> Value {
    let mut body = whole();
    let last = path.iter().fold(&mut body, |at, name| &mut at[*name]);
    *last = value;
    body
}

#[test]
fn a_region_is_read_as_it_is_written() {
    let region = read(with(&["jobs", "vhost"], json!("jobs"))).unwrap();
    assert_eq!(
        (&*region.tenant_api_url, region.domain.as_deref()),
        ("http://10.1.0.9:8090", Some("eu.example"))
    );
    assert_eq!(region.cluster.as_ref().unwrap().to_string(), "k8s:matih-system/eu#kubeconfig");
    assert_eq!((region.isolation, region.accepts_tenants), (Isolation::Dedicated, false));
    assert_eq!(region.jobs.as_ref().unwrap().vhost, "jobs");
    // Shown and asked for again, it is the same.
    let Value::Object(shown) = json!(view::fields(&region)) else { panic!("an object") };
    assert_eq!(parse(shown, &guard(&Platform::default())).unwrap(), region);
}

#[test]
fn what_is_left_out_is_the_processes_and_the_platforms() {
    let mut body = whole();
    for field in ["databaseCidrs", "cluster", "domain", "isolation", "acceptsTenants", "jobs"] {
        body.as_object_mut().unwrap().remove(field);
    }
    let region = read(body).unwrap();
    assert!(region.cluster.is_none() && region.domain.is_none() && region.jobs.is_none());
    assert!(region.accepts_tenants && region.isolation == Isolation::Shared);
}

#[test]
fn every_field_is_checked_and_named() {
    for (path, value) in [
        (&["tenantApiUrl"][..], json!("ftp://a")),
        (&["tenantApiUrl"], json!("http://user:pw@a")),
        (&["tenantApiUrl"], json!("a.example")),
        (&["tenantApiUrl"], json!(null)),
        (&["internalSecret"], json!("hunter2")),
        (&["internalSecret"], json!("env:DATABASE_URL")),
        (&["database"], json!(null)),
        (&["database"], json!("db")),
        (&["database", "host"], json!("db:5432")),
        (&["database", "host"], json!("")),
        (&["database", "port"], json!(0)),
        (&["database", "port"], json!(65536)),
        (&["database", "sharedDatabase"], json!("a;b")),
        (&["database", "adminUser"], json!("a b")),
        (&["database", "adminPassword"], json!("hunter2")),
        (&["database", "adminPassword"], json!(null)),
        (&["database", "other"], json!(1)),
        (&["databaseCidrs"], json!("10.0.0.0/8")),
        (&["cluster"], json!("apiVersion: v1")),
        (&["domain"], json!("local")),
        (&["isolation"], json!("none")),
        (&["acceptsTenants"], json!("yes")),
        (&["jobs"], json!([])),
        (&["jobs", "management"], json!("http://u:p@h")),
        (&["jobs", "port"], json!(-1)),
        (&["jobs", "cidrs"], json!(["x"])),
        (&["key"], json!("a")),
    ] {
        let mut named = path.join(".");
        if named.ends_with("cidrs") {
            named.push_str("[0]");
        }
        assert_eq!(read(with(path, value.clone())).unwrap_err(), [named], "{value}");
    }
    assert_eq!(
        read(with(&["databaseCidrs"], json!(["10.0.0.0/8", "10.0.0.0/33", 1, "10.0.0.0"]))).unwrap_err(),
        ["databaseCidrs[1]", "databaseCidrs[2]", "databaseCidrs[3]"]
    );
    let nothing = read(json!({})).unwrap_err();
    assert_eq!(nothing, ["tenantApiUrl", "internalSecret", "database"]);
}

#[test]
fn keys_are_dns_labels() {
    for good in ["a", "eu-west-1", "za-north", &"a".repeat(63)] {
        assert!(key(good).is_ok(), "{good}");
    }
    for bad in ["", "-a", "a-", "1a", "EU", "a.b", "a b", &"a".repeat(64), "ä"] {
        assert!(key(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_patch_changes_what_it_names_and_null_takes_away() {
    let region = read(with(&["jobs", "vhost"], json!("jobs"))).unwrap();
    let patch = json!({ "database": { "adminPassword": "env:NEW" }, "cluster": null, "jobs": null });
    let Value::Object(patch) = patch else { panic!("an object") };
    let now = parse(patched(&region, patch), &guard(&Platform::default())).unwrap();
    let mut wanted = Region { cluster: None, jobs: None, ..region };
    wanted.database.admin_password = SecretRef::Env("NEW".into());
    assert_eq!(now, wanted);
}
