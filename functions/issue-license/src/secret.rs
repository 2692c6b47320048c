//! The Secret that the tenant's own instances have mounted. The notice is for whoever runs when it comes: a pod made later,
//! and all but one of several, would never hear of the licence.

use cluster::{Cluster, Ensured, Owned, Target};
use engine::phase::{Progress, Result, Step};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1;
use kube::core::ObjectMeta;
use model::platform::Platform;
use model::{DeploymentType, Tenant};
use serde::{Deserialize, Serialize};

/// The Secret's name, which PROVISION_DEPLOYMENT mounts.
pub const SECRET: &str = "tenant-api-license";

/// Its one key, which is the file's name there.
pub const KEY: &str = "license";

/// Where the Secret goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretTarget {
    /// The tenant's namespace.
    pub namespace: String,
    /// Before the `/` of the labels that ownership is read from.
    pub label_prefix: String,
}

impl SecretTarget {
    /// None of a tenant of the pooled instance, of whom nothing is in the cluster.
    pub(crate) fn of(tenant: &Tenant, platform: &Platform) -> Option<Self> {
        (tenant.deployment_type == DeploymentType::ContainerPerTenant).then(|| Self {
            namespace: platform.namespace(&tenant.slug).to_string(),
            label_prefix: platform.label_prefix.clone(),
        })
    }

    /// Makes this licence the Secret's content. None where the tenant has no namespace (any more): nobody is left there to
    /// read it.
    pub(crate) async fn put(&self, cluster: &Cluster, step: &Step, license: &str) -> Result<Option<Ensured>> {
        let owned = self.owned(cluster, step);
        match owned.ensure(&self.secret(license)).await {
            Err(error) if error.code == "object_missing" && !self.has_namespace(&owned).await? => {
                tracing::info!(namespace = self.namespace, "no namespace, so no Secret with the licence");
                Ok(None)
            }
            done => done.map(Some),
        }
    }

    /// Takes the Secret away, as far as the step may.
    pub(crate) async fn clear(&self, cluster: &Cluster, step: &Step) -> Result<Progress<()>> {
        let target = Target::of::<v1::Secret>(Some(&self.namespace), SECRET);
        self.owned(cluster, step).ensure_deleted(&target).await
    }

    fn owned(&self, cluster: &Cluster, step: &Step) -> Owned {
        cluster.owned_by(step.owner(), &self.label_prefix)
    }

    async fn has_namespace(&self, owned: &Owned) -> Result<bool> {
        owned.exists(&Target::of::<v1::Namespace>(None, &self.namespace)).await
    }

    fn secret(&self, license: &str) -> v1::Secret {
        v1::Secret {
            metadata: ObjectMeta {
                name: Some(SECRET.to_owned()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            data: Some([(KEY.to_owned(), ByteString(license.as_bytes().to_vec()))].into()),
            ..v1::Secret::default()
        }
    }
}
