//! Objects of kinds that come with somebody else's CustomResourceDefinition.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use engine::phase::{Error, Progress, Result};
use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use kube::Api;
use kube::core::{ObjectMeta, Resource};
use kube::runtime::watcher::watch_object;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::call;
use super::{Cluster, errors};

/// How long one call watches before it parks.
const WATCH_FOR: Duration = Duration::from_secs(5);

/// When to look again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Names a namespaced kind.
pub trait Kind: Clone + fmt::Debug + Send + Sync + 'static {
    /// Such as `monitoring.coreos.com`.
    const GROUP: &'static str;
    /// Such as `v1`.
    const VERSION: &'static str;
    /// Such as `Prometheus`.
    const KIND: &'static str;
    /// Its name in the API server's paths.
    const PLURAL: &'static str;
}

/// An object of such a kind. What its specification must be, the API server knows and checks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Custom<K> {
    api_version: String,
    kind: String,
    /// Name, namespace, labels.
    pub metadata: ObjectMeta,
    /// What is wanted.
    #[serde(default)]
    pub spec: Value,
    /// What its controller says; never sent.
    #[serde(default, skip_serializing)]
    pub status: Value,
    #[serde(skip)]
    of: PhantomData<K>,
}

impl<K: Kind> Custom<K> {
    /// An object as wanted.
    pub fn new(metadata: ObjectMeta, spec: Value) -> Self {
        Self {
            api_version: Self::api_version(&()).into_owned(),
            kind: K::KIND.to_owned(),
            metadata,
            spec,
            status: Value::Null,
            of: PhantomData,
        }
    }

    /// Whether the controller has seen the object as it is now, and says that it is so. Otherwise what it says.
    fn is(&self, condition: &str) -> std::result::Result<(), String> {
        let all = self.status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let Some(found) = all.iter().find(|one| one["type"] == condition) else {
            return Err("no controller has looked at it".into());
        };
        let seen = found["observedGeneration"].as_i64().unwrap_or_default();
        if found["status"] == "True" && seen >= self.metadata.generation.unwrap_or_default() {
            return Ok(());
        }
        let text = |key: &str| found[key].as_str().unwrap_or_default();
        Err(format!("not {condition}: {} {}", text("reason"), text("message")).trim_end().to_owned())
    }
}

impl<K: Kind> Resource for Custom<K> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        K::KIND.into()
    }
    fn group((): &()) -> Cow<'_, str> {
        K::GROUP.into()
    }
    fn version((): &()) -> Cow<'_, str> {
        K::VERSION.into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        K::PLURAL.into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Cluster {
    /// Done when the object's controller says that `condition` holds for the object as it is now. Otherwise, after 5 s
    /// of watching, waits with the controller's own reason.
    pub async fn has_condition<K: Kind>(
        &self,
        namespace: &str,
        name: &str,
        condition: &str,
    ) -> Result<Progress<()>> {
        let what = format!("{} {namespace}/{name}", K::KIND);
        let doing = format!("watch {what}");
        let api: Api<Custom<K>> = Api::namespaced(self.client.clone(), namespace);
        let mut seen = watch_object(api.clone(), name).boxed();
        let holds = async {
            while let Some(object) = seen.next().await {
                let object = object.map_err(|error| errors::watch(&doing, &error))?;
                if object.is_some_and(|object| object.is(condition).is_ok()) {
                    return Ok::<_, Error>(());
                }
            }
            Ok(())
        };
        if let Ok(ended) = tokio::time::timeout(WATCH_FOR, holds).await {
            ended?;
        }
        let object = call(&format!("read {what}"), api.get(name)).await?;
        Ok(match object.is(condition) {
            Ok(()) => Progress::Done(()),
            Err(why) => Progress::wait(LOOK_AGAIN, format!("{what}: {why}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Clone, Debug)]
    struct Thing;
    impl Kind for Thing {
        const GROUP: &'static str = "example.com";
        const VERSION: &'static str = "v1";
        const KIND: &'static str = "Thing";
        const PLURAL: &'static str = "things";
    }

    #[test]
    fn a_condition_counts_only_for_the_object_as_it_is_now() {
        let thing = |status: Value| -> Custom<Thing> {
            serde_json::from_value(json!({
                "apiVersion": "example.com/v1", "kind": "Thing", "metadata": { "name": "a", "generation": 2 },
                "spec": {}, "status": status,
            }))
            .unwrap()
        };
        let condition = |status: &str, seen: i64| {
            json!({ "conditions": [{
                "type": "Available", "status": status, "observedGeneration": seen, "reason": "NoPod", "message": "no pod",
            }] })
        };
        assert!(thing(Value::Null).is("Available").is_err());
        assert!(thing(condition("True", 1)).is("Available").is_err());
        assert_eq!(thing(condition("False", 2)).is("Available"), Err("not Available: NoPod no pod".into()));
        assert_eq!(thing(condition("True", 2)).is("Available"), Ok(()));
        let sent =
            serde_json::to_value(Custom::<Thing>::new(ObjectMeta::default(), json!({ "a": 1 }))).unwrap();
        assert_eq!(
            sent,
            json!({ "apiVersion": "example.com/v1", "kind": "Thing", "metadata": {}, "spec": { "a": 1 } })
        );
    }
}
