//! What will be made, decided from the tenant and the platform alone.

use std::collections::BTreeMap;

use engine::phase::{Checkpoints, Error, Result};
use job_broker::prefix_of;
use model::Tenant;
use model::platform::{InstanceSize, Platform};
use tenant_api_client::{DatabaseTarget, Server, Strategy};
use tenants::reads;

use crate::Plan;
use crate::jobs::Jobs;
use crate::objects::{self, PORT};

/// The Secret that SETUP_DATABASE makes.
const DATABASE_SECRET: &str = "tenant-database-credentials";

/// Image, environment and limits of the control-plane reference ("Provisioning dedicated compute"), and what it says is
/// missing there: without prefixes of their own, two instances at one broker or Redis would take each other's jobs.
pub(crate) fn plan(tenant: &Tenant, platform: &Platform, earlier: &Checkpoints) -> Result<Plan> {
    let incomplete = |section: &str, (key, why): (String, String)| {
        Error::fatal("platform_incomplete", format!("{section}.{key}: {why}"))
            .next("Correct the platform file, then retry.")
    };
    let instance: Option<reads::OwnPostgres> = earlier.read()?;
    let own = instance.is_some() || tenant.has_dedicated_database;
    let server = Server::of(platform, &tenant.region)?.on(instance);
    let settings = &platform.tenant_api;
    let (size_name, size) = match &tenant.container.size {
        Some(name) => settings.size_named(name),
        None => settings.of(tenant.tier),
    }
    .map_err(|wrong| incomplete("tenant_api", wrong))?;
    // Of what is suspended nothing runs.
    let replicas = if tenant.suspended { 0 } else { size.replicas };
    let controller = platform.ingress.of(tenant, platform).map_err(|wrong| incomplete("ingress", wrong))?;
    let strategy = if own { Strategy::Database } else { Strategy::Schema };
    let place = DatabaseTarget::of(tenant.id, strategy, &server.admin.database);
    let environment = BTreeMap::from([
        ("TENANT_ID", tenant.id.to_string()),
        ("TENANT_DB_NAME", place.database),
        ("TENANT_DB_SCHEMA", place.schema),
        ("TENANT_DB_HOST", server.admin.host),
        ("TENANT_DB_PORT", server.admin.port.to_string()),
        ("STORAGE_PREFIX", format!("{}/", tenant.id)),
        ("STORAGE_DIR", objects::STORAGE_FOLDER.into()),
        ("REDIS_PREFIX", tenant.id.to_string()),
        ("QUEUE_PREFIX", prefix_of(tenant.id)),
        ("NODE_ENV", settings.node_env.clone()),
        ("LISTEN", format!("0.0.0.0:{PORT}")),
        ("DATABASE_CREDENTIALS_DIR", objects::DATABASE_FOLDER.into()),
        ("INTERNAL_SECRETS_DIR", objects::INTERNAL_FOLDER.into()),
        ("JOBS_CREDENTIALS_DIR", objects::JOBS_FOLDER.into()),
        ("LICENSE_SECRET_DIR", objects::LICENSE_FOLDER.into()),
        // There even when empty: what is left out of a later plan would stay as it was.
        ("LICENSE_PUBLIC_KEYS", settings.license_public_keys.clone()),
    ]);
    let former = settings.former_internal_secrets.get(&tenant.region).cloned();
    Ok(Plan {
        namespace: platform.namespace(&tenant.slug),
        label_prefix: platform.label_prefix.clone(),
        pod_labels: [(platform.label("tenant-id"), tenant.id.to_string())].into(),
        image: tenant.container.image.clone().unwrap_or_else(|| settings.image.clone()),
        size_name: size_name.to_owned(),
        size: InstanceSize { replicas, ..size.clone() },
        environment: environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        database_secret: DATABASE_SECRET.to_owned(),
        internal_secrets: [server.internal_secret].into_iter().chain(former).collect(),
        host: format!("api.{}.{}", tenant.slug, platform.domain),
        class: controller.class,
        certificate: format!("{}-tls-certificate", tenant.slug),
        control_plane_namespace: platform.control_plane_namespace.clone(),
        jobs: platform.regions.get(&tenant.region).and_then(|region| region.jobs.as_ref()).map(Jobs::of),
        within: settings.ready_within,
        // Made after this in a tenant's first run, long before in a change.
        has_database: earlier.read::<reads::Database>()?.is_some(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use engine::phase::Kind;
    use model::Tier;
    use model::secret::SecretRef;
    use serde_json::json;

    pub(crate) const ID: &str = "550e8400-e29b-41d4-a716-446655440000";

    pub(crate) fn tenant(tier: Tier) -> Tenant {
        Tenant { id: ID.parse().unwrap(), tier, region: "za-north".into(), ..testing::acme() }
    }

    pub(crate) fn platform() -> Platform {
        let region = serde_json::from_value(json!({
            "tenant_api_url": "http://tenant-api", "internal_secret": "env:INTERNAL",
            "database": {
                "host": "db.za", "port": 5433, "shared_database": "region_za", "admin_user": "admin",
                "admin_password": "file:/run/admin",
            },
        }));
        Platform { regions: [("za-north".to_owned(), region.unwrap())].into(), ..Platform::default() }
    }

    pub(crate) fn planned(tenant: &Tenant, platform: &Platform) -> Result<Plan> {
        plan(tenant, platform, &Checkpoints::default())
    }

    /// Control-plane reference, "Provisioning dedicated compute" and its known gaps.
    #[test]
    fn the_environment_is_the_references_with_its_gaps_closed() {
        let plan = planned(&tenant(Tier::Free), &platform()).unwrap();
        let of = |name: &str| plan.environment.get(name).map(String::as_str);
        for (name, value) in [
            ("TENANT_ID", ID),
            ("TENANT_DB_NAME", "tenant_550e8400-e29b-41d4-a716-446655440000"),
            ("TENANT_DB_SCHEMA", "public"),
            ("STORAGE_PREFIX", "550e8400-e29b-41d4-a716-446655440000/"),
            ("STORAGE_DIR", "/var/lib/tenant-api/storage"),
            ("NODE_ENV", "production"),
            ("REDIS_PREFIX", ID),
            ("QUEUE_PREFIX", "jobs.550e8400-e29b-41d4-a716-446655440000"),
            ("TENANT_DB_HOST", "db.za"),
            ("TENANT_DB_PORT", "5433"),
        ] {
            assert_eq!(of(name), Some(value), "{name}");
        }
        assert_eq!(of("LICENSE_PUBLIC_KEYS"), Some(""));
        assert_eq!(plan.image, "ip4x/tenant-api:latest");
        assert_eq!((plan.host.as_str(), plan.class.as_str()), ("api.acme.matih.ai", "nginx-acme"));
        assert_eq!(plan.certificate, "acme-tls-certificate");
        let other = Tenant { has_dedicated_database: false, ..tenant(Tier::Free) };
        let environment = planned(&other, &platform()).unwrap().environment;
        assert_eq!(environment["TENANT_DB_NAME"], "region_za");
        assert_eq!(environment["TENANT_DB_SCHEMA"], "tenant_550e8400-e29b-41d4-a716-446655440000");
    }

    #[test]
    fn each_tier_has_the_size_of_the_settings_and_another_platforms_names_are_followed() {
        let mut platform = platform();
        let size = |platform: &Platform, tier| planned(&tenant(tier), platform).unwrap().size_name;
        assert_eq!(
            [Tier::Free, Tier::Professional, Tier::Enterprise].map(|tier| size(&platform, tier)),
            ["small", "medium", "large"]
        );
        platform.tenant_api.size.insert(Tier::Professional, "small".into());
        assert_eq!(size(&platform, Tier::Professional), "small");
        platform.tenant_api.sizes.remove("small");
        let error = planned(&tenant(Tier::Free), &platform).unwrap_err();
        assert_eq!((&error.kind, error.code), (&Kind::Fatal, "platform_incomplete"));
        platform =
            Platform { domain: "example.com".into(), label_prefix: "x.example".into(), ..self::platform() };
        platform.tenant_api.license_public_keys = "local=AAAA".into();
        platform.ingress.class = "edge-{slug}".into();
        let plan = planned(&tenant(Tier::Free), &platform).unwrap();
        assert_eq!((plan.host.as_str(), plan.class.as_str()), ("api.acme.example.com", "edge-acme"));
        assert_eq!(plan.pod_labels["x.example/tenant-id"], ID);
        assert_eq!(plan.environment["LICENSE_PUBLIC_KEYS"], "local=AAAA");
    }

    #[test]
    fn a_plan_holds_references_to_secrets_the_current_one_first() {
        let mut platform = platform();
        let reference = |name: &str| SecretRef::Env(name.into());
        assert_eq!(
            planned(&tenant(Tier::Free), &platform).unwrap().internal_secrets,
            [reference("INTERNAL")]
        );
        platform.tenant_api.former_internal_secrets.insert("za-north".into(), reference("FORMER"));
        platform.tenant_api.former_internal_secrets.insert("eastus".into(), reference("OTHER"));
        let plan = planned(&tenant(Tier::Free), &platform).unwrap();
        assert_eq!(plan.internal_secrets, [reference("INTERNAL"), reference("FORMER")]);
    }

    #[test]
    fn an_unknown_region_is_fatal() {
        let error = planned(&tenant(Tier::Free), &Platform::default()).unwrap_err();
        assert_eq!((&error.kind, error.code), (&Kind::Fatal, "region_unknown"));
    }

    #[test]
    fn what_is_chosen_goes_before_the_platforms_and_of_a_suspended_tenant_nothing_runs() {
        let chosen = model::Container { image: Some("other/api:2".into()), size: Some("large".into()) };
        let tenant = Tenant { container: chosen, suspended: true, ..tenant(Tier::Free) };
        let plan = planned(&tenant, &platform()).unwrap();
        assert_eq!((plan.image.as_str(), plan.size_name.as_str()), ("other/api:2", "large"));
        assert_eq!((plan.size.limits_cpu.as_str(), plan.size.replicas), ("2000m", 0));
        let mut platform = platform();
        platform.tenant_api.sizes.remove("large");
        platform.tenant_api.size.insert(Tier::Enterprise, "medium".into());
        let error = planned(&tenant, &platform).unwrap_err();
        assert!(error.code == "platform_incomplete" && error.message.contains("'large'"), "{error}");
    }

    #[test]
    fn an_enterprise_tenants_instance_is_told_of_its_own_postgres() {
        let instance = json!({
            "host": "10.0.0.4", "port": 5444, "adminUser": "a", "adminDatabase": "postgres", "adminPassword": "env:A",
        });
        let earlier = Checkpoints::new([("PROVISIONING_INFRASTRUCTURE".to_owned(), instance)].into());
        let environment = plan(&tenant(Tier::Enterprise), &platform(), &earlier).unwrap().environment;
        let of = |name: &str| environment[name].clone();
        assert_eq!((of("TENANT_DB_HOST"), of("TENANT_DB_PORT")), ("10.0.0.4".into(), "5444".into()));
        assert_eq!(of("TENANT_DB_NAME"), format!("tenant_{ID}"));
        // Who administers it, and by what, is none of the tenant's business.
        assert!(!environment.values().any(|value| value.contains("env:A")));
    }

    #[test]
    fn the_database_is_known_to_be_there_in_a_change_only() {
        assert!(!planned(&tenant(Tier::Free), &platform()).unwrap().has_database);
        let earlier = Checkpoints::new([("SETUP_DATABASE".to_owned(), json!({ "secret": null }))].into());
        assert!(plan(&tenant(Tier::Free), &platform(), &earlier).unwrap().has_database);
    }
}
