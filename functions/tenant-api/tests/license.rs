//! Licences, told over HTTP: signed here as the control plane signs them, checked there with public keys only.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use shared::license::{PublicKeys, Signed, Signer, Terms, signer};
use shared::model::{TenantId, Tier};
use shared::platform::{License, Limits};
use shared::secret::SecretRef;
use tenant_api::{Config, InternalSecrets, Licenses};
use tokio::net::TcpListener;

const SECRET: &str = "the internal secret of this test";

/// A signing key under an id, made of one byte.
fn key(id: &str, byte: u8) -> Signer {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, STANDARD.encode([byte; 32])).unwrap();
    let reference = SecretRef::File(path.display().to_string());
    let license = License {
        sign_with: id.into(),
        signing_keys: [(id.to_owned(), reference)].into(),
        ..License::default()
    };
    signer(&license).unwrap()
}

fn public(keys: &[&Signer]) -> PublicKeys {
    let texts: Vec<String> = keys.iter().map(|key| key.public_keys().text()).collect();
    PublicKeys::parse(&texts.join(",")).unwrap()
}

/// From so many seconds before (or after) now, for a minute.
fn issue(key: &Signer, tenant: TenantId, from_now: i64) -> Signed {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let issued = i64::try_from(now).unwrap() + from_now;
    let limits = Limits { members: Some(5), monthly_api_calls: None };
    let terms = Terms { plan: Tier::Professional, limits, suspended: false };
    key.issue(tenant, terms, issued, issued + 60).unwrap()
}

struct Instance {
    url: String,
    http: reqwest::Client,
}

impl Instance {
    async fn start(keys: PublicKeys, pinned: Option<TenantId>, folder: Option<&Path>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let licenses = Licenses::open(keys, pinned, folder.map(Path::to_owned)).unwrap();
        let secrets = InternalSecrets::new([SECRET.to_owned()]).unwrap();
        let config = Config { licenses, ..Config::new(secrets) };
        tokio::spawn(tenant_api::serve(listener, config, std::future::pending()));
        Self { url, http: reqwest::Client::new() }
    }

