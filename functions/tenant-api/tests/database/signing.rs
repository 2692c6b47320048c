//! Licences, signed as the control plane signs them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use license::{Signed, Signer, Terms, signer};
use model::platform::{License, Limits};
use model::secret::SecretRef;
use model::{TenantId, Tier};
use std::time::{SystemTime, UNIX_EPOCH};

/// A signing key.
pub fn key() -> Signer {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, STANDARD.encode([1; 32])).unwrap();
    let reference = SecretRef::File(path.display().to_string());
    let signing_keys = [("s1".to_owned(), reference)].into();
    signer(&License { sign_with: "s1".into(), signing_keys, ..License::default() }).unwrap()
}

/// From so many seconds before now until so many after it.
pub fn issue(key: &Signer, tenant: TenantId, before: i64, after: i64, suspended: bool) -> Signed {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let now = i64::try_from(now).unwrap();
    let limits = Limits { members: None, monthly_api_calls: None };
    let terms = Terms { plan: Tier::Professional, limits, suspended };
    key.issue(tenant, terms, now - before, now + after).unwrap()
}
