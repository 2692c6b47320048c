//! Checking a licence with public keys only.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use model::TenantId;

use super::{Claims, VERSION};

/// Clocks may differ by so much, in seconds, before a licence is taken for one of the future.
const SKEW: i64 = 300;
/// Far longer than any licence.
const MAX_LENGTH: usize = 4096;

/// The public keys whose licences are accepted, by id: more than one while a signing key is being replaced.
#[derive(Clone, Debug, Default)]
pub struct PublicKeys(BTreeMap<String, VerifyingKey>);

/// What is wrong with a list of public keys.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a public key; use id=BASE64 of its 32 bytes, comma-separated")]
pub struct BadPublicKeys(String);

/// Why a licence is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No licence of a version that is known here.
    #[error("it is not a licence of version {VERSION}")]
    Malformed,
    /// Signed by a key that is not accepted here.
    #[error("it names the signing key '{0}', which is not accepted here")]
    UnknownKey(String),
    /// The signature is not of these claims.
    #[error("its signature does not fit")]
    Altered,
    /// Somebody else's.
    #[error("it is of tenant {0}")]
    Foreign(TenantId),
    /// Its time is over.
    #[error("it expired at {0} (seconds since 1970)")]
    Expired(i64),
    /// Its time has not come: a clock is wrong, or whoever issued it.
    #[error("it was issued at {0} (seconds since 1970), which is still to come")]
    NotYet(i64),
}

impl PublicKeys {
    /// These keys.
    pub(super) fn new(keys: BTreeMap<String, VerifyingKey>) -> Self {
        Self(keys)
    }

    /// From `id=BASE64,id=BASE64`. An empty text is no keys: every licence is refused.
    pub fn parse(text: &str) -> Result<Self, BadPublicKeys> {
        let mut keys = BTreeMap::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let bad = || BadPublicKeys(entry.to_owned());
            let (id, key) = entry.split_once('=').filter(|(id, _)| !id.is_empty()).ok_or_else(bad)?;
            let bytes: [u8; 32] =
                STANDARD.decode(key).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(bad)?;
            let key = VerifyingKey::from_bytes(&bytes).map_err(|_| bad())?;
            if key.is_weak() || keys.insert(id.to_owned(), key).is_some() {
                return Err(bad());
            }
        }
        Ok(Self(keys))
    }

    /// As [`PublicKeys::parse`] reads them.
    pub fn text(&self) -> String {
        let each = |(id, key): (&String, &VerifyingKey)| format!("{id}={}", STANDARD.encode(key.as_bytes()));
        self.0.iter().map(each).collect::<Vec<_>>().join(",")
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a licence says, if it is `tenant`'s and valid at `now` (seconds since 1970). Nothing of it is believed before
    /// its signature has been checked.
    pub fn verify(&self, text: &str, tenant: TenantId, now: i64) -> Result<Claims, Refused> {
        let claims = self.genuine(text)?;
        if claims.tenant != tenant {
            return Err(Refused::Foreign(claims.tenant));
        }
        if claims.expires <= now {
            return Err(Refused::Expired(claims.expires));
        }
        if claims.issued > now.saturating_add(SKEW) {
            return Err(Refused::NotYet(claims.issued));
        }
        Ok(claims)
    }

    /// What a licence says, whosever it is and whenever it holds.
    fn genuine(&self, text: &str) -> Result<Claims, Refused> {
        if text.len() > MAX_LENGTH {
            return Err(Refused::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Refused::Malformed)?;
        let (version, encoded) = signed.split_once('.').ok_or(Refused::Malformed)?;
        if version != VERSION {
            return Err(Refused::Malformed);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refused::Malformed)?;
        let signature = Signature::from_slice(&signature).map_err(|_| Refused::Malformed)?;
        let claims = Claims::decode(encoded).ok_or(Refused::Malformed)?;
        let key = self.0.get(&claims.key_id).ok_or_else(|| Refused::UnknownKey(claims.key_id.clone()))?;
        key.verify_strict(signed.as_bytes(), &signature).map_err(|_| Refused::Altered)?;
        Ok(claims)
    }
}
