//! The keys that the platform's configuration names.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::Signer;
use crate::platform::License;
use crate::seal::{Seals, key_bytes};
use crate::secret::{SecretError, SecretRef};

/// What is wrong with a key. Names the setting, never the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// None is configured.
    #[error("license.{chosen} is not set; add a key to license.{keys} and name its id")]
    NotSet {
        /// The setting that chooses.
        chosen: &'static str,
        /// The setting that holds the keys.
        keys: &'static str,
    },
    /// The chosen one is not there.
    #[error("license.{chosen} is '{id}', which is no key of license.{keys}")]
    NoSuchKey {
        /// The setting that chooses.
        chosen: &'static str,
        /// What it says.
        id: String,
        /// The setting that holds the keys.
        keys: &'static str,
    },
    /// It cannot be read.
    #[error("license.{keys}.{id}: {source}")]
    Unreadable {
        /// The setting that holds the keys.
        keys: &'static str,
        /// Which.
        id: String,
        /// Why.
        source: SecretError,
    },
    /// It is not 32 bytes in base64.
    #[error(
        "license.{keys}.{id} ({reference}) is no key; it must be 32 bytes in base64, as `openssl rand -base64 32` prints"
    )]
    Form {
        /// The setting that holds the keys.
        keys: &'static str,
        /// Which.
        id: String,
        /// Where it was read from.
        reference: SecretRef,
    },
}

/// The signing keys, read now.
pub fn signer(license: &License) -> Result<Signer, KeyError> {
    let keys = read("sign_with", &license.sign_with, "signing_keys", &license.signing_keys)?;
    let keys = keys.into_iter().map(|(id, key)| (id, SigningKey::from_bytes(&key))).collect();
    Ok(Signer::new(license.sign_with.clone(), keys))
}

/// The key-encryption keys, read now.
pub fn seals(license: &License) -> Result<Seals, KeyError> {
    let keys = read("seal_with", &license.seal_with, "key_encryption_keys", &license.key_encryption_keys)?;
    Ok(Seals::new(license.seal_with.clone(), keys))
}

fn read(
    chosen: &'static str,
    id: &str,
    setting: &'static str,
    references: &BTreeMap<String, SecretRef>,
) -> Result<BTreeMap<String, Zeroizing<[u8; 32]>>, KeyError> {
    if id.is_empty() {
        return Err(KeyError::NotSet { chosen, keys: setting });
    }
    if !references.contains_key(id) {
        return Err(KeyError::NoSuchKey { chosen, id: id.to_owned(), keys: setting });
    }
    let one = |(id, reference): (&String, &SecretRef)| {
        let text = reference.resolve().map_err(|source| KeyError::Unreadable {
            keys: setting,
            id: id.clone(),
            source,
        })?;
        let key = key_bytes(text.expose()).ok_or_else(|| KeyError::Form {
            keys: setting,
            id: id.clone(),
            reference: reference.clone(),
        })?;
        Ok((id.clone(), key))
    };
    references.iter().map(one).collect()
}
