//! A tenant's secret at rest: envelope encryption.
//!
//! Each seal has a data key of its own, so that changing the key-encryption key rewraps 32 bytes and touches no secret.
//! Both parts are `nonce (12) || ciphertext || tag (16)`, AES-256-GCM with a random nonce; what they are and whose is bound
//! to them as associated data.

use std::collections::BTreeMap;
use std::fmt;

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
pub use engine::store::Sealed;
use model::TenantId;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use zeroize::{Zeroize as _, Zeroizing};

const NONCE: usize = 12;

/// What a secret is for, so that one cannot stand in for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A licence.
    License,
    /// The token of an invitation.
    Invitation,
}

/// Why something does not open, or cannot be sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsealable {
    /// The key-encryption key is not configured here.
    #[error("key-encryption key '{0}' is not among license.key_encryption_keys")]
    UnknownKey(String),
    /// It was altered, is another tenant's, or the key under this id is not the one that sealed it.
    #[error(
        "it does not open with key-encryption key '{0}': it was altered, or the key under this id is another one"
    )]
    Refused(String),
    /// The operating system has no random bytes.
    #[error("no random bytes: {0}")]
    NoRandom(String),
    /// Longer than the cipher takes.
    #[error("it is too long to be sealed")]
    TooLong,
}

/// The key-encryption keys: one seals, all of them open. They are wiped when dropped.
pub struct Seals {
    seal_with: String,
    keys: BTreeMap<String, Zeroizing<[u8; 32]>>,
}

/// What is encrypted, so that neither part can stand in for the other.
#[derive(Clone, Copy)]
enum Part {
    Text,
    DataKey,
}

impl Seals {
    /// `seal_with` is one of `keys`.
    pub(crate) fn new(seal_with: String, keys: BTreeMap<String, Zeroizing<[u8; 32]>>) -> Self {
        Self { seal_with, keys }
    }

    /// Id of the key that seals.
    pub fn key_id(&self) -> &str {
        &self.seal_with
    }

    /// Ids of all keys.
    pub fn key_ids(&self) -> Vec<String> {
        self.keys.keys().cloned().collect()
    }

    /// Seals a secret of a tenant under a new data key.
    pub fn seal(&self, purpose: Purpose, tenant: TenantId, text: &str) -> Result<Sealed, Unsealable> {
        let mut data_key = Zeroizing::new([0; 32]);
        random(&mut *data_key)?;
        Ok(Sealed {
            text: encrypt(&data_key, &bound(purpose, Part::Text, tenant), text.as_bytes())?,
            data_key: self.wrap(purpose, tenant, &data_key)?,
            key_id: self.seal_with.clone(),
        })
    }

    /// What was sealed.
    pub fn open(
        &self,
        purpose: Purpose,
        tenant: TenantId,
        sealed: &Sealed,
    ) -> Result<Zeroizing<String>, Unsealable> {
        let refused = || Unsealable::Refused(sealed.key_id.clone());
        let data_key = self.unwrap(purpose, tenant, sealed)?;
        let bytes =
            decrypt(&data_key, &bound(purpose, Part::Text, tenant), &sealed.text).ok_or_else(refused)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| refused())?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// The data key under the key that seals now; the secret stays as it is.
    pub fn rewrap(&self, purpose: Purpose, tenant: TenantId, sealed: &Sealed) -> Result<Sealed, Unsealable> {
        let data_key = self.unwrap(purpose, tenant, sealed)?;
        Ok(Sealed {
            text: sealed.text.clone(),
            data_key: self.wrap(purpose, tenant, &data_key)?,
            key_id: self.seal_with.clone(),
        })
    }

    fn key(&self, id: &str) -> Result<&[u8; 32], Unsealable> {
        self.keys.get(id).map(|key| &**key).ok_or_else(|| Unsealable::UnknownKey(id.to_owned()))
    }

    fn wrap(&self, purpose: Purpose, tenant: TenantId, data_key: &[u8; 32]) -> Result<Vec<u8>, Unsealable> {
        encrypt(self.key(&self.seal_with)?, &bound(purpose, Part::DataKey, tenant), data_key)
    }

    fn unwrap(
        &self,
        purpose: Purpose,
        tenant: TenantId,
        sealed: &Sealed,
    ) -> Result<Zeroizing<[u8; 32]>, Unsealable> {
        let key = self.key(&sealed.key_id)?;
        let opened = decrypt(key, &bound(purpose, Part::DataKey, tenant), &sealed.data_key);
        let data_key = opened.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        data_key.map(Zeroizing::new).ok_or_else(|| Unsealable::Refused(sealed.key_id.clone()))
    }
}

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seals").field("seal_with", &self.seal_with).finish_non_exhaustive()
    }
}

fn bound(purpose: Purpose, part: Part, tenant: TenantId) -> Vec<u8> {
    let what: &[u8] = match (purpose, part) {
        (Purpose::License, Part::Text) => b"tenantry-license-1",
        (Purpose::License, Part::DataKey) => b"tenantry-license-data-key-1",
        (Purpose::Invitation, Part::Text) => b"tenantry-invitation-1",
        (Purpose::Invitation, Part::DataKey) => b"tenantry-invitation-data-key-1",
    };
    [what, tenant.0.as_bytes()].concat()
}

fn random(bytes: &mut [u8]) -> Result<(), Unsealable> {
    OsRng.try_fill_bytes(bytes).map_err(|error| Unsealable::NoRandom(error.to_string()))
}

fn encrypt(key: &[u8; 32], bound: &[u8], plain: &[u8]) -> Result<Vec<u8>, Unsealable> {
    let mut nonce = [0; NONCE];
    random(&mut nonce)?;
    // The one refuses other lengths, the other more than 64 GiB.
    let sealed = Aes256Gcm::new_from_slice(key)
        .ok()
        .and_then(|cipher| cipher.encrypt(&Nonce::from(nonce), Payload { msg: plain, aad: bound }).ok())
        .ok_or(Unsealable::TooLong)?;
    Ok([&nonce[..], &sealed].concat())
}

fn decrypt(key: &[u8; 32], bound: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
    let cipher = Aes256Gcm::new_from_slice(key).ok()?;
    cipher.decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: bound }).ok().map(Zeroizing::new)
}

/// A key's bytes from its base64; none if it is not 32 of them.
pub(crate) fn key_bytes(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    use base64::Engine as _;
    let mut bytes = base64::engine::general_purpose::STANDARD.decode(text.trim()).ok()?;
    let key = <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Zeroizing::new);
    bytes.zeroize();
    key
}
