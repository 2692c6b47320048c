//! Which secrets a region may name. The processes that read them read much else: a caller of the API must not make them send
//! one of the platform's own secrets, or a tenant's, to an address of the caller's choice.

use std::collections::BTreeSet;

use model::Slug;
use model::platform::{Platform, Region};
use model::secret::SecretRef;
use serde_json::{Value, json};

/// Variables that the programs themselves, and tofu, read secrets from.
const OWN_VARIABLES: [&str; 13] = [
    "DATABASE_URL",
    "DATABASE_DIRECT_URL",
    "POOL_DATABASE_URL",
    "PGPASSWORD",
    "AMQP_URL",
    "JOBS_AMQP_URL",
    "SMTP_URL",
    "KUBECONFIG",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "ARM_CLIENT_SECRET",
    "AZURE_CLIENT_SECRET",
    "GOOGLE_CREDENTIALS",
];

/// Folders whose files are of the processes and of the machine, or hold a pod's own accounts, by their components.
const OWN_FOLDERS: [&[&str]; 7] = [
    &["proc"],
    &["sys"],
    &["dev"],
    &["etc"],
    &["run", "secrets", "kubernetes.io"],
    &["run", "secrets", "eks.amazonaws.com"],
    &["run", "secrets", "azure"],
];

/// What the names of Secrets that the control plane makes in its own namespace begin with: an administrator's password of a
/// tenant's own server, and what tofu is given.
const OWN_SECRETS: [&str; 2] = ["infrastructure-", "tf-"];

/// Reads a reference. The error does not quote what was given, which may be the secret itself.
pub fn parse(text: &str) -> Result<SecretRef, &'static str> {
    const FORM: &str = "must refer to where the secret is kept: env:NAME, file:/PATH (without //, . and ..) or \
                        k8s:namespace/name#key";
    let reference: SecretRef = text.parse().map_err(|_| FORM)?;
    let whole = match &reference {
        SecretRef::Env(name) => {
            !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        }
        SecretRef::File(path) => normal(path),
        SecretRef::Kubernetes { namespace, name, key } => {
            let fits = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
            // Neither is a path: the API server is asked for both.
            let begins = |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric());
            [namespace, name, key].into_iter().all(|text| fits(text)) && begins(namespace) && begins(name)
        }
    };
    whole.then_some(reference).ok_or(FORM)
}

/// Whether a path has one spelling only. What begins with `..` leads out of its folder, or is the link behind a mounted
/// Secret's files (`..data`).
fn normal(path: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && !part.starts_with("..");
    path.strip_prefix('/').is_some_and(|path| path.split('/').all(part))
}

/// What one region may not name.
#[derive(Debug)]
pub struct Guard<'a> {
    platform: &'a Platform,
    taken: BTreeSet<String>,
}

impl<'a> Guard<'a> {
    /// Of the region of this key: `platform` is the file's, `now` the region as it is. What it shares with one of the file's
    /// regions already, it may keep.
    pub fn of(platform: &'a Platform, key: &str, now: Option<&Region>) -> Self {
        let mut file = json!(platform);
        let mut regions = file.as_object_mut().and_then(|file| file.remove("regions")).unwrap_or_default();
        if let Some(regions) = regions.as_object_mut() {
            regions.remove(key);
        }
        let (mut taken, mut kept) = (BTreeSet::new(), BTreeSet::new());
        collect(&regions, &mut taken);
        collect(&json!(now), &mut kept);
        taken.retain(|reference| !kept.contains(reference));
        collect(&file, &mut taken);
        Self { platform, taken }
    }

    /// Whether the region may name it: it is none of the platform's own, of another region of the file, or of a tenant.
    pub fn allows(&self, reference: &SecretRef) -> bool {
        let forbidden = match reference {
            SecretRef::Env(name) => OWN_VARIABLES.contains(&name.as_str()),
            SecretRef::File(path) => {
                let parts = parts(path);
                OWN_FOLDERS.iter().any(|folder| parts.starts_with(folder))
            }
            SecretRef::Kubernetes { namespace, name, .. } => self.is_kept_in(namespace, name),
        };
        !forbidden && !self.taken.contains(&known_as(reference))
    }

    /// Whether a Secret is a tenant's, the cluster's own, or one that the control plane makes itself.
    fn is_kept_in(&self, namespace: &str, name: &str) -> bool {
        if namespace == self.platform.control_plane_namespace {
            return OWN_SECRETS.iter().any(|prefix| name.starts_with(prefix));
        }
        let slug = namespace.strip_prefix(self.platform.namespace_prefix.as_str());
        namespace.starts_with("kube-") || slug.is_some_and(|slug| slug.parse::<Slug>().is_ok())
    }
}

/// A path's components. `/var/run` is `/run` on Linux.
fn parts(path: &str) -> Vec<&str> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.starts_with(&["var", "run"]) { parts[1..].to_vec() } else { parts }
}