    async fn tell(&self, tenant: TenantId, license: &str) -> (u16, Value) {
        let body = json!({ "tenantId": tenant, "license": license });
        let call = self.http.post(format!("{}/internal/license/refresh", self.url)).json(&body);
        let answer = call.header("x-internal-secret", SECRET).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        assert!(!text.contains(license), "an answer repeats no licence: {text}");
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn takes(&self, signed: &Signed) -> Value {
        let (status, answer) = self.tell(signed.claims.tenant, &signed.text).await;
        assert_eq!(status, 200, "{answer}");
        answer["licenseId"].clone()
    }

    async fn refuses(&self, tenant: TenantId, license: &str, code: &str) {
        let (status, answer) = self.tell(tenant, license).await;
        assert_eq!((status, &answer["code"]), (422, &json!(code)), "{answer}");
    }

    async fn holds(&self, tenant: TenantId) -> Option<Value> {
        let call = self.http.get(format!("{}/internal/license/{tenant}", self.url));
        let answer = call.header("x-internal-secret", SECRET).send().await.unwrap();
        let found = answer.status() == 200;
        let body: Value = answer.json().await.unwrap();
        assert!(found || body["code"] == "license_missing", "{body}");
        found.then_some(body)
    }
}

#[tokio::test]
async fn the_newest_licence_of_a_tenant_is_kept_in_whatever_order_they_come() {
    let (key, tenant) = (key("s1", 1), TenantId::generate());
    let instance = Instance::start(public(&[&key]), None, None).await;
    assert_eq!(instance.holds(tenant).await, None);
    let (old, new) = (issue(&key, tenant, -2), issue(&key, tenant, -1));
    for (told, kept) in [(&old, &old), (&old, &old), (&new, &new), (&old, &new), (&new, &new)] {
        assert_eq!(instance.takes(told).await, json!(kept.claims.id));
    }
    let holds = instance.holds(tenant).await.unwrap();
    assert_eq!(holds["licenseId"], json!(new.claims.id));
    assert_eq!((&holds["plan"], &holds["limits"]), (&json!("professional"), &json!({ "members": 5 })));
    // Another's is another's.
    assert_eq!(instance.holds(TenantId::generate()).await, None);
}

#[tokio::test]
async fn an_expired_foreign_or_altered_licence_is_refused_and_changes_nothing() {
    let (key, tenant) = (key("s1", 1), TenantId::generate());
    let instance = Instance::start(public(&[&key]), None, None).await;
    let good = issue(&key, tenant, -1);
    instance.takes(&good).await;
    instance.refuses(tenant, &issue(&key, tenant, -61).text, "license_expired").await;
    instance.refuses(tenant, &issue(&key, tenant, 3600).text, "license_not_yet_valid").await;
    let others = issue(&key, TenantId::generate(), 0);
    instance.refuses(tenant, &others.text, "license_foreign").await;
    instance.refuses(tenant, &issue(&self::key("s2", 1), tenant, 0).text, "license_key_unknown").await;
    instance.refuses(tenant, &issue(&self::key("s1", 2), tenant, 0).text, "license_altered").await;
    // Larger claims under the old signature.
    let (_, signature) = good.text.rsplit_once('.').unwrap();
    let newer = issue(&key, tenant, 0).text;
    let (claims, _) = newer.rsplit_once('.').unwrap();
    instance.refuses(tenant, &format!("{claims}.{signature}"), "license_altered").await;
    for malformed in ["tl1.", "tl2.AAAA.AAAA", "no licence at all", &format!("{}.x", &*good.text)] {
        instance.refuses(tenant, malformed, "license_malformed").await;
    }
    assert_eq!(instance.holds(tenant).await.unwrap()["licenseId"], json!(good.claims.id));
    assert_eq!(instance.holds(others.claims.tenant).await, None);
}

#[tokio::test]
async fn a_suspended_tenants_licence_grants_nothing_until_a_newer_one_does() {
    let (key, tenant) = (key("s1", 1), TenantId::generate());
    let instance = Instance::start(public(&[&key]), None, None).await;
    let good = issue(&key, tenant, -3);
    instance.takes(&good).await;
    let terms = Terms { suspended: true, ..good.claims.terms() };
    let suspended = key.issue(tenant, terms, good.claims.issued + 1, good.claims.expires).unwrap();
    instance.takes(&suspended).await;
    // Told again, the one of before is not the newer one.
    instance.takes(&good).await;
    let call = instance.http.get(format!("{}/internal/license/{tenant}", instance.url));
    let answer = call.header("x-internal-secret", SECRET).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "license_suspended");
    let resumed = issue(&key, tenant, -1);
    instance.takes(&resumed).await;
    assert_eq!(instance.holds(tenant).await.unwrap()["licenseId"], json!(resumed.claims.id));
}

#[tokio::test]
async fn a_pinned_instance_takes_its_own_tenants_only() {
    let (key, own, other) = (key("s1", 1), TenantId::generate(), TenantId::generate());
    let instance = Instance::start(public(&[&key]), Some(own), None).await;
    let (status, answer) = instance.tell(other, &issue(&key, other, 0).text).await;
    assert_eq!((status, &answer["code"]), (403, &json!("tenant_not_served")), "{answer}");
    let ask = instance.http.get(format!("{}/internal/license/{other}", instance.url));
    let answer = ask.header("x-internal-secret", SECRET).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "tenant_not_served");
    instance.refuses(own, &issue(&key, other, 0).text, "license_foreign").await;
    instance.takes(&issue(&key, own, 0)).await;
}

