use model::platform::Seconds;

use super::*;

fn platform() -> Platform {
    let mut platform = Platform { slug_rest: Seconds(60.0), ..Platform::default() };
    let region = json!({
        "tenant_api_url": "http://127.0.0.1:1", "internal_secret": "env:X",
        "database": { "host": "h", "port": 5432, "shared_database": "d", "admin_user": "u", "admin_password": "env:P" },
    });
    for name in ["eastus", "za-north"] {
        platform.regions.insert(name.into(), serde_json::from_value(region.clone()).unwrap());
    }
    let infrastructure = json!({
        "module": "m", "state_database": "env:S", "state_key": "env:K", "job": { "image": "i", "service_account": "s" },
    });
    platform.infrastructure = Some(serde_json::from_value(infrastructure).unwrap());
    platform
}

fn good() -> Value {
    json!({ "slug": "acme", "name": "Acme", "tier": "professional", "region": "eastus", "adminEmail": "a@acme.example" })
}

/// `good` with the members of `change`; a null takes a member out.
fn with(change: &Value) -> Map<String, Value> {
    let mut body = good();
    for (name, value) in change.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.as_object().unwrap().clone()
}

fn ask(change: &Value) -> Result<NewTenant, Vec<(String, &'static str)>> {
    parse(with(change), &platform(), &Actor("test".into()))
        .map_err(|errors| errors.into_iter().map(|error| (error.field, error.code)).collect())
}

#[test]
fn each_wrong_field_is_named_with_its_code() {
    let table = [
        (json!({ "slug": null }), "slug", "required"),
        (json!({ "slug": 1 }), "slug", "wrong_type"),
        (json!({ "slug": "A" }), "slug", "invalid_slug"),
        (json!({ "slug": "550e8400-e29b-41d4-a716-446655440000" }), "slug", "invalid_slug"),
        (json!({ "slug": "acme\u{0}" }), "slug", "control_character"),
        (json!({ "name": null }), "name", "required"),
        (json!({ "name": " " }), "name", "too_short"),
        (json!({ "name": "a".repeat(101) }), "name", "too_long"),
        (json!({ "name": "a\nb" }), "name", "control_character"),
        (json!({ "name": ["a"] }), "name", "wrong_type"),
        (json!({ "tier": null }), "tier", "required"),
        (json!({ "tier": "gold" }), "tier", "unknown_value"),
        (json!({ "planType": "gold" }), "planType", "unknown_value"),
        (json!({ "tier": null, "planType": "gold" }), "planType", "unknown_value"),
        (json!({ "planType": "free" }), "planType", "contradiction"),
        (json!({ "region": null }), "region", "required"),
        (json!({ "region": "mars" }), "region", "unknown_region"),
        (json!({ "adminEmail": null }), "adminEmail", "required"),
        (json!({ "adminEmail": "acme.example" }), "adminEmail", "invalid_email"),
        (json!({ "domain": "acme" }), "domain", "invalid_domain"),
        (json!({ "domain": "acme.matih.ai" }), "domain", "reserved_domain"),
        (json!({ "complianceRequired": "yes" }), "complianceRequired", "wrong_type"),
        (json!({ "memberCount": -1 }), "memberCount", "negative"),
        (json!({ "memberCount": 1.5 }), "memberCount", "wrong_type"),
        (json!({ "memberCount": 1e300 }), "memberCount", "wrong_type"),
        (json!({ "memberCount": "12" }), "memberCount", "wrong_type"),
        (json!({ "monthlyApiCalls": -5 }), "monthlyApiCalls", "negative"),
        (json!({ "monthlyApiCalls": u64::MAX }), "monthlyApiCalls", "out_of_range"),
        (json!({ "deploymentType": "vm" }), "deploymentType", "unknown_value"),
        (
            json!({ "deploymentType": "shared", "complianceRequired": true }),
            "deploymentType",
            "deployment_type_forbidden",
        ),
        (json!({ "hasDedicatedDatabase": 1 }), "hasDedicatedDatabase", "wrong_type"),
        (
            json!({ "hasDedicatedDatabase": false, "tier": "enterprise" }),
            "hasDedicatedDatabase",
            "contradiction",
        ),
        (
            json!({ "hasDedicatedDatabase": true, "deploymentType": "shared" }),
            "hasDedicatedDatabase",
            "contradiction",
        ),
        (json!({ "costCenter": "" }), "costCenter", "too_short"),
        (json!({ "alerting": "a@acme.example" }), "alerting", "wrong_type"),
        (json!({ "alerting": { "email": "no" } }), "alerting.email", "invalid_email"),
        (
            json!({ "alerting": { "slackWebhookRef": "https://hooks.example/x" } }),
            "alerting.slackWebhookRef",
            "invalid_secret_reference",
        ),
        (
            json!({ "alerting": { "slackWebhookRef": "env:ADMIN_TOKEN" } }),
            "alerting.slackWebhookRef",
            "secret_reference_forbidden",
        ),
        (
            json!({ "alerting": { "slackWebhookRef": "file:/proc/self/environ" } }),
            "alerting.slackWebhookRef",
            "secret_reference_forbidden",
        ),
        (
            json!({ "alerting": { "slackWebhookRef": "k8s:matih-other/tenant-database-credentials#DATABASE_URL" } }),
            "alerting.slackWebhookRef",
            "secret_reference_forbidden",
        ),
        (json!({ "alerting": { "sms": "1" } }), "alerting.sms", "unknown_field"),
        (json!({ "onFailure": "explode" }), "onFailure", "unknown_value"),
        (json!({ "colour": "red" }), "colour", "unknown_field"),
        (json!({ "status": "ACTIVE" }), "status", "unknown_field"),
    ];
    for (change, field, code) in table {
        assert_eq!(ask(&change).unwrap_err(), [(field.to_owned(), code)], "{change}");
    }
}

