//! Reading Secrets.

use std::collections::BTreeMap;

use engine::phase::{Error, Kind, Result};
use k8s_openapi::api::core::v1;
use kube::Api;
use model::secret::{Secret, SecretError, SecretRef, SecretSource};

use super::Cluster;
use super::client::find;

impl Cluster {
    /// A Secret's values by key; none when there is no such Secret. A value that is no UTF-8 text is fatal.
    pub async fn read_secret(&self, namespace: &str, name: &str) -> Result<Option<BTreeMap<String, Secret>>> {
        let api: Api<v1::Secret> = Api::namespaced(self.client.clone(), namespace);
        let Some(found) = find(&format!("read Secret {namespace}/{name}"), api.get(name)).await? else {
            return Ok(None);
        };
        let values = found.data.unwrap_or_default().into_iter().map(|(key, value)| {
            let text = String::from_utf8(value.0).map_err(|_| {
                Error::fatal(
                    "secret_unreadable",
                    format!("Secret {namespace}/{name}, key {key}: not UTF-8 text"),
                )
                .next("Write the value again as text.")
            })?;
            Ok((key, Secret::new(text)))
        });
        values.collect::<Result<_>>().map(Some)
    }

    /// Reads what a reference names, wherever it is: a Kubernetes one in the process's own cluster, whose the platform's
    /// secrets are, or in this one where that is the same. Retryable when it is not there: whoever keeps the platform's
    /// secrets can put it right while the run waits.
    pub async fn resolve(&self, reference: &SecretRef) -> Result<Secret> {
        let missing = |why: String| {
            Error::retryable("secret_missing", format!("{reference}: {why}"))
                .next("Put the secret where the reference says, then retry.")
        };
        match reference {
            SecretRef::Kubernetes { namespace, name, key } => {
                let own = if self.kubeconfig().is_some() { Self::connect().await? } else { self.clone() };
                let values = own.read_secret(namespace, name).await?;
                let value = values.ok_or_else(|| missing("no such Secret".into()))?.remove(key);
                value.ok_or_else(|| missing(format!("the Secret has no key {key}")))
            }
            reference => reference.read_local().map_err(|error| missing(error.to_string())),
        }
    }
}

/// Secrets wherever they are: in the environment, in files, and in the process's own cluster, which is connected to only for
/// a reference to it.
#[derive(Clone, Copy, Debug)]
pub struct Secrets;

impl SecretSource for Secrets {
    async fn read(&self, reference: &SecretRef) -> std::result::Result<Secret, SecretError> {
        match reference {
            SecretRef::Kubernetes { .. } => {
                let read = async { Cluster::connect().await?.resolve(reference).await };
                read.await.map_err(|error| SecretError::Cluster {
                    unavailable: matches!(error.kind, Kind::Unavailable { .. }),
                    why: error.message,
                })
            }
            reference => reference.read_local(),
        }
    }
}
