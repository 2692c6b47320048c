//! Making sure that an object is gone.

use std::time::Duration;

use engine::phase::{Progress, Result};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use kube::core::{ObjectMeta, Resource};
use kube::runtime::watcher::watch_object;

use super::client::{answered, find};
use super::ensure::held_by;
use super::{Owned, Target, errors};

/// How long a deletion is watched within the call: most end within it, and are then noticed at once.
const WATCH_FOR: Duration = Duration::from_secs(5);

/// The same for a namespace, whose controller lets 5 s pass before it empties it.
const WATCH_NAMESPACE_FOR: Duration = Duration::from_secs(8);

/// When to look again at what takes longer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Owned {
    /// Makes sure that the object is gone, if it is the owner's and the step at hand may delete it; anything else is
    /// left as it is, and that is also done. Deletes with the uid that was looked at, so that another object of the same
    /// name is not touched. Waits, naming what holds it, while it is on its way out. Called again, it looks again.
    pub async fn ensure_deleted(&self, target: &Target) -> Result<Progress<()>> {
        let Some(found) = self.metadata(target).await? else { return Ok(Progress::Done(())) };
        let left = if !self.is_ours(&found) {
            Some("it does not belong to this tenant")
        } else if !self.owner.may_delete(self.created_by(&found)) {
            Some("another run created it")
        } else {
            None
        };
        if let Some(why) = left {
            tracing::info!(object = %target, "left as it is: {why}");
            return Ok(Progress::Done(()));
        }
        if found.deletion_timestamp.is_none() && self.delete(target, &found).await? == Deleted::Gone {
            return Ok(Progress::Done(()));
        }
        self.until_gone(target, &found).await
    }

    /// Waits while the object is on its way out, whoever removes it. What is not there, or not going, is done.
    pub async fn ensure_left(&self, target: &Target) -> Result<Progress<()>> {
        match self.metadata(target).await? {
            Some(found) if found.deletion_timestamp.is_some() => self.until_gone(target, &found).await,
            _ => Ok(Progress::Done(())),
        }
    }

    /// Watches what is on its way out; waits, naming what holds it, when it is not gone soon.
    pub(super) async fn until_gone(&self, target: &Target, found: &ObjectMeta) -> Result<Progress<()>> {
        let watch_for = if is_namespace(target) { WATCH_NAMESPACE_FOR } else { WATCH_FOR };
        if self.gone_within(target, found.uid.as_deref(), watch_for).await? {
            return Ok(Progress::Done(()));
        }
        Ok(Progress::wait(LOOK_AGAIN, self.held(target).await?))
    }

    pub(super) async fn delete(&self, target: &Target, found: &ObjectMeta) -> Result<Deleted> {
        // Pods outlive their Deployment or Job under background deletion, and a StatefulSet the Prometheus that an operator
        // made it for; "gone" shall mean that they are gone too.
        let has_dependents = matches!(target.api_version.split('/').next(), Some("apps" | "batch"))
            || matches!(target.kind.as_str(), "Prometheus" | "Alertmanager");
        let how = if has_dependents { DeleteParams::foreground() } else { DeleteParams::background() };
        let how = how.preconditions(Preconditions { uid: found.uid.clone(), resource_version: None });
        let doing = format!("delete {target}");
        let api = target.metadata_api(self.cluster.client.clone());
        match answered(&doing, api.delete(&target.name, &how)).await? {
            Ok(answer) => Ok(if answer.is_right() { Deleted::Gone } else { Deleted::Asked }),
            Err(status) if status.is_not_found() => Ok(Deleted::Gone),
            // Another uid, or a namespace that somebody else began to delete: the watch tells which.
            Err(status) if status.is_conflict() => Ok(Deleted::Asked),
            Err(status) => Err(errors::refused(&doing, &status)),
        }
    }

    /// Whether the object, or at least the one with this uid, is gone before the time is over.
    pub(super) async fn gone_within(
        &self,
        target: &Target,
        uid: Option<&str>,
        time: Duration,
    ) -> Result<bool> {
        let doing = format!("watch {target}");
        let mut seen = watch_object(target.metadata_api(self.cluster.client.clone()), &target.name).boxed();
        let gone = async {
            while let Some(seen) = seen.next().await {
                let seen = seen.map_err(|error| errors::watch(&doing, &error))?;
                if seen.is_none_or(|object| object.meta().uid.as_deref() != uid) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        tokio::time::timeout(time, gone).await.unwrap_or(Ok(false))
    }

    /// What holds it, in words for the operator.
    async fn held(&self, target: &Target) -> Result<String> {
        let Some(found) = self.metadata(target).await? else {
            return Ok(format!("{target} is being deleted"));
        };
        if !is_namespace(target) {
            return Ok(format!("{target} is being deleted ({})", held_by(&found)));
        }
        // A namespace's own finalizer says nothing; its conditions say what is still inside, and what holds that.
        let api: Api<Namespace> = Api::all(self.cluster.client.clone());
        let namespace = find(&format!("read {target}"), api.get(&target.name)).await?;
        let status = namespace.and_then(|namespace| namespace.status).unwrap_or_default();
        let mut why: Vec<String> = status
            .conditions
            .unwrap_or_default()
            .into_iter()
            .filter(|condition| condition.status == "True")
            .filter_map(|condition| condition.message)
            .collect();
        if why.is_empty() {
            why.push("its content is being deleted".into());
        }
        if found.finalizers.as_deref().is_some_and(|finalizers| !finalizers.is_empty()) {
            why.push(held_by(&found));
        }
        Ok(format!("{target} is being deleted ({})", why.join("; ")))
    }
}

fn is_namespace(target: &Target) -> bool {
    *target == Target::of::<Namespace>(None, &target.name)
}

#[derive(PartialEq)]
pub(super) enum Deleted {
    Gone,
    Asked,
}