#[tokio::test]
async fn two_keys_are_accepted_while_one_takes_the_place_of_the_other() {
    let (old, new) = (key("s1", 1), key("s2", 2));
    let instance = Instance::start(public(&[&old, &new]), None, None).await;
    for key in [&old, &new] {
        instance.takes(&issue(key, TenantId::generate(), 0)).await;
    }
    let without = Instance::start(PublicKeys::default(), None, None).await;
    let signed = issue(&old, TenantId::generate(), 0);
    without.refuses(signed.claims.tenant, &signed.text, "license_key_unknown").await;
}

#[tokio::test]
async fn a_restart_forgets_no_licence_and_believes_no_file() {
    let key = key("s1", 1);
    let folder = tempfile::tempdir().unwrap();
    let licenses = folder.path().join("licenses");
    let instance = Instance::start(public(&[&key]), None, Some(&licenses)).await;
    let [kept, altered, swapped] = [0; 3].map(|_| issue(&key, TenantId::generate(), -1));
    for signed in [&kept, &altered, &swapped] {
        instance.takes(signed).await;
    }
    let newer = issue(&key, kept.claims.tenant, 0);
    instance.takes(&newer).await;
    let file = |signed: &Signed| licenses.join(format!("{}.license", signed.claims.tenant));
    assert_eq!(std::fs::metadata(file(&kept)).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(file(&altered)).unwrap();
    std::fs::write(file(&altered), text.replacen("tl1.ey", "tl1.ez", 1)).unwrap();
    std::fs::write(file(&swapped), kept.text.as_str()).unwrap();
    std::fs::write(licenses.join("readme.txt"), "no licence").unwrap();

    let again = Instance::start(public(&[&key]), None, Some(&licenses)).await;
    assert_eq!(again.holds(kept.claims.tenant).await.unwrap()["licenseId"], json!(newer.claims.id));
    assert_eq!(again.holds(altered.claims.tenant).await, None);
    assert_eq!(again.holds(swapped.claims.tenant).await, None);
    // Told again, they hold again.
    again.takes(&altered).await;
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_acknowledged() {
    let (key, tenant) = (key("s1", 1), TenantId::generate());
    let folder = tempfile::tempdir().unwrap();
    let licenses = folder.path().join("licenses");
    let instance = Instance::start(public(&[&key]), None, Some(&licenses)).await;
    std::fs::remove_dir(&licenses).unwrap();
    let signed = issue(&key, tenant, 0);
    let (status, answer) = instance.tell(tenant, &signed.text).await;
    assert_eq!((status, &answer["code"]), (503, &json!("license_unkept")), "{answer}");
    assert_eq!(instance.holds(tenant).await, None);
    std::fs::create_dir(&licenses).unwrap();
    instance.takes(&signed).await;
}

#[tokio::test]
async fn a_caller_without_the_secret_is_told_nothing() {
    let (key, tenant) = (key("s1", 1), TenantId::generate());
    let instance = Instance::start(public(&[&key]), None, None).await;
    let signed = issue(&key, tenant, 0);
    let body = json!({ "tenantId": tenant, "license": &*signed.text });
    let tell = instance.http.post(format!("{}/internal/license/refresh", instance.url)).json(&body);
    let ask = instance.http.get(format!("{}/internal/license/{tenant}", instance.url));
    for call in [tell, ask] {
        let call = call.header("x-internal-secret", "wrong");
        assert_eq!(call.send().await.unwrap().status(), 401);
    }
    assert_eq!(instance.holds(tenant).await, None);
}

#[test]
fn a_wrong_setting_is_named_in_one_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let no_folder = file.path().display().to_string();
    for (name, value) in [
        ("LICENSE_PUBLIC_KEYS", "s1=AAAA"),
        ("LICENSE_PUBLIC_KEYS", "nonsense"),
        ("TENANT_ID", "acme"),
        ("LICENSE_DIR", &no_folder),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_tenant-api"))
            .env("TENANT_API_INTERNAL_SECRET", SECRET)
            .env("LISTEN", "127.0.0.1:0")
            .env(name, value)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.lines().count() == 1 && text.contains(name), "{text}");
    }
}
