//! A tenant is in its region and nowhere else, and what befalls one region is no other's trouble. Two regions that the API
//! has made, each with a Postgres, an API server and a DNS zone of its own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use model::TenantId;
use model::platform::Seconds;
use reqwest::Method;
use serde_json::{Value, json};
use tenants::StatusRow;
use tests::{
    Api, Elsewhere, RegionContents, RegionSite, Site, calm, fresh_slug, kubectl, kubectl_with, names,
    required,
};

/// The phases that make something in a region, and as few others as they can do with.
const PHASES: [&str; 7] = [
    "CREATE_NAMESPACE",
    "PROVISION_DEPLOYMENT",
    "ISSUE_LICENSE",
    "SETUP_DATABASE",
    "CREATE_BOOTSTRAP_USER",
    "DEPLOY_INGRESS_CONTROLLER",
    "CREATE_DNS_ZONE",
];

/// A tenant, and what it goes by.
struct Tenant {
    id: TenantId,
    slug: String,
}

impl Tenant {
    fn among<'a>(&self, held: &'a RegionContents) -> Vec<&'a str> {
        held.of(&[&self.slug, &self.id.to_string()])
    }
}

struct Regions<'a> {
    site: &'a Site,
    api: Api,
}

impl Regions<'_> {
    async fn of_own(&self, region: &str, phases: &[&str]) -> Tenant {
        let slug = fresh_slug("rg");
        let id = self.api.create_as(&asked(&slug, region, "container_per_tenant")).await;
        // The rest of the plan deploys what needs more than this test is about.
        let names: Vec<String> = phases.iter().map(|&name| name.to_owned()).collect();
        for statement in [
            "UPDATE provisioning_runs SET phases = $2 WHERE tenant_id = $1",
            "WITH run AS (SELECT id FROM provisioning_runs WHERE tenant_id = $1), old AS ( \
               DELETE FROM provisioning_phases p USING run WHERE p.run_id = run.id AND p.position >= cardinality($2::text[])) \
             UPDATE provisioning_phases p SET name = ($2::text[])[p.position + 1] FROM run \
             WHERE p.run_id = run.id AND p.position BETWEEN 0 AND cardinality($2::text[]) - 1",
        ] {
            sqlx::query(statement).bind(id.0).bind(&names).execute(&self.site.world.pool).await.unwrap();
        }
        Tenant { id, slug }
    }

    async fn shared(&self, region: &str) -> Tenant {
        let slug = fresh_slug("rg");
        let id = self.api.create_as(&asked(&slug, region, "shared")).await;
        Tenant { id, slug }
    }

    /// While nothing is dispatched.
    async fn meanwhile<R>(&self, making: impl Future<Output = R>) -> R {
        let store = &self.site.world.store;
        store.pause_dispatching(true, "test").await.unwrap();
        let made = making.await;
        store.pause_dispatching(false, "test").await.unwrap();
        store.notify().await.unwrap();
        made
    }

    async fn become_so(&self, tenants: &[&Tenant], status: &str) {
        for tenant in tenants {
            self.site.until(tenant.id, status).await;
        }
    }

    /// Waits until the run is parked for want of its region, and says so.
    async fn parked(&self, tenant: &Tenant, code: &str, region: &str) {
        let error = |row: &StatusRow| {
            let phase = row.phases.iter().find(|phase| phase.position == row.run.cursor)?;
            phase.error.clone()
        };
        let told = |row: &StatusRow| error(row).is_some_and(|error| error["code"] == code);
        let row = self.site.until_row(tenant.id, code, told).await;
        let error = error(&row).unwrap();
        assert_eq!((&error["kind"], &*row.run.status), (&json!("unavailable"), "running"), "{error}");
        assert!(error["message"].as_str().unwrap().contains(region), "{error}");
        let shown = self.api.status(tenant.id).await;
        assert_eq!(shown["tenant"]["status"], "PROVISIONING");
        assert!(shown.to_string().contains(code), "{shown}");
    }
}

fn asked(slug: &str, region: &str, deployment: &str) -> Value {
    let tier = if deployment == "shared" { "free" } else { "professional" };
    json!({ "slug": slug, "name": slug, "tier": tier, "region": region, "deploymentType": deployment,
            "adminEmail": format!("admin@{slug}.example") })
}

fn secret_file(folder: &Path, name: &str, value: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, value).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    format!("file:{}", path.display())
}

