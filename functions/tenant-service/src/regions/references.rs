//! Which secrets a region may name. The processes that read them read much else: a caller of the API must not make them send
//! one of the platform's own secrets to an address of the caller's choice.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::platform::Platform;
use shared::secret::SecretRef;

/// Variables that the programs themselves read secrets from.
const OWN_VARIABLES: [&str; 8] = [
    "DATABASE_URL",
    "DATABASE_DIRECT_URL",
    "POOL_DATABASE_URL",
    "AMQP_URL",
    "SMTP_URL",
    "KUBECONFIG",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// Folders whose files are of the processes and of the machine, or hold a pod's own account.
const OWN_FOLDERS: [&str; 5] = ["/proc/", "/sys/", "/dev/", "/etc/", "/var/run/secrets/kubernetes.io/"];

/// Reads a reference. The error does not quote what was given, which may be the secret itself.
pub fn parse(text: &str) -> Result<SecretRef, &'static str> {
    const FORM: &str =
        "must refer to where the secret is kept: env:NAME, file:/PATH or k8s:namespace/name#key";
    let reference: SecretRef = text.parse().map_err(|_| FORM)?;
    let whole = match &reference {
        SecretRef::Env(name) => {
            !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        }
        SecretRef::File(path) => path.starts_with('/') && !path.split('/').any(|part| part == ".."),
        SecretRef::Kubernetes { namespace, name, key } => {
            let fits = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
            [namespace, name, key].into_iter().all(|text| fits(text))
        }
    };
    whole.then_some(reference).ok_or(FORM)
}

/// Whether a region may name it: it is none of the platform's own.
pub fn allowed(reference: &SecretRef, platform: &Platform) -> bool {
    let own = match reference {
        SecretRef::Env(name) => OWN_VARIABLES.contains(&name.as_str()),
        SecretRef::File(path) => OWN_FOLDERS.iter().any(|folder| path.starts_with(folder)),
        SecretRef::Kubernetes { .. } => false,
    };
    !own && !of_the_platform(platform).contains(&reference.to_string())
}

/// Every reference of the platform file outside its regions.
fn of_the_platform(platform: &Platform) -> BTreeSet<String> {
    let mut file = json!(platform);
    if let Some(sections) = file.as_object_mut() {
        sections.remove("regions");
    }
    let mut found = BTreeSet::new();
    collect(&file, &mut found);
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            if let Ok(reference) = text.parse::<SecretRef>() {
                found.insert(reference.to_string());
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
        for good in ["env:EU_PASSWORD", "file:/run/secrets/eu", "k8s:matih-system/eu-west-1#password"] {
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
            "file:/a/../b",
            "k8s:a/b",
            "k8s:a/b#c/d",
            "http://x",
            "ENV:A",
        ] {
            let error = parse(bad).unwrap_err();
            // The hint shows what a reference begins with.
            assert!(["", "env:"].contains(&bad) || !error.contains(bad), "{bad}: {error}");
        }
    }

    #[test]
    fn the_platforms_own_secrets_are_not_a_regions() {
        let mut platform = Platform::default();
        platform.tokens.insert("admin".into(), SecretRef::Env("ADMIN_TOKEN".into()));
        platform.license.signing_keys.insert("a".into(), SecretRef::File("/run/secrets/signing".into()));
        for own in [
            "env:ADMIN_TOKEN",
            "file:/run/secrets/signing",
            "env:DATABASE_URL",
            "file:/proc/self/environ",
            "file:/etc/shadow",
        ] {
            assert!(!allowed(&own.parse().unwrap(), &platform), "{own}");
        }
        for other in ["env:EU_PASSWORD", "file:/run/secrets/eu", "k8s:a/b#c"] {
            assert!(allowed(&other.parse().unwrap(), &platform), "{other}");
        }
    }
}
