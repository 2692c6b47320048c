//! The notice of a licence: from the outbox to a tenant-api, whatever is down meanwhile.

use std::process::Command;

use engine::phase::{Owner, Scope};
use license::seal::Purpose;
use license::{Terms, seals, signer};
use model::platform::{Delivery, Limits, Platform, Region, RegionDatabase, Seconds};
use model::secret::{Secret, SecretRef};
use model::{RunId, TenantId, Tier};
use serde_json::{Value, json};
use tenant_api_client::own_secret;
use tenants::{LicenseStored, NewDeployment, StoredLicense};
use tests::process::{Process, Variables, free_port, program};
use tests::{fresh_slug, license, required};
use uuid::Uuid;

use crate::station::Station;

/// A region whose tenant-api is at `address`, whether it is up or not.
fn with_region(platform: &mut Platform, address: &str) {
    let region = Region {
        tenant_api_url: format!("http://{address}"),
        internal_secret: SecretRef::Env("TENANT_API_INTERNAL_SECRET".into()),
        database: RegionDatabase {
            host: "127.0.0.1".into(),
            port: 1,
            shared_database: "none".into(),
            admin_user: "nobody".into(),
            admin_password: SecretRef::Env("REGION_DATABASE_ADMIN_PASSWORD".into()),
        },
        database_cidrs: Vec::new(),
        cluster: None,
        domain: None,
        isolation: model::platform::Isolation::Shared,
        accepts_tenants: true,
        jobs: None,
    };
    platform.regions = [("eastus".to_owned(), region)].into();
    platform.license = license();
    platform.license.refusals = 2;
    platform.license.delivery = Delivery {
        backoff: Seconds(0.2),
        backoff_cap: Seconds(1.0),
        poll: Seconds(0.2),
        refused_for: Seconds(1.0),
        ..Delivery::default()
    };
}

/// Stores a licence as the phase does.
async fn issue(station: &Station, platform: &Platform, tenant: TenantId) -> Uuid {
    let owner = owner(station, tenant).await;
    let now = chrono::Utc::now();
    let terms = Terms { plan: Tier::Free, limits: Limits::default(), suspended: false };
    let expires_at = now + chrono::Duration::days(1);
    let signed = signer(&platform.license)
        .unwrap()
        .issue(tenant, terms, now.timestamp(), expires_at.timestamp())
        .unwrap();
    let sealed = seals(&platform.license).unwrap().seal(Purpose::License, tenant, &signed.text).unwrap();
    let current = station.world.store.license(tenant).await.unwrap().map(|license| license.id);
    let stored = StoredLicense {
        id: signed.claims.id,
        tenant_id: tenant,
        sealed: sealed.text,
        wrapped_key: sealed.data_key,
        kek_id: sealed.key_id,
        signing_key_id: signed.claims.key_id.clone(),
        issued_at: now,
        expires_at,
        created_by_run: owner.run_id,
    };
    let done = station.world.store.store_license(&owner, &stored, current).await.unwrap();
    assert_eq!(done, LicenseStored::Current);
    signed.claims.id
}

/// Who works for the tenant.
async fn owner(station: &Station, tenant: TenantId) -> Owner {
    let row = station.world.status(tenant).await;
    Owner {
        tenant_id: tenant,
        slug: row.tenant.slug.parse().unwrap(),
        run_id: RunId(row.run.id),
        epoch: 1,
        scope: Scope::Run,
    }
}

/// Records an instance of the tenant's own as the phase does.
async fn record(station: &Station, tenant: TenantId, address: &str, replicas: i32) {
    let made = NewDeployment {
        container_id: "uid".into(),
        namespace: "matih-own".into(),
        name: "tenant-api".into(),
        endpoint: format!("http://{address}"),
        url: "https://api.own.matih.ai".into(),
        image: "ip4x/tenant-api:1".into(),
        size: "small".into(),
        resources: json!({}),
        replicas,
    };
    let owner = owner(station, tenant).await;
    assert!(station.world.store.record_deployment(&owner, &made).await.unwrap());
}

