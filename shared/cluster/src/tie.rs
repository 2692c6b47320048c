//! Cluster-scoped objects that go with a tenant's namespace.

use std::collections::BTreeMap;

use engine::phase::{Error, Result};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams};
use kube::core::ObjectMeta;
use model::RunId;
use serde_json::json;

use super::client::call;
use super::ensure::FIELD_MANAGER;
use super::{Owned, Target};

/// The annotations by which Helm marks what a release has made.
const RELEASE: [&str; 2] = ["meta.helm.sh/release-name", "meta.helm.sh/release-namespace"];

impl Owned {
    /// A reference to the owner's namespace, for cluster-scoped objects: should the namespace be removed past us,
    /// Kubernetes takes them away with it. Fails when the namespace is not there or not the owner's.
    pub async fn namespace_reference(&self, namespace: &str) -> Result<OwnerReference> {
        let target = Target::of::<Namespace>(None, namespace);
        match self.metadata(&target).await? {
            Some(found) if self.is_ours(&found) => Ok(OwnerReference {
                api_version: target.api_version,
                kind: target.kind,
                name: target.name,
                uid: found.uid.unwrap_or_default(),
                ..OwnerReference::default()
            }),
            Some(_) => Err(Error::foreign(target)),
            None => Err(Error::retryable("object_missing", format!("{target} is not there"))
                .next("It was removed by hand; retry makes it again.")),
        }
    }

    /// Ties what a release of the owner's has made to the owner's namespace: the label, the run that installed the
    /// release, and a reference to the namespace. Whose the object is, is told by the label or by Helm's mark of that
    /// release; anything else is foreign. False when there is no such object. A second call changes nothing.
    pub async fn tie(
        &self,
        target: &Target,
        release: (&str, &str),
        installed_by: Option<RunId>,
    ) -> Result<bool> {
        let Some(found) = self.metadata(target).await? else { return Ok(false) };
        self.expect_ours(target, &found, release)?;
        let reference = self.namespace_reference(release.1).await?;
        let annotations: BTreeMap<&str, RunId> =
            installed_by.into_iter().map(|run| (self.keys.run_id.as_str(), run)).collect();
        let patch = json!({
            "apiVersion": target.api_version,
            "kind": target.kind,
            "metadata": {
                "name": target.name,
                "uid": found.uid,
                "labels": { (self.keys.tenant_id.clone()): self.owner.tenant_id },
                "annotations": annotations,
                "ownerReferences": [reference],
            },
        });
        let api = target.api(self.cluster.client.clone());
        let how = PatchParams::apply(FIELD_MANAGER).force();
        call(&format!("tie {target} to its namespace"), api.patch(&target.name, &how, &Patch::Apply(&patch)))
            .await?;
        Ok(true)
    }

    /// Fails when something has this name that is foreign in the sense of [`Owned::tie`].
    pub async fn expect_free_for(&self, target: &Target, release: (&str, &str)) -> Result<()> {
        match self.metadata(target).await? {
            Some(found) => self.expect_ours(target, &found, release),
            None => Ok(()),
        }
    }

    fn expect_ours(&self, target: &Target, found: &ObjectMeta, release: (&str, &str)) -> Result<()> {
        let marked = |key: &str| found.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str);
        let of_release = RELEASE.map(marked) == [Some(release.0), Some(release.1)];
        let labelled = found.labels.iter().flatten().any(|(key, _)| *key == self.keys.tenant_id);
        if self.is_ours(found) || (of_release && !labelled) { Ok(()) } else { Err(Error::foreign(target)) }
    }
}
