//! A refresh as a whole: what the platform and the region have become reaches a tenant that lives, by processes that were
//! started again with new settings, and one that fails leaves a tenant that the region's new secret still lets in.

use std::sync::Arc;

use model::platform::Platform;
use model::secret::{Secret, SecretRef};
use model::{Change, TenantId, Tier};
use queue::{Dispatcher, Embedded};
use serde_json::{Value, json};
use tenant_api_client::own_secret;
use tenants::StatusRow;
use tests::{Failpoints, RegionWorld, kubectl, required, serve_tenant_api_with, slug};

const PHASES: [&str; 3] = ["CREATE_NAMESPACE", "PROVISION_DEPLOYMENT", "SETUP_DATABASE"];

/// All phases of the registry, by these settings.
async fn dispatch(world: &RegionWorld, platform: &Platform) -> Dispatcher {
    let runner = dispatcher::registry::runner(world.store.clone(), Arc::new(platform.clone())).await.unwrap();
    let runner = runner.with_hook(Failpoints::of_this_process().hook());
    world.dispatch_by(Arc::new(Embedded(Arc::new(runner))))
}

async fn refreshed(world: &RegionWorld, tenant: TenantId) -> StatusRow {
    let refresh = Change { refreshes_deployment: true, ..Change::default() };
    world.change(tenant, &refresh).await.unwrap();
    world
        .settled_row(tenant, "refreshed", |row| row.run.kind == "change" && row.run.finished_at.is_some())
        .await
}

/// The public keys, and what is accepted as internal secrets, now and beside it.
async fn has(namespace: &str) -> [String; 3] {
    let deployment = kubectl(&["get", "deployment", "tenant-api", "-n", namespace, "-o=json"]).await;
    let deployment: Value = serde_json::from_str(&deployment).unwrap();
    let environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let keys = environment.iter().find(|one| one["name"] == "LICENSE_PUBLIC_KEYS").unwrap();
    let value = |key: &str| format!("--template={{{{.data.{key} | base64decode}}}}");
    let secret = async |key: &str| {
        kubectl(&["get", "secret", "tenant-api-internal", "-n", namespace, &value(key)]).await
    };
    [keys["value"].as_str().unwrap_or_default().to_owned(), secret("current").await, secret("former").await]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_brings_what_the_platform_has_become_and_a_failed_one_no_retired_secret() {
    let failpoints = Failpoints::of_this_process();
    RegionWorld::run(
        |_| {},
        |world| async move {
            let old = required("TENANT_API_INTERNAL_SECRET");
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("next");
            std::fs::write(&file, "the region's next").unwrap();
            let (url, _) = serve_tenant_api_with("the region's next").await;
            let slug = slug("fresh");
            let namespace = format!("matih-{slug}");
            let dispatcher = dispatch(&world, &world.platform).await;
            let tenant = world.provision_these(&slug, Tier::Free, true, &PHASES).await;
            world.settled(tenant, "ACTIVE").await;
            dispatcher.stop().await.unwrap();
            let derived = |secret: &str| own_secret(&Secret::new(secret), tenant).expose().to_owned();
            let next = derived("the region's next");
            assert_eq!(has(&namespace).await, [String::new(), derived(&old), String::new()]);

            // Keys, secret and image change, and the first try is a failure.
            let mut platform = world.platform.clone();
            platform.tenant_api.license_public_keys = "next=AAAA".into();
            platform.tenant_api.image = "ip4x/tenant-api:next".into();
            let former = SecretRef::Env("TENANT_API_INTERNAL_SECRET".into());
            platform.tenant_api.former_internal_secrets.insert("eastus".into(), former);
            let region = platform.regions.get_mut("eastus").unwrap();
            region.internal_secret = SecretRef::File(file.display().to_string());
            region.tenant_api_url = url;
            let dispatcher = dispatch(&world, &platform).await;
            failpoints.set(&slug, ["PROVISION_DEPLOYMENT", "apply", "ready", "after"], "fatal");
            let row = refreshed(&world, tenant).await;
            assert_eq!((row.run.status.as_str(), row.tenant.status.as_str()), ("failed", "ACTIVE"));
            assert_eq!(has(&namespace).await, [String::new(), next.clone(), derived(&old)]);
            failpoints.lift(&slug, &[]);
            assert_eq!(refreshed(&world, tenant).await.run.status, "succeeded");
            assert_eq!(has(&namespace).await, ["next=AAAA".into(), next.clone(), derived(&old)]);
            let image = "-o=jsonpath={.items[*].spec.containers[0].image}";
            let label = "--selector=app.kubernetes.io/name=tenant-api";
            let running = kubectl(&["get", "pods", "-n", &namespace, label, image]).await;
            assert_eq!(running, "ip4x/tenant-api:next", "what runs");
            let recorded = world.store.deployment(tenant).await.unwrap().unwrap();
            assert_eq!(
                (recorded.image.as_str(), json!(recorded.chosen.0)),
                ("ip4x/tenant-api:next", json!({}))
            );
            dispatcher.stop().await.unwrap();

            // The old secret is retired.
            platform.tenant_api.former_internal_secrets.clear();
            let dispatcher = dispatch(&world, &platform).await;
            assert_eq!(refreshed(&world, tenant).await.run.status, "succeeded");
            assert_eq!(has(&namespace).await, ["next=AAAA".into(), next, String::new()]);
            world.take_out(&slug, tenant).await;
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}
