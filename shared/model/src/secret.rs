//! Secrets, and references to them. A secret has no `Serialize` and prints as `***`: a plan, an event or a log line
//! that would hold one does not compile or does not show it.

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroize as _;

/// A value that must not be seen. It is wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes the value in.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that sends it to where it belongs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same, in a time that does not tell how much of it is.
    pub fn matches(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a secret is: `env:NAME`, `file:PATH` or `k8s:namespace/name#key`. The reference itself is no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file; a trailing line end is not part of the secret.
    File(String),
    /// A key of a Kubernetes Secret.
    Kubernetes {
        /// The Secret's namespace.
        namespace: String,
        /// The Secret's name.
        name: String,
        /// The key within it.
        key: String,
    },
}

/// Why a secret could not be had. Names the reference, never the value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Not of the reference's form.
    #[error("'{0}' is not a secret reference; use env:NAME, file:PATH or k8s:namespace/name#key")]
    Form(String),
    /// The environment variable is not set, or empty.
    #[error("environment variable {0} is not set; set it to the secret's value")]
    Env(String),
    /// The file cannot be read.
    #[error("secret file {path}: {source}")]
    File {
        /// The path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Needs a cluster connection, which the caller does not have.
    #[error(
        "{0} can only be read by a function that is connected to the cluster; use env:NAME or file:PATH here"
    )]
    NeedsCluster(String),
    /// The cluster does not have it, or does not answer.
    #[error("{why}")]
    Cluster {
        /// It does not answer; what is asked for may be there.
        unavailable: bool,
        /// Names the reference, or the cluster's trouble.
        why: String,
    },
}

/// Reads what a reference names, wherever it is. Programs that can reach a cluster have one (`cluster::Secrets`); what only
/// needs secrets is given it, and so links no cluster.
pub trait SecretSource: Sync {
    /// Reads the secret as it is now.
    fn read(&self, reference: &SecretRef) -> impl Future<Output = Result<Secret, SecretError>> + Send;
}

impl SecretRef {
    /// Reads the secret from the environment or a file, without waiting. A Kubernetes reference is refused: only a
    /// [`SecretSource`] reads that.
    pub fn read_local(&self) -> Result<Secret, SecretError> {
        match self {
            Self::Env(name) => match std::env::var(name) {
                Ok(value) if !value.is_empty() => Ok(Secret::new(value)),
                _ => Err(SecretError::Env(name.clone())),
            },
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(mut value) => {
                    // In place: a copy would leave the first one in memory.
                    value.truncate(value.trim_end_matches(['\r', '\n']).len());
                    Ok(Secret::new(value))
                }
                Err(source) => Err(SecretError::File { path: path.clone(), source }),
            },
            Self::Kubernetes { .. } => Err(SecretError::NeedsCluster(self.to_string())),
        }
    }
}

impl FromStr for SecretRef {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let form = || SecretError::Form(text.to_owned());
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.to_owned())),
            Some(("k8s", rest)) => {
                let (namespace, rest) = rest.split_once('/').ok_or_else(form)?;
                let (name, key) = rest.split_once('#').ok_or_else(form)?;
                if namespace.is_empty() || name.is_empty() || key.is_empty() {
                    return Err(form());
                }
                Ok(Self::Kubernetes {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                    key: key.to_owned(),
                })
            }
            _ => Err(form()),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::Kubernetes { namespace, name, key } => write!(f, "k8s:{namespace}/{name}#{key}"),
        }
    }
}

impl Serialize for SecretRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_reads_as_it_prints() {
        for text in ["env:A", "file:/run/secrets/a", "k8s:ns/name#key"] {
            assert_eq!(text.parse::<SecretRef>().unwrap().to_string(), text);
        }
        for bad in ["", "env:", "file:", "k8s:ns/name", "k8s:/name#key", "plain", "http://x"] {
            assert!(bad.parse::<SecretRef>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
        assert!(Secret::new("hunter2").matches("hunter2"));
        assert!(!Secret::new("hunter2").matches("hunter"));
    }
}
