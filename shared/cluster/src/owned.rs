//! Whose an object is.

use engine::phase::{Error, Owner, Result};
use kube::api::ListParams;
use kube::core::{ObjectMeta, Resource};
use model::{RunId, TenantId};

use super::client::{call, find};
use super::{Cluster, Target};

/// The cluster in the hands of one owner; cheap to clone. Made by [`Cluster::owned_by`].
#[derive(Clone, Debug)]
pub struct Owned {
    pub(super) cluster: Cluster,
    pub(super) owner: Owner,
    pub(super) keys: Keys,
}

/// The keys that ownership is written under.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) tenant_id: String,
    pub(super) run_id: String,
    pub(super) epoch: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            tenant_id: format!("{prefix}/tenant-id"),
            run_id: format!("{prefix}/run-id"),
            epoch: format!("{prefix}/run-epoch"),
        }
    }

    /// The selector of everything that is the tenant's.
    pub(super) fn selector(&self, tenant: TenantId) -> String {
        format!("{}={tenant}", self.tenant_id)
    }
}

impl Owned {
    pub(super) fn new(cluster: Cluster, owner: Owner, prefix: &str) -> Self {
        Self { cluster, owner, keys: Keys::new(prefix) }
    }

    /// Ownership is the label, and nothing else.
    pub(super) fn is_ours(&self, object: &ObjectMeta) -> bool {
        let tenant = object.labels.as_ref().and_then(|labels| labels.get(&self.keys.tenant_id));
        tenant.is_some_and(|tenant| *tenant == self.owner.tenant_id.to_string())
    }

    /// The run that created it; none when that is not written, as on what a person labelled by hand.
    pub(super) fn created_by(&self, object: &ObjectMeta) -> Option<RunId> {
        object.annotations.as_ref()?.get(&self.keys.run_id)?.parse().ok()
    }

    /// Fails when something has this name that is not the owner's.
    pub async fn expect_free(&self, target: &Target) -> Result<()> {
        match self.metadata(target).await? {
            Some(found) if !self.is_ours(&found) => Err(Error::foreign(target)),
            _ => Ok(()),
        }
    }

    /// Whether there is an object of this name, whoever's it is.
    pub async fn exists(&self, target: &Target) -> Result<bool> {
        Ok(self.metadata(target).await?.is_some())
    }

    /// The run that created the owner's object; none when it is not there, not the owner's, or does not say.
    pub async fn creator(&self, target: &Target) -> Result<Option<RunId>> {
        let found = self.metadata(target).await?;
        Ok(found.filter(|found| self.is_ours(found)).and_then(|found| self.created_by(&found)))
    }

    /// The owner's objects of a kind whose names begin with `prefix`; none where there is no such namespace.
    pub async fn named<K>(&self, namespace: &str, prefix: &str) -> Result<Vec<ObjectMeta>>
    where
        K: Resource<DynamicType = ()>,
    {
        let target = Target::of::<K>(Some(namespace), "");
        let ours = ListParams::default().labels(&self.keys.selector(self.owner.tenant_id));
        let doing = format!("list {}s in {namespace}", target.kind);
        let found = call(&doing, target.metadata_api(self.cluster.client.clone()).list(&ours)).await?;
        let metadata = found.items.into_iter().map(|object| object.metadata);
        Ok(metadata.filter(|it| it.name.as_deref().is_some_and(|name| name.starts_with(prefix))).collect())
    }

    pub(super) async fn metadata(&self, target: &Target) -> Result<Option<ObjectMeta>> {
        let api = target.metadata_api(self.cluster.client.clone());
        let found = find(&format!("read {target}"), api.get(&target.name)).await?;
        Ok(found.map(|object| object.metadata))
    }
}

/// Marks what is made as the owner's: the label, and the run beside it.
pub(super) fn mark(object: &mut ObjectMeta, owned: &Owned) {
    let labels = object.labels.get_or_insert_default();
    labels.insert(owned.keys.tenant_id.clone(), owned.owner.tenant_id.to_string());
    let annotations = object.annotations.get_or_insert_default();
    annotations.insert(owned.keys.run_id.clone(), owned.owner.run_id.to_string());
    annotations.insert(owned.keys.epoch.clone(), owned.owner.epoch.to_string());
}