async fn parent_zone(domain: &str) {
    let zone = json!({ "name": format!("{domain}."), "kind": "Native", "nameservers": ["ns1.matih.ai."] });
    names::parent(Method::POST, "zones", Some(&zone)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_in_its_region_only_and_the_loss_of_one_region_stops_no_other() {
    let adjust = |platform: &mut model::platform::Platform| {
        calm(platform);
        // The region is away for as long as the rest of the test takes.
        platform.engine.unavailable_within = Seconds(3600.0);
    };
    Site::run_with(adjust, |site| async move {
        let elsewhere = Elsewhere::start().await;
        let folder = site.folder();
        let (near_key, far_key) = (fresh_slug("near"), fresh_slug("far"));
        let near = RegionSite {
            kubeconfig: required("KUBECONFIG"),
            port: required("REGION_DATABASE_PORT").parse().unwrap(),
            admin: (required("REGION_DATABASE_ADMIN_USER"), required("REGION_DATABASE_ADMIN_PASSWORD")),
            domain: format!("{near_key}.example"),
        };
        let far = RegionSite {
            kubeconfig: elsewhere.value("KUBECONFIG").to_owned(),
            port: elsewhere.value("REGION_DATABASE_PORT").parse().unwrap(),
            admin: ("region_admin".into(), elsewhere.value("REGION_DATABASE_ADMIN_PASSWORD").to_owned()),
            domain: format!("{far_key}.example"),
        };
        parent_zone(&near.domain).await;
        parent_zone(&far.domain).await;
        let pool = elsewhere.value("POOL_DATABASE_URL");
        let own = [("POOL_DATABASE_URL", pool), ("TENANT_API_INTERNAL_SECRET", "the far region's")];
        let (_far_tenant_api, far_url) = site.another_tenant_api(&own).await;
        let (_service, api) = site.tenant_service().await;
        let _dispatcher = site.dispatcher();
        let region = |key: &str, place: &RegionSite, url: &str, internal: &str| {
            json!({
                "key": key, "tenantApiUrl": url, "domain": place.domain, "databaseCidrs": ["10.40.0.0/16"],
                "internalSecret": secret_file(folder, &format!("{key}-internal"), internal),
                "database": {
                    "host": "127.0.0.1", "port": place.port, "sharedDatabase": "region_eastus", "adminUser": place.admin.0,
                    "adminPassword": secret_file(folder, &format!("{key}-admin"), &place.admin.1),
                },
            })
        };
        // The near region is in the cluster of the processes themselves; the far one is not.
        let internal = required("TENANT_API_INTERNAL_SECRET");
        api.make_region(&region(&near_key, &near, &site.tenant_api_url(), &internal)).await;
        // Secrets of a region may be in the cluster of the processes; its kubeconfig too.
        let kubeconfig = std::fs::read_to_string(&far.kubeconfig).unwrap();
        let kept = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": far_key, "namespace": "default" },
            "stringData": { "kubeconfig": kubeconfig, "admin": far.admin.1 },
        });
        kubectl_with(&["apply", "--server-side", "-f", "-"], &kept.to_string()).await;
        let mut other = region(&far_key, &far, &far_url, "the far region's");
        other["cluster"] = json!(format!("k8s:default/{far_key}#kubeconfig"));
        other["database"]["adminPassword"] = json!(format!("k8s:default/{far_key}#admin"));
        api.make_region(&other).await;
        let regions = Regions { site: &site, api };

        let here = regions.meanwhile(async {
            let own = (regions.of_own(&near_key, &PHASES).await, regions.of_own(&far_key, &PHASES).await);
            (own, (regions.shared(&near_key).await, regions.shared(&far_key).await))
        });
        let ((near_own, far_own), (near_shared, far_shared)) = here.await;
        regions.become_so(&[&near_own, &far_own, &near_shared, &far_shared], "ACTIVE").await;
        let (in_near, in_far) = tokio::join!(near.look(), far.look());
        for (held, tenant) in [(&in_near, &near_own), (&in_far, &far_own)] {
            let its = tenant.among(held);
            for kind in ["Namespace ", "Deployment ", "Service ", "database ", "role ", "DNS zone ", "DNS record "] {
                assert!(its.iter().any(|line| line.starts_with(kind)), "{kind} in {its:#?}");
            }
        }
        for (held, tenant) in [(&in_near, &near_shared), (&in_far, &far_shared)] {
            let its = tenant.among(held);
            assert!(its.iter().any(|line| line.starts_with("schema region_eastus.")), "{its:#?}");
        }
        for (held, tenant) in
            [(&in_near, &far_own), (&in_near, &far_shared), (&in_far, &near_own), (&in_far, &near_shared)]
        {
            assert_eq!(tenant.among(held), [""; 0], "of another region");
        }

        elsewhere.fall().await;
        let few = &["CREATE_NAMESPACE", "ISSUE_LICENSE", "SETUP_DATABASE"];
        let made = regions.meanwhile(async {
            let own = (regions.of_own(&far_key, few).await, regions.of_own(&near_key, few).await);
            (own, regions.shared(&far_key).await)
        });
        let ((late_own, quick), late_shared) = made.await;
        regions.become_so(&[&quick], "ACTIVE").await;
        regions.api.delete(quick.id).await;
        regions.become_so(&[&quick], "DELETED").await;
        regions.parked(&late_own, "cluster_unavailable", &far_key).await;
        regions.parked(&late_shared, "tenant_api_unavailable", &far_key).await;

        elsewhere.rise().await;
        regions.become_so(&[&late_own, &late_shared], "ACTIVE").await;
        // What the plans name is not there any more; the way to it is the region's as it is now.
        let internal = secret_file(folder, "internal-new", "the far region's");
        let password = secret_file(folder, "admin-new", &far.admin.1);
        let renewed = json!({ "internalSecret": internal, "database": { "adminPassword": password } });
        regions.api.change_region(&far_key, &renewed).await;
        std::fs::remove_file(folder.join(format!("{far_key}-internal"))).unwrap();
        let all = [near_own, far_own, near_shared, far_shared, late_own, late_shared];
        for tenant in &all {
            regions.api.delete(tenant.id).await;
        }
        for tenant in &all {
            regions.become_so(&[tenant], "DELETED").await;
        }
        let (in_near, in_far) = tokio::join!(near.look(), far.look());
        for tenant in all.iter().chain([&quick]) {
            assert_eq!([tenant.among(&in_near), tenant.among(&in_far)].concat(), [""; 0], "nothing is left");
        }
        kubectl(&["delete", "secret", &far_key, "--namespace=default"]).await;
        for place in [&near, &far] {
            names::parent(Method::DELETE, &format!("zones/{}.", place.domain), None).await;
        }
    })
    .await;
}
