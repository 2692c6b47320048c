use super::*;
use engine::phase::Kind;
use serde_json::json;

const OWN: &str = "tenant_550e8400-e29b-41d4-a716-446655440000";

fn tenant(tier: Tier, has_dedicated_database: bool) -> Tenant {
    Tenant { tier, has_dedicated_database, ..testing::acme() }
}

fn plan(tenant: &Tenant, platform: &Platform) -> Result<Plan> {
    super::plan(tenant, platform, &Checkpoints::default())
}

fn platform() -> Platform {
    let region = serde_json::from_value(json!({
        "tenant_api_url": "http://tenant-api",
        "internal_secret": "env:INTERNAL",
        "database": {
            "host": "db", "port": 5432, "shared_database": "region_eastus",
            "admin_user": "region_admin", "admin_password": "file:/run/admin",
        },
    }));
    Platform { regions: [("eastus".to_owned(), region.unwrap())].into(), ..Platform::default() }
}

#[test]
fn an_enterprise_tenants_database_is_on_its_own_instance() {
    let instance = json!({
        "host": "10.0.0.4", "port": 5433, "adminUser": "tenantry_admin", "adminDatabase": "postgres",
        "adminPassword": "k8s:matih-system/infrastructure#password", "database": OWN, "cidrs": [], "createdBy": null,
    });
    let earlier = Checkpoints::new([("PROVISIONING_INFRASTRUCTURE".to_owned(), instance)].into());
    for dedicated in [true, false] {
        let plan = super::plan(&tenant(Tier::Enterprise, dedicated), &platform(), &earlier).unwrap();
        assert_eq!((plan.place.strategy, &*plan.place.database), (Strategy::Database, OWN));
        assert_eq!(plan.server.endpoint, "http://tenant-api");
        assert_eq!(
            serde_json::to_value(plan.server.admin).unwrap(),
            json!({
                "host": "10.0.0.4", "port": 5433, "user": "tenantry_admin", "database": "postgres",
                "password": "k8s:matih-system/infrastructure#password", "ofOwnInstance": true,
            })
        );
    }
}

#[test]
fn a_tenants_own_instance_is_asked_to_make_it_and_the_pooled_one_to_drop_it() {
    let deployed = json!({ "endpoint": "http://tenant-api-control.matih-acme.svc:8080" });
    let earlier = Checkpoints::new([(reads::PROVISION_DEPLOYMENT.to_owned(), deployed)].into());
    let mut tenant = tenant(Tier::Professional, true);
    let planned = super::plan(&tenant, &platform(), &earlier).unwrap();
    let own = planned.instance.clone().unwrap();
    assert_eq!((&*own.endpoint, own.own), ("http://tenant-api-control.matih-acme.svc:8080", Some(tenant.id)));
    assert_eq!((&*planned.server.endpoint, planned.server.own), ("http://tenant-api", None));
    assert_eq!(own.admin, planned.server.admin);
    tenant.suspended = true;
    assert_eq!(super::plan(&tenant, &platform(), &earlier).unwrap().instance, None, "nothing of it runs");
    tenant.suspended = false;
    let simulated = Platform { simulated_nodes: true, ..platform() };
    assert_eq!(super::plan(&tenant, &simulated, &earlier).unwrap().instance, None, "no container runs");
}

#[test]
fn a_plan_holds_names_and_references() {
    let plan = plan(&tenant(Tier::Professional, true), &platform()).unwrap();
    assert_eq!(
        serde_json::to_value(plan).unwrap(),
        json!({
            "strategy": "database", "database": OWN, "schema": "public", "role": OWN,
            "connectionLimit": 20, "instance": null,
            "server": {
                "region": "eastus", "endpoint": "http://tenant-api", "internalSecret": "env:INTERNAL",
                "admin": {
                    "host": "db", "port": 5432, "user": "region_admin", "password": "file:/run/admin",
                    "database": "region_eastus", "ofOwnInstance": false,
                },
            },
            "namespace": "matih-acme", "secret": "tenant-database-credentials", "labelPrefix": "matih.ai",
            "checkImage": "matih.azurecr.io/check-database:latest", "simulatedNodes": false,
        })
    );
}

#[test]
fn only_a_professional_tenant_has_a_limit_of_its_own() {
    let limit = |tier| plan(&tenant(tier, false), &platform()).unwrap().connection_limit;
    assert_eq!([Tier::Free, Tier::Professional, Tier::Enterprise].map(limit), [None, Some(20), None]);
}

#[test]
fn without_a_database_of_its_own_a_tenant_has_a_schema() {
    let place = plan(&tenant(Tier::Free, false), &platform()).unwrap().place;
    let names = (place.strategy, &*place.database, &*place.schema, &*place.role);
    assert_eq!(names, (Strategy::Schema, "region_eastus", OWN, OWN));
}

#[test]
fn a_tenant_of_the_pooled_instance_has_a_schema_and_no_secret() {
    let shared = Tenant { deployment_type: DeploymentType::Shared, ..tenant(Tier::Professional, false) };
    let plan = plan(&shared, &platform()).unwrap();
    assert_eq!((plan.place.strategy, &*plan.place.schema), (Strategy::Schema, OWN));
    assert_eq!((plan.namespace, plan.connection_limit), (None, None));
}

#[test]
fn an_unknown_region_is_fatal_and_named() {
    let error = plan(&tenant(Tier::Free, false), &Platform::default()).unwrap_err();
    assert_eq!((&error.kind, error.code), (&Kind::Fatal, "region_unknown"));
    assert!(error.message.contains("'eastus'"), "{error}");
}
