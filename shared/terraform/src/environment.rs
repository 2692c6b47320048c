//! The environment of tofu. Every secret goes this way, and none by an argument.

use std::ffi::OsString;
use std::path::Path;

use serde_json::json;

use super::state::SCHEMA;
use super::work::{Work, name_of};

/// A variable that every process of a run carries, so that whatever of it outlives its parent is found.
pub(super) const MARK: &str = "TENANTRY_TERRAFORM";

/// Least number that OpenTofu takes. The passphrase is a random key, which needs no slow derivation.
const ITERATIONS: u32 = 200_000;

/// What is handed on of ours: how to get out, how much memory to use, who we are to a cloud, and which stack we belong to.
const HANDED_ON: [&str; 11] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    // What bounds a Go program's memory.
    "GOGC",
    "GOMEMLIMIT",
    "TENANTRY_STACK",
    "TF_PLUGIN_CACHE_DIR",
];
const HANDED_ON_PREFIXES: [&str; 5] = ["ARM_", "AZURE_", "AWS_", "GOOGLE_", "SSL_CERT_"];

/// All of it. `data` is tofu's own folder.
pub(super) fn of(work: &Work, data: &Path) -> Vec<(OsString, OsString)> {
    let ours = std::env::vars_os().filter(|(name, _)| {
        name.to_str().is_some_and(|name| {
            HANDED_ON.contains(&name) || HANDED_ON_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        })
    });
    let fixed = [
        ("TF_DATA_DIR", data.display().to_string()),
        ("TF_IN_AUTOMATION", "true".into()),
        ("TF_INPUT", "false".into()),
        // Nobody's settings. One that is not there would be a warning in the middle of what is read.
        ("TF_CLI_CONFIG_FILE", "/dev/null".into()),
        ("CHECKPOINT_DISABLE", "true".into()),
        ("PG_CONN_STR", work.state_database.expose().to_owned()),
        ("PG_SCHEMA_NAME", SCHEMA.to_owned()),
        ("TF_ENCRYPTION", encryption(work.state_key.expose())),
        (MARK, name_of(work.tenant)),
    ];
    let fixed = fixed.into_iter().map(|(name, value)| (name.into(), value.into()));
    let plain = work.variables.iter().map(|(name, value)| (name, value.as_str()));
    let secret = work.secrets.iter().map(|(name, value)| (name, value.expose()));
    let variables = plain.chain(secret).map(|(name, value)| (format!("TF_VAR_{name}").into(), value.into()));
    ours.chain(fixed).chain(variables).collect()
}

/// Nothing is stored that is not encrypted: neither a state nor a plan.
fn encryption(passphrase: &str) -> String {
    let method = json!({ "method": "method.aes_gcm.state", "enforced": true });
    json!({
        "key_provider": { "pbkdf2": { "state": { "passphrase": passphrase, "iterations": ITERATIONS } } },
        "method": { "aes_gcm": { "state": { "keys": "key_provider.pbkdf2.state" } } },
        "state": method,
        "plan": method,
    })
    .to_string()
}