/// Starts a tenant-api that accepts these keys.
async fn tenant_api(station: &Station, address: &str, keys: &str) -> Process {
    letting_in(station, address, keys, required("TENANT_API_INTERNAL_SECRET")).await
}

/// As [`tenant_api`], letting in by `secret`.
async fn letting_in(station: &Station, address: &str, keys: &str, secret: String) -> Process {
    let mut variables: Variables = [("PATH", required("PATH")), ("RUST_LOG", "debug".into())]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
    variables.insert("TENANT_API_INTERNAL_SECRET".into(), secret);
    variables.insert("LICENSE_PUBLIC_KEYS".into(), keys.to_owned());
    variables.insert("LISTEN".into(), address.to_owned());
    let command = Command::new(program("tenant-api"));
    let mut process = Process::start("tenant-api", command, &variables, station.folder());
    process.serves(&format!("http://{address}/readyz")).await;
    process
}

/// The licence that a tenant-api goes by.
async fn holds(address: &str, tenant: TenantId) -> Option<Value> {
    held(address, tenant, &required("TENANT_API_INTERNAL_SECRET")).await
}

async fn held(address: &str, tenant: TenantId, secret: &str) -> Option<Value> {
    let answer = reqwest::Client::new()
        .get(format!("http://{address}/internal/license/{tenant}"))
        .header("x-internal-secret", secret)
        .send()
        .await
        .unwrap();
    let found = answer.status() == 200;
    let body: Value = answer.json().await.unwrap();
    found.then(|| body["licenseId"].clone())
}

