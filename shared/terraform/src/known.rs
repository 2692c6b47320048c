//! What a state knows, read from `tofu show -json`.

use std::collections::BTreeSet;

use model::TenantId;
use serde_json::Value;

/// The tag by which a cloud's resource says whose it is.
const TAG: &str = "tenantry-tenant";

/// Resources, without what is only looked at: that is others' by its nature.
fn resources(shown: &Value) -> impl Iterator<Item = &Value> {
    let all = shown["values"]["root_module"]["resources"].as_array().into_iter().flatten();
    all.filter(|resource| resource["mode"] != "data")
}

fn address(resource: &Value) -> Option<String> {
    resource["address"].as_str().map(str::to_owned)
}

/// Every resource that it knows.
pub(super) fn addresses(shown: &Value) -> BTreeSet<String> {
    resources(shown).filter_map(address).collect()
}

/// Those that are marked as broken.
pub(super) fn tainted(shown: &Value) -> Vec<String> {
    resources(shown).filter(|resource| resource["tainted"] == true).filter_map(address).collect()
}

/// Those that can say whose they are, and say that it is not the tenant.
pub(super) fn foreign(shown: &Value, tenant: TenantId) -> BTreeSet<String> {
    let tenant = tenant.to_string();
    let others = |resource: &&Value| {
        resource["values"].get("tags").is_some_and(|tags| tags[TAG].as_str() != Some(&tenant))
    };
    resources(shown).filter(others).filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_tag_says_is_somebody_elses_is_foreign() {
        let tenant: TenantId = "550e8400-e29b-41d4-a716-446655440000".parse().unwrap();
        let shown = |values: Value| {
            json!({ "values": { "root_module": { "resources": [
                { "address": "a.b", "mode": "managed", "values": values, "tainted": true },
                { "address": "a.c", "mode": "managed", "values": {} },
                { "address": "data.a.d", "mode": "data", "values": { "tags": { TAG: "another" } } },
            ] } } })
        };
        let ours = shown(json!({ "tags": { TAG: tenant } }));
        assert_eq!(foreign(&ours, tenant), BTreeSet::new());
        for tags in [json!({ "tags": { TAG: "another" } }), json!({ "tags": {} }), json!({ "tags": null })] {
            assert_eq!(foreign(&shown(tags), tenant), BTreeSet::from(["a.b".to_owned()]));
        }
        assert_eq!(foreign(&shown(json!({})), tenant), BTreeSet::new(), "it cannot say whose it is");
        assert_eq!(tainted(&ours), ["a.b"]);
        assert_eq!(addresses(&ours), BTreeSet::from(["a.b".to_owned(), "a.c".to_owned()]));
        assert_eq!(addresses(&json!({ "format_version": "1.0" })), BTreeSet::new(), "an empty state");
    }
}
