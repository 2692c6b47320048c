//! Licences, told over HTTP: signed here as the control plane signs them, checked there with public keys only.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use license::{PublicKeys, Signed, Signer, Terms, signer};
use model::platform::{License, Limits};
use model::secret::SecretRef;
use model::{TenantId, Tier};
use serde_json::{Value, json};
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

/// A folder as the kubelet mounts a Secret: the file is a link into another folder, and all are replaced by one rename.
struct Mount(tempfile::TempDir);

impl Mount {
    fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn of(license: &str) -> Self {
        let mount = Self::empty();
        mount.put(license);
        mount
    }

    fn put(&self, license: &str) {
        let folder = self.0.path();
        let data = format!("..{}", uuid::Uuid::new_v4());
        std::fs::create_dir(folder.join(&data)).unwrap();
        std::fs::write(folder.join(&data).join("license"), license).unwrap();
        symlink(&data, folder.join("..data_tmp")).unwrap();
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        if !folder.join("license").is_symlink() {
            symlink("..data/license", folder.join("license")).unwrap();
        }
    }
}

impl Instance {
    async fn start(keys: PublicKeys, pinned: Option<TenantId>, folder: Option<&Path>) -> Self {
        Self::serve(Licenses::open(keys, pinned, folder.map(Path::to_owned), None).unwrap()).await
    }

    /// A pod of the tenant's own instance.
    async fn pod(key: &Signer, tenant: TenantId, mount: &Mount) -> Self {
        let mounted = Some(mount.0.path().to_owned());
        Self::serve(Licenses::open(public(&[key]), Some(tenant), None, mounted).unwrap()).await
    }

    async fn serve(licenses: Licenses) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
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

    async fn holds_id(&self, signed: &Signed) -> bool {
        self.holds(signed.claims.tenant)
            .await
            .is_some_and(|holds| holds["licenseId"] == json!(signed.claims.id))
    }

    /// Asks until it goes by this licence.
    async fn comes_to(&self, signed: &Signed) {
        let began = Instant::now();
        while !self.holds_id(signed).await {
            assert!(began.elapsed() < Duration::from_secs(30), "the file is not looked at again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks for longer than it takes to look again: each time, it goes by this licence.
    async fn stays_with(&self, signed: &Signed) {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            assert!(self.holds_id(signed).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
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
async fn a_pod_that_nobody_has_told_goes_by_the_mounted_licence_and_sees_another_without_a_restart() {
    let (key, tenant) = (key("s1", 1), TenantId::generate());
    let [first, second, third] = [-3, -2, -1].map(|from_now| issue(&key, tenant, from_now));
    // The Secret comes after the pod: the folder is empty until then.
    let mount = Mount::empty();
    let early = Instance::pod(&key, tenant, &mount).await;
    assert_eq!(early.holds(tenant).await, None);
    mount.put(&first.text);
    early.comes_to(&first).await;
    let late = Instance::pod(&key, tenant, &mount).await;
    assert!(late.holds_id(&first).await);
    mount.put(&second.text);
    for pod in [&early, &late] {
        pod.comes_to(&second).await;
    }
    // What is told holds at once, where it is told.
    early.takes(&third).await;
    assert!(early.holds_id(&third).await);
    mount.put(&third.text);
    late.comes_to(&third).await;
}

#[tokio::test]
async fn an_older_mounted_licence_takes_the_place_of_no_newer_one() {
    let (key, tenant) = (key("s1", 1), TenantId::generate());
    let [oldest, old, new] = [-3, -2, -1].map(|from_now| issue(&key, tenant, from_now));
    let mount = Mount::of(&old.text);
    let pod = Instance::pod(&key, tenant, &mount).await;
    pod.takes(&new).await;
    pod.stays_with(&new).await;
    mount.put(&oldest.text);
    pod.stays_with(&new).await;
    // Nor does what is told, of what is mounted.
    let mount = Mount::of(&new.text);
    let pod = Instance::pod(&key, tenant, &mount).await;
    assert_eq!(pod.takes(&old).await, json!(new.claims.id));
    assert!(pod.holds_id(&new).await);
}

#[tokio::test]
async fn a_foreign_or_altered_mounted_licence_is_left_out() {
    let (key, tenant) = (key("s1", 1), TenantId::generate());
    let foreign = issue(&key, TenantId::generate(), 0).text.to_string();
    let altered = issue(&self::key("s1", 2), tenant, 0).text.to_string();
    let expired = issue(&key, tenant, -61).text.to_string();
    let good = issue(&key, tenant, -1);
    let mut pods = Vec::new();
    for bad in [foreign.as_str(), &altered, &expired, "no licence at all", ""] {
        let mount = Mount::of(bad);
        let pod = Instance::pod(&key, tenant, &mount).await;
        assert_eq!(pod.holds(tenant).await, None, "{bad}");
        mount.put(&good.text);
        pods.push((pod, mount));
    }
    for (pod, _mount) in &pods {
        pod.comes_to(&good).await;
    }
    let mount = Mount::of(&good.text);
    let pod = Instance::pod(&key, tenant, &mount).await;
    for bad in [&foreign, &altered] {
        mount.put(bad);
        pod.stays_with(&good).await;
    }
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
        // Without TENANT_ID.
        ("LICENSE_SECRET_DIR", "/run/license"),
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
