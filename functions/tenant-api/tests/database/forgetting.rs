//! What an instance keeps of a tenant beside Postgres, and that it goes with the tenant.

use crate::signing::{issue, key};
use crate::world::{SECRET, Strategy, World, with_tenants};
use license::PublicKeys;
use model::TenantId;
use model::secret::SecretRef;
use serde_json::json;
use std::path::Path;
use tenant_api::{Config, ExportSettings, InternalSecrets, Licenses, Storage, Tables};
use uuid::Uuid;

/// An instance that stands in for tenants' own, and keeps all that it can keep in this folder.
async fn keeping(keys: &PublicKeys, folder: &Path) -> World {
    let login = Some(SecretRef::Env("POOL_DATABASE_URL".into()));
    let storage = Storage::new(folder.join("storage"), None, None).unwrap();
    let no_broker = SecretRef::File(folder.join("AMQP_URL").display().to_string());
    let config = Config {
        tables: Tables::standing_in(login, Some(folder.join("stand-in"))),
        licenses: Licenses::open(keys.clone(), None, Some(folder.join("licenses")), None).unwrap(),
        exports: Some(ExportSettings::new("jobs.none".into(), no_broker, storage)),
        ..Config::new(InternalSecrets::new([SECRET.to_owned()]).unwrap())
    };
    World::with(config).await
}

impl World {
    async fn tell(&self, tenant: Uuid, license: &str) {
        let body = json!({ "tenantId": tenant, "license": license });
        let call = self.client.post(format!("{}/internal/license/refresh", self.url)).json(&body);
        assert_eq!(call.header("x-internal-secret", SECRET).send().await.unwrap().status(), 200);
    }

    async fn license(&self, tenant: Uuid) -> u16 {
        let call = self.client.get(format!("{}/internal/license/{tenant}", self.url));
        call.header("x-internal-secret", SECRET).send().await.unwrap().status().as_u16()
    }
}

#[tokio::test]
async fn a_dropped_tenants_files_licence_and_stand_in_entry_go_with_it() {
    with_tenants([Strategy::Database, Strategy::Schema], async |_, [tenant, other]| {
        let (folder, key) = (tempfile::tempdir().unwrap(), key());
        let world = keeping(&key.public_keys(), folder.path()).await;
        let exports = |tenant: Uuid| folder.path().join(format!("storage/{tenant}/exports"));
        let license = |tenant: Uuid| folder.path().join(format!("licenses/{tenant}.license"));
        let stand_in = folder.path().join(format!("stand-in/{}", tenant.id));
        let fill = |tenant: Uuid| {
            std::fs::create_dir_all(exports(tenant)).unwrap();
            for end in ["jsonl", "part"] {
                std::fs::write(exports(tenant).join(format!("{}.{end}", Uuid::new_v4())), "an address")
                    .unwrap();
            }
        };
        // By another name than that of the instance's own, the server is taken for one of the tenant's own.
        let mut body = tenant.initialize(&world);
        body["admin"]["host"] = json!("localhost");
        world.ok("initialize", &body).await;
        world.ok("initialize", &other.initialize(&world)).await;
        for tenant in [&tenant, &other] {
            fill(tenant.id);
            world.tell(tenant.id, &issue(&key, TenantId(tenant.id), 1, 60, false).text).await;
        }
        let named = |name: String| ("export files".to_owned(), name);
        let held = async || {
            let mut held = world.inventory(&tenant).await;
            held.retain(|(kind, _)| !["role", "database"].contains(&kind.as_str()));
            held
        };
        let all =
            [named(format!("{}/exports", tenant.id)), ("stand-in entry".to_owned(), tenant.id.to_string())];
        assert_eq!(held().await, all);

        // What another run has made is kept, and all that belongs to it.
        world.ok("drop", &tenant.drop(&world, Some(Uuid::new_v4()))).await;
        assert_eq!(held().await, all);
        assert_eq!((world.license(tenant.id).await, stand_in.exists()), (200, true));

        for _ in 0..2 {
            world.ok("drop", &tenant.drop(&world, Some(tenant.run))).await;
            assert_eq!(world.inventory(&tenant).await, []);
            assert!(!exports(tenant.id).parent().unwrap().exists());
            assert!(!license(tenant.id).exists() && !stand_in.exists());
            assert_eq!(world.license(tenant.id).await, 404);
            // As after a process that died between the role and the files, and a licence that was told late.
            fill(tenant.id);
            world.tell(tenant.id, &issue(&key, TenantId(tenant.id), 1, 60, false).text).await;
            assert_eq!(world.inventory(&tenant).await, all[..1]);
        }
        world.ok("drop", &tenant.drop(&world, None)).await;
        let again = keeping(&key.public_keys(), folder.path()).await;
        assert_eq!((again.license(tenant.id).await, again.license(other.id).await), (404, 200));
        assert_eq!(std::fs::read_dir(exports(other.id)).unwrap().count(), 2, "another's are another's");
    })
    .await;
}

#[tokio::test]
async fn a_licence_that_came_before_the_database_keeps_no_inventory_from_being_empty() {
    with_tenants([Strategy::Schema], async |_, [tenant]| {
        let (folder, key) = (tempfile::tempdir().unwrap(), key());
        let world = keeping(&key.public_keys(), folder.path()).await;
        world.tell(tenant.id, &issue(&key, TenantId(tenant.id), 1, 60, false).text).await;
        // A run that failed here never comes to a drop.
        assert_eq!(world.inventory(&tenant).await, []);
    })
    .await;
}