/// The region's tenant-api, and the relay's part of the stack's secrets.
async fn run<F: Future<Output = ()>>(test: impl FnOnce(Station, Platform, String) -> F) {
    let address = format!("127.0.0.1:{}", free_port());
    let mut platform = Platform::default();
    with_region(&mut platform, &address);
    Station::run(
        |platform| with_region(platform, &address),
        |mut station| async {
            for name in ["TENANT_API_INTERNAL_SECRET", "LICENSE_KEY_ENCRYPTION_KEY"] {
                station.variables.insert(name.into(), required(name));
            }
            test(station, platform, address.clone()).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_licence_reaches_a_data_plane_that_was_down_and_one_that_forgot() {
    Box::pin(run(|mut station, platform, address| async move {
        let tenant = station.world.tenant(&fresh_slug("licensed"), &["ONE"]).await;
        issue(&station, &platform, tenant).await;
        let relay = station.relay().await;
        relay.until("tenantry_relay_failures_total", "license", 2).await;
        assert_eq!(relay.measure("tenantry_outbox_failing", "license").await, 1);
        // Followed by another before the first was told.
        let current = issue(&station, &platform, tenant).await;
        assert_eq!(
            relay.measure("tenantry_outbox_set_aside", "license").await,
            0,
            "being down is no refusal"
        );

        let keys = required("LICENSE_PUBLIC_KEYS");
        let mut data_plane = tenant_api(&station, &address, &keys).await;
        relay.until_drained("license").await;
        assert_eq!(holds(&address, tenant).await, Some(json!(current)));

        // One without a folder to keep them in is told again.
        data_plane.signal(nix::sys::signal::Signal::SIGTERM);
        data_plane.end().await;
        let again = tenant_api(&station, &address, &keys).await;
        assert_eq!(holds(&address, tenant).await, None);
        station.variables.insert("LICENSE_SIGNING_KEY".into(), required("LICENSE_SIGNING_KEY"));
        station.run_program("dispatcher", &["license", "announce", "--region", "eastus"]).await;
        relay.until("tenantry_relay_delivered_total", "license", 3).await;
        assert_eq!(holds(&address, tenant).await, Some(json!(current)));

        let logs = [relay.process.log(), data_plane.log(), again.log()].concat();
        assert!(logs.contains(&current.to_string()), "the logs say which licence: {logs}");
        let outbox: Vec<String> = sqlx::query_scalar("SELECT row_to_json(o)::text FROM outbox o")
            .fetch_all(&station.world.pool)
            .await
            .unwrap();
        for place in [logs, outbox.concat()] {
            for secret in ["tl1.", &required("LICENSE_KEY_ENCRYPTION_KEY"), &required("LICENSE_SIGNING_KEY")]
            {
                assert!(!place.contains(secret), "{place}");
            }
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_licence_that_a_data_plane_refuses_is_set_aside_and_one_it_has_no_key_for_waits() {
    Box::pin(run(|station, platform, address| async move {
        // Another's public key under our key's id: every licence looks altered. Any 32 bytes make a signing key.
        let mut foreign = platform.license.clone();
        let other_key = SecretRef::Env("LICENSE_KEY_ENCRYPTION_KEY".into());
        foreign.signing_keys.insert("local".into(), other_key);
        let other = signer(&foreign).unwrap().public_keys().text();
        let tenant = station.world.tenant(&fresh_slug("refused"), &["ONE"]).await;
        issue(&station, &platform, tenant).await;
        let mut data_plane = tenant_api(&station, &address, &other.replace("local=", "other=")).await;
        let relay = station.relay().await;
        relay.until("tenantry_relay_failures_total", "license", 4).await;
        assert_eq!(relay.measure("tenantry_outbox_set_aside", "license").await, 0, "a key may still come");
        data_plane.signal(nix::sys::signal::Signal::SIGTERM);
        data_plane.end().await;

        let _data_plane = tenant_api(&station, &address, &other).await;
        relay.until("tenantry_outbox_set_aside", "license", 1).await;
        let shown = station.command(&["refused", "list"]).await;
        assert!(shown.contains("license_altered"), "{shown}");
        assert_eq!(holds(&address, tenant).await, None);
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_instance_is_told_by_its_own_secret() {
    // Nobody is at the region's address.
    Box::pin(run(|station, platform, _| async move {
        let tenant = station.world.tenant(&fresh_slug("own"), &["ONE"]).await;
        let address = format!("127.0.0.1:{}", free_port());
        record(&station, tenant, &address, 1).await;
        let secret = own_secret(&Secret::new(required("TENANT_API_INTERNAL_SECRET")), tenant);
        let _own =
            letting_in(&station, &address, &required("LICENSE_PUBLIC_KEYS"), secret.expose().to_owned())
                .await;
        let current = issue(&station, &platform, tenant).await;
        let relay = station.relay().await;
        relay.until_drained("license").await;
        assert_eq!(held(&address, tenant, secret.expose()).await, Some(json!(current)));
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_notice_of_a_suspended_tenant_is_no_backlog_and_its_resumed_instance_is_told() {
    // Nobody is at the region's address.
    Box::pin(run(|station, platform, _| async move {
        let tenant = station.world.tenant(&fresh_slug("asleep"), &["ONE"]).await;
        let address = format!("127.0.0.1:{}", free_port());
        // Issued while the instance is on its way out, and refused until that is recorded.
        record(&station, tenant, &address, 1).await;
        issue(&station, &platform, tenant).await;
        let relay = station.relay().await;
        relay.until("tenantry_relay_failures_total", "license", 1).await;
        record(&station, tenant, &address, 0).await;
        relay.until_drained("license").await;
        for measure in ["tenantry_outbox_failing", "tenantry_outbox_set_aside"] {
            assert_eq!(relay.measure(measure, "license").await, 0, "{measure}");
        }
        let note: Option<String> =
            sqlx::query_scalar("SELECT last_error FROM outbox WHERE sink = 'license' AND tenant_id = $1")
                .bind(tenant.0)
                .fetch_one(&station.world.pool)
                .await
                .unwrap();
        assert!(note.as_deref().is_some_and(|note| note.contains("nothing of the tenant runs")), "{note:?}");

        record(&station, tenant, &address, 1).await;
        let secret = own_secret(&Secret::new(required("TENANT_API_INTERNAL_SECRET")), tenant);
        let keys = required("LICENSE_PUBLIC_KEYS");
        let _own = letting_in(&station, &address, &keys, secret.expose().to_owned()).await;
        let resumed = issue(&station, &platform, tenant).await;
        relay.until_drained("license").await;
        assert_eq!(held(&address, tenant, secret.expose()).await, Some(json!(resumed)));
    }))
    .await;
}