#[test]
fn everything_wrong_is_said_at_once_and_a_webhook_is_never_repeated() {
    let body = json!({
        "slug": "-", "name": "", "tier": "gold", "region": "mars", "adminEmail": "x", "domain": "x",
        "complianceRequired": 1, "memberCount": -1, "monthlyApiCalls": -1, "deploymentType": "x",
        "hasDedicatedDatabase": "x", "costCenter": 1, "alerting": { "email": "x", "slackWebhookRef": "hunter2" },
        "onFailure": "x", "extra": 1,
    });
    let errors = parse(body.as_object().unwrap().clone(), &platform(), &Actor("test".into())).unwrap_err();
    let named: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(
        named,
        [
            "slug",
            "name",
            "tier",
            "region",
            "adminEmail",
            "domain",
            "complianceRequired",
            "memberCount",
            "monthlyApiCalls",
            "deploymentType",
            "hasDedicatedDatabase",
            "costCenter",
            "alerting.email",
            "alerting.slackWebhookRef",
            "onFailure",
            "extra",
        ]
    );
    assert!(!format!("{errors:?}").contains("hunter2"));
}

#[test]
fn what_is_left_out_gets_its_default() {
    let tenant = ask(&json!({})).unwrap();
    assert_eq!(tenant.deployment_type, DeploymentType::Shared);
    assert!(!tenant.has_dedicated_database);
    assert_eq!(tenant.on_failure, OnFailure::Rollback);
    assert_eq!(tenant.actor, "test");
    assert_eq!(ask(&json!({ "memberCount": 12.0 })).unwrap().member_count, 12);
    let own = ask(&json!({ "deploymentType": "container_per_tenant" })).unwrap();
    assert!(own.has_dedicated_database);
    assert_eq!(own.phases, phases::plan(DeploymentType::ContainerPerTenant, Tier::Professional));
    let schema =
        ask(&json!({ "deploymentType": "container_per_tenant", "hasDedicatedDatabase": false })).unwrap();
    assert!(!schema.has_dedicated_database);
}

#[test]
fn plan_type_is_a_synonym_of_tier() {
    assert_eq!(ask(&json!({ "tier": null, "planType": "free" })).unwrap().tier, Tier::Free);
    assert_eq!(ask(&json!({ "planType": "professional" })).unwrap().tier, Tier::Professional);
}

#[test]
fn what_the_platform_cannot_make_is_said_with_what_it_can() {
    let mut small = platform();
    small.deployment.available = vec![DeploymentType::ContainerPerTenant];
    small.deployment.tiers = vec![Tier::Free, Tier::Professional];
    let refused = |change: Value| parse(with(&change), &small, &Actor("test".into())).unwrap_err();
    for (change, field) in [
        (json!({}), "deploymentType"),
        (json!({ "deploymentType": "shared" }), "deploymentType"),
        (json!({ "tier": "enterprise" }), "tier"),
    ] {
        let errors = refused(change);
        assert_eq!((errors[0].field.as_str(), errors[0].code), (field, "deployment_type_unavailable"));
        assert_eq!(errors.len(), 1);
    }
    assert!(refused(json!({}))[0].message.contains("container_per_tenant"));
    let without = Platform { infrastructure: None, ..platform() };
    let enterprise = with(&json!({ "tier": "enterprise" }));
    let errors = parse(enterprise.clone(), &without, &Actor("test".into())).unwrap_err();
    assert_eq!((errors[0].field.as_str(), errors[0].code), ("tier", "deployment_type_unavailable"));
    assert!(errors[0].message.contains("[infrastructure]"), "{}", errors[0].message);
    let made = parse(enterprise, &platform(), &Actor("test".into())).unwrap();
    assert_eq!(made.phases[0].as_str(), "PROVISIONING_INFRASTRUCTURE");
    assert!(made.has_dedicated_database);
}

#[test]
fn a_tenant_may_name_what_the_platform_allows_it() {
    let mut generous = platform();
    generous.monitoring.tenant_references = vec!["env:SLACK_*".into()];
    let body =
        with(&json!({ "alerting": { "email": "ops@acme.example", "slackWebhookRef": "env:SLACK_ACME" } }));
    let tenant = parse(body, &generous, &Actor("test".into())).unwrap();
    assert_eq!(
        tenant.alerting,
        Some(json!({ "email": "ops@acme.example", "slackWebhookRef": "env:SLACK_ACME" }))
    );
    let own = json!({ "alerting": { "slackWebhookRef": "k8s:matih-acme/slack#url" } });
    assert_eq!(ask(&own).unwrap().alerting, Some(json!({ "slackWebhookRef": "k8s:matih-acme/slack#url" })));
}
