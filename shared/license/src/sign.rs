//! Making a licence.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use model::TenantId;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Claims, PublicKeys, Terms, VERSION};

/// The signing keys. They wipe themselves when dropped.
pub struct Signer {
    sign_with: String,
    keys: BTreeMap<String, SigningKey>,
}

/// A licence that was just made.
pub struct Signed {
    /// What it says.
    pub claims: Claims,
    /// Its text, which is stored sealed only.
    pub text: Zeroizing<String>,
}

impl Signer {
    /// `sign_with` is one of `keys`.
    pub(super) fn new(sign_with: String, keys: BTreeMap<String, SigningKey>) -> Self {
        Self { sign_with, keys }
    }

    /// Id of the key that signs.
    pub fn key_id(&self) -> &str {
        &self.sign_with
    }

    /// The public halves of all keys, whose licences are to be accepted.
    pub fn public_keys(&self) -> PublicKeys {
        let public = |(id, key): (&String, &SigningKey)| (id.clone(), key.verifying_key());
        PublicKeys::new(self.keys.iter().map(public).collect())
    }

    /// A licence from `issued` to `expires` (seconds since 1970), with an id of its own. None if there is no key to sign
    /// with, which [`super::signer`] has seen to.
    pub fn issue(&self, tenant: TenantId, terms: Terms, issued: i64, expires: i64) -> Option<Signed> {
        let key = self.keys.get(&self.sign_with)?;
        let claims = Claims {
            key_id: self.sign_with.clone(),
            id: Uuid::now_v7(),
            tenant,
            plan: terms.plan,
            limits: terms.limits,
            suspended: terms.suspended,
            issued,
            expires,
        };
        let signed = format!("{VERSION}.{}", claims.encode());
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
        Some(Signed { claims, text: Zeroizing::new(format!("{signed}.{signature}")) })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("sign_with", &self.sign_with).finish_non_exhaustive()
    }
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("claims", &self.claims).finish_non_exhaustive()
    }
}
