//! A tenant to work for.

use engine::store::{KeyUse, StoredResponse};
use model::platform::{Domains, Seconds};
use model::{Alerting, Container, DeploymentType, OnFailure, PhaseName, RunId, Tenant, TenantId, Tier};
use serde_json::json;
use tenants::{NewTenant, Store};

/// A free tenant of the region `eastus` with a container and a database of its own; its slug is `<what>-<12 random digits>`, so
/// that no other test has it. Change what a test is about: `Tenant { tier: Tier::Professional, ..tenant("dns") }`.
pub fn tenant(what: &str) -> Tenant {
    tenant_ending(what, "")
}

/// As [`tenant`], with an end of the slug, and so of the namespace's name, by which the local stack chooses a bad case
/// (`-never-ready`).
pub fn tenant_ending(what: &str, end: &str) -> Tenant {
    let id = TenantId::generate();
    Tenant {
        id,
        slug: format!("{what}-{}{end}", &id.0.simple().to_string()[20..]).parse().expect("a slug"),
        tier: Tier::Free,
        created_by: "tester".into(),
        created_at: chrono::Utc::now(),
        ..acme()
    }
}

/// The tenant of the provisioning reference, the same in every call: for plans, and not for anything that is made.
pub fn acme() -> Tenant {
    Tenant {
        id: "550e8400-e29b-41d4-a716-446655440000".parse().unwrap(),
        slug: "acme".parse().unwrap(),
        name: "Acme".into(),
        tier: Tier::Professional,
        region: "eastus".into(),
        admin_email: "admin@acme.example".into(),
        deployment_type: DeploymentType::ContainerPerTenant,
        has_dedicated_database: true,
        cost_center: None,
        alerting: Alerting::default(),
        suspended: false,
        container: Container::default(),
        domains: Vec::new(),
        created_by: "admin@matih.ai".into(),
        created_at: "2026-02-12T10:00:00Z".parse().unwrap(),
    }
}

/// The tenant as the store has it from now on, with the store's id, and its run of this one phase, which nobody works on.
/// Panics where a living tenant has the slug, as after a first call.
pub async fn recorded(store: &Store, tenant: Tenant, phase: PhaseName) -> (Tenant, RunId) {
    let new = NewTenant {
        slug: tenant.slug.clone(),
        name: tenant.name.clone(),
        tier: tenant.tier,
        region: tenant.region.clone(),
        admin_email: tenant.admin_email.clone(),
        domain: None,
        compliance_required: false,
        member_count: 0,
        monthly_api_calls: 0,
        deployment_type: tenant.deployment_type,
        deployment_reason: "test".into(),
        has_dedicated_database: tenant.has_dedicated_database,
        cost_center: None,
        alerting: None,
        on_failure: OnFailure::Rollback,
        actor: tenant.created_by.clone(),
        phases: vec![phase],
    };
    let key = KeyUse { actor: &new.actor, key: new.slug.as_str(), body_hash: b"test", kept: Seconds(60.0) };
    let domains = Domains::default();
    let made = store.create_tenant(&new, &key, Seconds(0.0), &domains, |row| StoredResponse {
        status: 202,
        body: json!({ "id": row.id }),
        headers: json!({}),
    });
    let id: TenantId = made.await.unwrap().body["id"].as_str().unwrap().parse().unwrap();
    let run = RunId(store.status(id).await.unwrap().unwrap().run.id);
    (Tenant { id, ..tenant }, run)
}