/// A reference in one spelling: the platform's operator may have written a path as it pleased.
fn known_as(reference: &SecretRef) -> String {
    match reference {
        SecretRef::File(path) if path.starts_with('/') => format!("file:/{}", parts(path).join("/")),
        other => other.to_string(),
    }
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            if let Ok(reference) = text.parse::<SecretRef>() {
                found.insert(known_as(&reference));
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        Value::Object(values) => values.values().for_each(|value| collect(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_exact_and_an_error_does_not_quote_it() {
        for good in [
            "env:EU_PASSWORD",
            "file:/run/secrets/eu",
            "file:/run/secrets/.eu/a..b",
            "k8s:matih-system/eu-west-1#password",
        ] {
            assert_eq!(parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "hunter2",
            "env:",
            "env:9A",
            "env:A-B",
            "env:hunter2 !",
            "file:relative",
            "file:/",
            "file:/a/",
            "file:/a/../b",
            "file:/a/b/..",
            "file:/a//b",
            "file:/a/./b",
            "file://proc/self/environ",
            "file:/./etc/shadow",
            "file:/run/secrets/tenantry/..data/kek",
            "k8s:a/b",
            "k8s:a/b#c/d",
            "k8s:../b#c",
            "k8s:a/..#c",
            "http://x",
            "ENV:A",
        ] {
            let error = parse(bad).unwrap_err();
            // The hint shows what a reference begins with.
            assert!(["", "env:", "file:/"].contains(&bad) || !error.contains(bad), "{bad}: {error}");
        }
    }

    #[test]
    fn neither_the_platforms_own_secrets_nor_a_tenants_are_a_regions() {
        let mut platform = Platform::default();
        platform.tokens.insert("admin".into(), SecretRef::Env("ADMIN_TOKEN".into()));
        platform.license.signing_keys.insert("a".into(), SecretRef::File("/run/secrets/./signing".into()));
        platform.license.signing_keys.insert("b".into(), "k8s:matih-system/license#b".parse().unwrap());
        let guard = Guard::of(&platform, "eu", None);
        for own in [
            "env:ADMIN_TOKEN",
            "file:/run/secrets/signing",
            "file:/var/run/secrets/signing",
            "k8s:matih-system/license#b",
            "env:DATABASE_URL",
            "env:PGPASSWORD",
            "file:/proc/self/environ",
            "file://proc/self/environ",
            "file:/./proc/self/environ",
            "file:/etc/shadow",
            "file:/var/run/secrets/kubernetes.io/serviceaccount/token",
            "file:/run/secrets/kubernetes.io/serviceaccount/token",
            "file:/var/run/secrets/eks.amazonaws.com/serviceaccount/token",
            "k8s:matih-acme/tenant-database-credentials#DATABASE_URL",
            "k8s:matih-system/infrastructure-550e8400-e29b-41d4-a716-446655440000#password",
            "k8s:matih-system/tf-550e8400-e29b-41d4-a716-446655440000#state",
            "k8s:kube-system/bootstrap-token-abcdef#token-secret",
        ] {
            assert!(!guard.allows(&own.parse().unwrap()), "{own}");
        }
        for other in [
            "env:EU_PASSWORD",
            "file:/run/secrets/eu",
            "file:/srv/etc/eu",
            "file:/process/eu",
            "file:/var/lib/proc/eu",
            "k8s:a/b#c",
            "k8s:matih-system/eu#admin",
            "k8s:a/tf-eu#c",
        ] {
            assert!(guard.allows(&other.parse().unwrap()), "{other}");
        }
        // Wherever the control plane itself is.
        platform.control_plane_namespace = "matih-control".into();
        let guard = Guard::of(&platform, "eu", None);
        assert!(guard.allows(&"k8s:matih-control/eu#admin".parse().unwrap()));
        assert!(!guard.allows(&"k8s:matih-control/tf-1#a".parse().unwrap()));
    }

    #[test]
    fn a_region_names_no_secret_of_another_one_of_the_file() {
        let region = |name: &str| -> Region {
            serde_json::from_value(json!({
                "tenant_api_url": "http://a", "internal_secret": format!("env:{name}_INTERNAL"),
                "database": { "host": "db", "port": 1, "shared_database": "a", "admin_user": "a",
                              "admin_password": format!("file:/run/secrets/{name}") },
            }))
            .unwrap()
        };
        let mut platform = Platform::default();
        platform.regions.insert("eu".into(), region("EU"));
        platform.regions.insert("us".into(), region("US"));
        let allows =
            |now: Option<&Region>, text: &str| Guard::of(&platform, "eu", now).allows(&text.parse().unwrap());
        assert!(allows(None, "env:EU_INTERNAL") && allows(None, "file:/run/secrets/EU"));
        for others in ["env:US_INTERNAL", "file:/run/secrets/US"] {
            assert!(!allows(None, others) && !allows(Some(&region("EU")), others), "{others}");
            assert!(allows(Some(&region("US")), others), "it stays as it is");
        }
    }
}
