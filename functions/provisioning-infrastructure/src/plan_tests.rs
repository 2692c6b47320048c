use super::*;
use crate::password::password;
use engine::phase::Kind;
use model::Tier;
use serde_json::json;

fn tenant() -> Tenant {
    Tenant { slug: "initech".parse().unwrap(), tier: Tier::Enterprise, ..testing::acme() }
}

fn platform() -> Platform {
    let infrastructure = json!({
        "module": "/modules/azure", "state_database": "env:STATE", "state_key": "file:/run/key",
        "variables": { "location": "eastus", "sku": "small" },
        "region_variables": { "eastus": { "sku": "large" }, "za-north": { "location": "za" } },
        "job": { "image": "i", "service_account": "terraform" },
    });
    Platform { infrastructure: Some(serde_json::from_value(infrastructure).unwrap()), ..Platform::default() }
}

#[test]
fn a_plan_holds_names_and_references_and_the_regions_variables_go_first() {
    let plan = plan(&tenant(), &platform()).unwrap();
    assert_eq!(
        serde_json::to_value(plan).unwrap(),
        json!({
            "site": {
                "module": "/modules/azure", "program": "tofu", "stateDatabase": "env:STATE",
                "stateKey": "file:/run/key", "deadline": 2700.0,
                "variables": {
                    "admin_user": "tenantry_admin", "location": "eastus", "sku": "large",
                    "tenant_id": "550e8400-e29b-41d4-a716-446655440000",
                },
                "namespace": "matih-system", "supervised": null,
                "job": { "image": "i", "service_account": "terraform", "pod_labels": {}, "environment": {} },
            },
            "name": "tf-550e8400-e29b-41d4-a716-446655440000",
            "secret": "infrastructure-550e8400-e29b-41d4-a716-446655440000",
            "database": "tenant_550e8400-e29b-41d4-a716-446655440000",
            "labelPrefix": "matih.ai",
        })
    );
}

#[test]
fn without_infrastructure_it_is_said_which_setting_is_missing() {
    let error = plan(&tenant(), &Platform::default()).unwrap_err();
    assert_eq!((&error.kind, error.code), (&Kind::Fatal, "infrastructure_not_set"));
    assert!(error.message.contains("[infrastructure]"), "{error}");
}

/// Azure: 8 to 128 characters of three kinds out of upper case, lower case, digits and signs.
#[test]
fn a_password_is_as_complex_as_azure_wants_it() {
    let password = password();
    let has = |kind: fn(char) -> bool| password.expose().chars().any(kind);
    assert!(
        has(|c| c.is_ascii_uppercase()) && has(|c| c.is_ascii_lowercase()) && has(|c| c.is_ascii_digit())
    );
    assert_eq!(password.expose().len(), 44);
    assert_ne!(password.expose(), self::password().expose());
}
