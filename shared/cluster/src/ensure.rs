//! Making sure that an object is there and as it should be.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::phase::{Error, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{DynamicObject, ObjectMeta, Resource, Status};
use model::RunId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::{answered, call};
use super::{Owned, Target, errors, owned};

/// The one field manager of everything that Tenantry writes.
pub(super) const FIELD_MANAGER: &str = "tenantry";

/// An object can come and go between two calls; more often than this it is not chance.
const ATTEMPTS: usize = 3;

/// What was done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// It was not there.
    Created,
    /// It was ours already and has been brought to what it should be.
    Changed,
    /// It was ours already and has been left as it was.
    Kept,
}

/// An object that is there and ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ensured {
    /// The object's own id: another object of the same name has another.
    pub uid: String,
    /// The run that created it, which is not always the one that asks.
    pub created_by: Option<RunId>,
    /// What this call did.
    pub effect: Effect,
}

impl Owned {
    /// Makes sure that the object is there as given, labelled as the owner's. The first contact is a plain create.
    /// What is there and ours is applied to (server-side, with its uid, so that another object of the same name made
    /// meanwhile is not touched) and keeps its run annotations. A foreign object is fatal and left as it is; one on its
    /// way out parks, naming its finalizers.
    pub async fn ensure<K>(&self, object: &K) -> Result<Ensured>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        self.put(&Manifest::of(object)?, true).await
    }

    /// As [`Owned::ensure`], but what is there and ours stays exactly as it is: for a Secret whose password is made up
    /// once.
    pub async fn ensure_kept<K>(&self, object: &K) -> Result<Ensured>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        self.put(&Manifest::of(object)?, false).await
    }

    /// Ensures several of one kind in order, by name.
    pub async fn ensure_all<K>(&self, objects: &[K]) -> Result<BTreeMap<String, Ensured>>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let mut done = BTreeMap::new();
        for object in objects {
            let manifest = Manifest::of(object)?;
            let ensured = self.put(&manifest, true).await?;
            done.insert(manifest.target.name, ensured);
        }
        Ok(done)
    }

    /// Sets fields on an object that Kubernetes itself keeps in every namespace (the ServiceAccount `default`). It is
    /// not labelled: it belongs to its namespace, which must be the owner's. Another manager's fields are not taken.
    pub async fn adjust<K>(&self, object: &K) -> Result<()>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        self.set_fields(&Manifest::of(object)?).await
    }

    pub(super) async fn set_fields(&self, manifest: &Manifest) -> Result<()> {
        let Manifest { target, object } = manifest;
        let namespace = Target::of::<Namespace>(None, target.namespace.as_deref().unwrap_or_default());
        match self.metadata(&namespace).await? {
            Some(found) if self.is_ours(&found) => {}
            Some(_) => return Err(Error::foreign(namespace)),
            None => {
                return Err(Error::retryable("object_missing", format!("{namespace} is not there"))
                    .next("It was removed by hand; retry makes it again."));
            }
        }
        let api = target.api(self.cluster.client.clone());
        let how = PatchParams::apply(FIELD_MANAGER);
        call(&format!("adjust {target}"), api.patch(&target.name, &how, &Patch::Apply(object))).await?;
        Ok(())
    }

    pub(super) async fn put(&self, manifest: &Manifest, apply: bool) -> Result<Ensured> {
        let target = &manifest.target;
        for _ in 0..ATTEMPTS {
            if let Some(made) = self.create(manifest).await? {
                return Ok(self.ensured(&made, Effect::Created));
            }
            let Some(found) = self.metadata(target).await? else { continue };
            if !self.is_ours(&found) {
                return Err(Error::foreign(target));
            }
            if found.deletion_timestamp.is_some() {
                let on = format!("{target} is still being deleted ({})", held_by(&found));
                return Err(Error::parked(Duration::from_secs(1), on));
            }
            if !apply {
                return Ok(self.ensured(&found, Effect::Kept));
            }
            if let Some(changed) = self.apply(manifest, &found).await? {
                return Ok(self.ensured(&changed, Effect::Changed));
            }
        }
        Err(Error::retryable(
            "object_conflict",
            format!("{target} keeps being created and deleted by something else while Tenantry creates it"),
        )
        .next("Something else creates and deletes it; look at the API server's audit log for who."))
    }

    /// None when an object of that name is there.
    async fn create(&self, manifest: &Manifest) -> Result<Option<ObjectMeta>> {
        let Manifest { target, object } = manifest;
        let mut object = object.clone();
        owned::mark(&mut object.metadata, self);
        let how = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let doing = format!("create {target}");
        let api = target.api(self.cluster.client.clone());
        match answered(&doing, api.create(&how, &object)).await? {
            Ok(made) => Ok(Some(made.metadata)),
            Err(status) if status.is_already_exists() => Ok(None),
            Err(status) => Err(errors::refused(&doing, &status)),
        }
    }

    /// None when it is no longer the object that was found.
    pub(super) async fn apply(&self, manifest: &Manifest, found: &ObjectMeta) -> Result<Option<ObjectMeta>> {
        let Manifest { target, object } = manifest;
        let mut object = object.clone();
        owned::mark(&mut object.metadata, self);
        let annotations = object.metadata.annotations.get_or_insert_default();
        for key in [&self.keys.run_id, &self.keys.epoch] {
            match found.annotations.as_ref().and_then(|old| old.get(key)) {
                Some(old) => annotations.insert(key.clone(), old.clone()),
                None => annotations.remove(key),
            };
        }
        object.metadata.uid.clone_from(&found.uid);
        // The create's fields belong to the same manager under another operation; without force they would conflict.
        let how = PatchParams::apply(FIELD_MANAGER).force();
        let doing = format!("apply {target}");
        let api = target.api(self.cluster.client.clone());
        match answered(&doing, api.patch(&target.name, &how, &Patch::Apply(&object))).await? {
            Ok(changed) => Ok(Some(changed.metadata)),
            Err(status) if status.is_conflict() || status.is_not_found() || replaced(&status) => Ok(None),
            Err(status) => Err(errors::refused(&doing, &status)),
        }
    }

    fn ensured(&self, object: &ObjectMeta, effect: Effect) -> Ensured {
        Ensured { uid: object.uid.clone().unwrap_or_default(), created_by: self.created_by(object), effect }
    }
}

/// Whether an apply was refused because another object has the name: the uid that it carries is then "immutable".
fn replaced(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.is_invalid() && causes.into_iter().any(|cause| cause.field == "metadata.uid")
}

/// What holds an object that is being deleted.
pub(super) fn held_by(object: &ObjectMeta) -> String {
    match object.finalizers.as_deref() {
        Some(finalizers) if !finalizers.is_empty() => format!("held by finalizers {}", finalizers.join(", ")),
        _ => "its grace period runs".to_owned(),
    }
}

/// An object on its way to the server, with its name.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    target: Target,
    object: DynamicObject,
}

impl Manifest {
    pub(super) fn of<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Result<Self> {
        let meta = object.meta();
        let name = meta.name.clone().unwrap_or_default();
        let target = Target::of::<K>(meta.namespace.as_deref(), &name);
        let fault = |why: String| {
            Error::fatal("object_invalid", format!("{target}: {why}"))
                .next("Report this fault in the phase's code.")
        };
        if name.is_empty() {
            return Err(fault("has no name".into()));
        }
        let value: Value = serde_json::to_value(object).map_err(|error| fault(error.to_string()))?;
        let object = serde_json::from_value(value).map_err(|error| fault(error.to_string()))?;
        Ok(Self { target, object })
    }
}
