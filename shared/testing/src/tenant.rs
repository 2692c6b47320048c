//! A tenant to work for.

use model::{Alerting, Container, DeploymentType, Tenant, TenantId, Tier};

/// A free tenant of the region `eastus` with a container and a database of its own; its slug is `<what>-<12 random digits>`, so
/// that no other test has it. Change what a test is about: `Tenant { tier: Tier::Professional, ..tenant("dns") }`.
pub fn tenant(what: &str) -> Tenant {
    let id = TenantId::generate();
    Tenant {
        id,
        slug: format!("{what}-{}", &id.0.simple().to_string()[20..]).parse().expect("a slug"),
        name: "Acme".into(),
        tier: Tier::Free,
        region: "eastus".into(),
        admin_email: "admin@acme.example".into(),
        deployment_type: DeploymentType::ContainerPerTenant,
        has_dedicated_database: true,
        cost_center: None,
        alerting: Alerting::default(),
        suspended: false,
        container: Container::default(),
        domains: Vec::new(),
        created_by: "tester".into(),
        created_at: chrono::Utc::now(),
    }
}
