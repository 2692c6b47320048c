//! The keys that the platform's configuration names.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use engine::phase::Error;
use model::platform::License;
use model::secret::{Secret, SecretError, SecretRef, SecretSource};
use zeroize::Zeroizing;

use super::Signer;
use crate::seal::{Seals, key_bytes};

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
    #[error("license.{chosen} is '{id}', which is not a key of license.{keys}")]
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
        "license.{keys}.{id} ({reference}) is not a key; it must be 32 bytes in base64, as `openssl rand -base64 32` prints"
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

impl KeyError {
    /// As a phase fails by it: for good, unless it is only the cluster that does not answer.
    pub fn into_failure(self) -> Error {
        let message = self.to_string();
        if matches!(self, Self::Unreadable { source: SecretError::Cluster { unavailable: true, .. }, .. }) {
            return Error::unavailable("cluster", "cluster_unavailable", message)
                .next("Bring the Kubernetes API server back; the run then continues on its own.");
        }
        Error::fatal("license_key", message).next(
            "Correct [license] in the platform's configuration or the secret it names, and start again.",
        )
    }
}

/// The signing keys, read now from wherever they are.
pub async fn read_signer(license: &License, secrets: &impl SecretSource) -> Result<Signer, KeyError> {
    let setting = Setting::signing(license);
    setting.check()?;
    let mut read = BTreeMap::new();
    for (id, reference) in setting.references {
        read.insert(id.clone(), setting.key(id, reference, secrets.read(reference).await)?);
    }
    Ok(signer_of(license, read))
}

/// The key-encryption keys, read now from wherever they are.
pub async fn read_seals(license: &License, secrets: &impl SecretSource) -> Result<Seals, KeyError> {
    let setting = Setting::sealing(license);
    setting.check()?;
    let mut read = BTreeMap::new();
    for (id, reference) in setting.references {
        read.insert(id.clone(), setting.key(id, reference, secrets.read(reference).await)?);
    }
    Ok(Seals::new(license.seal_with.clone(), read))
}

/// As [`read_signer`], without waiting: of keys in files and variables only.
pub fn signer(license: &License) -> Result<Signer, KeyError> {
    Ok(signer_of(license, Setting::signing(license).keys()?))
}

/// As [`read_seals`], without waiting: of keys in files and variables only.
pub fn seals(license: &License) -> Result<Seals, KeyError> {
    Ok(Seals::new(license.seal_with.clone(), Setting::sealing(license).keys()?))
}

fn signer_of(license: &License, keys: BTreeMap<String, Key>) -> Signer {
    let keys = keys.into_iter().map(|(id, key)| (id, SigningKey::from_bytes(&key))).collect();
    Signer::new(license.sign_with.clone(), keys)
}

type Key = Zeroizing<[u8; 32]>;

/// Keys of one kind, and which of them is used.
struct Setting<'a> {
    chosen: &'static str,
    id: &'a str,
    keys: &'static str,
    references: &'a BTreeMap<String, SecretRef>,
}

impl<'a> Setting<'a> {
    fn signing(license: &'a License) -> Self {
        let (chosen, keys) = ("sign_with", "signing_keys");
        Self { chosen, id: &license.sign_with, keys, references: &license.signing_keys }
    }

    fn sealing(license: &'a License) -> Self {
        let (chosen, keys) = ("seal_with", "key_encryption_keys");
        Self { chosen, id: &license.seal_with, keys, references: &license.key_encryption_keys }
    }

    fn check(&self) -> Result<(), KeyError> {
        let (chosen, keys) = (self.chosen, self.keys);
        if self.id.is_empty() {
            return Err(KeyError::NotSet { chosen, keys });
        }
        if !self.references.contains_key(self.id) {
            return Err(KeyError::NoSuchKey { chosen, id: self.id.to_owned(), keys });
        }
        Ok(())
    }

    fn keys(&self) -> Result<BTreeMap<String, Key>, KeyError> {
        self.check()?;
        let one = |(id, reference): (&String, &SecretRef)| {
            Ok((id.clone(), self.key(id, reference, reference.read_local())?))
        };
        self.references.iter().map(one).collect()
    }

    fn key(
        &self,
        id: &str,
        reference: &SecretRef,
        read: Result<Secret, SecretError>,
    ) -> Result<Key, KeyError> {
        let text = read.map_err(|source| KeyError::Unreadable { keys: self.keys, id: id.into(), source })?;
        key_bytes(text.expose()).ok_or_else(|| KeyError::Form {
            keys: self.keys,
            id: id.into(),
            reference: reference.clone(),
        })
    }
}
