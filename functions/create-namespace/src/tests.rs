use super::*;
use model::Tier;

fn tenant(tier: Tier) -> Tenant {
    Tenant { tier, created_at: "2026-02-12T10:00:00.123Z".parse().unwrap(), ..testing::acme() }
}

#[test]
fn labels_and_annotations_are_the_references() {
    let plan = plan(&tenant(Tier::Professional), &Platform::default());
    assert_eq!(
        serde_json::to_value(objects::namespace(&plan)).unwrap(),
        serde_json::json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": "matih-acme",
                "labels": {
                    "matih.ai/tenant-id": "550e8400-e29b-41d4-a716-446655440000",
                    "matih.ai/tenant-slug": "acme",
                    "matih.ai/tier": "professional",
                    "matih.ai/region": "eastus",
                    "matih.ai/managed-by": "tenant-service",
                },
                "annotations": {
                    "matih.ai/provisioned-at": "2026-02-12T10:00:00Z",
                    "matih.ai/provisioned-by": "admin@matih.ai",
                },
            },
        })
    );
}

#[test]
fn a_cost_center_and_another_platforms_names_are_followed() {
    let tenant = Tenant { cost_center: Some("cc-7".into()), ..tenant(Tier::Free) };
    let platform =
        Platform { label_prefix: "example.com".into(), namespace_prefix: "x-".into(), ..Platform::default() };
    let plan = plan(&tenant, &platform);
    assert_eq!(plan.annotations["example.com/cost-center"], "cc-7");
    assert_eq!(plan.labels["example.com/tenant-slug"], "acme");
    assert_eq!(plan.namespace.as_str(), "x-acme");
}

#[test]
fn each_tier_has_the_references_quota() {
    let hard = |tier| {
        let plan = plan(&tenant(tier), &Platform::default());
        let quota = objects::quota(&plan, plan.quota.as_ref()?);
        let hard = quota.spec?.hard?;
        let keys = ["requests.cpu", "limits.cpu", "requests.memory", "limits.memory", "pods"];
        Some(keys.map(|key| hard[key].0.clone()))
    };
    assert_eq!(hard(Tier::Free), Some(["2", "4", "4Gi", "8Gi", "20"].map(String::from)));
    assert_eq!(hard(Tier::Professional), Some(["8", "16", "16Gi", "32Gi", "50"].map(String::from)));
    assert_eq!(hard(Tier::Enterprise), None);
}

#[test]
fn the_role_reads_no_secret_and_writes_nothing() {
    let role = objects::role(&plan(&tenant(Tier::Free), &Platform::default()));
    for rule in role.rules.unwrap() {
        assert!(!rule.resources.unwrap().iter().any(|resource| resource == "secrets" || resource == "*"));
        assert!(rule.verbs.iter().all(|verb| ["get", "list", "watch"].contains(&verb.as_str())));
    }
}
