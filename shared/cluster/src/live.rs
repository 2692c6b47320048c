//! Waiting until a Deployment's processes run, whether or not they are ready to serve.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::phase::{Progress, Result};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};

use super::client::{call, find};
use super::ready::{selected, wanted};
use super::{Cluster, errors};

/// How long pods are watched within the call, so that their start is noticed at once.
const WATCH_FOR: Duration = Duration::from_secs(5);

/// When to ask again for what no watched pod tells.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// When to look again at what takes longer.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Which of a Deployment's ReplicaSets is the newest.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// Which ReplicaSet a pod is of.
const TEMPLATE: &str = "pod-template-hash";

impl Cluster {
    /// Done when as many pods of the Deployment's newest template as it wants run, all their containers past their startup
    /// probes. Readiness, which may need something that is made later, is not asked for. Otherwise, after 5 s of watching,
    /// waits, and says why a pod does not run.
    pub async fn live(&self, namespace: &str, name: &str) -> Result<Progress<()>> {
        let what = format!("Deployment {namespace}/{name}");
        let Some(deployment) = self.deployment(namespace, name).await? else {
            return Ok(Progress::wait(LOOK_AGAIN, format!("{what}: not there")));
        };
        let doing = format!("watch pods of {what}");
        let config = watcher::Config::default().labels(&selected(&deployment));
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let mut events = watcher(api, config).boxed();
        let mut seen: BTreeMap<String, Pod> = BTreeMap::new();
        let all_live = async {
            let mut listed = false;
            loop {
                // Which template is the newest is told by no pod: the server is asked, when it may be that all run.
                if listed && enough(&deployment, seen.values()) {
                    let template = self.newest_template(namespace, name).await?;
                    let of_it =
                        |pod: &&Pod| template.is_some() && pod.labels().get(TEMPLATE) == template.as_ref();
                    if enough(&deployment, seen.values().filter(of_it)) {
                        return Ok(());
                    }
                }
                let event = match tokio::time::timeout(ASK_AGAIN, events.next()).await {
                    Err(_) => continue,
                    Ok(None) => return Ok(()),
                    Ok(Some(event)) => event.map_err(|error| errors::watch(&doing, &error))?,
                };
                match event {
                    Event::Init => {
                        listed = false;
                        seen.clear();
                    }
                    Event::InitDone => listed = true,
                    Event::Apply(pod) | Event::InitApply(pod) => {
                        seen.insert(pod.name_any(), pod);
                    }
                    Event::Delete(pod) => {
                        seen.remove(&pod.name_any());
                    }
                }
            }
        };
        if let Ok(ended) = tokio::time::timeout(WATCH_FOR, all_live).await {
            return ended.map(Progress::Done);
        }
        let live = seen.values().filter(|pod| runs(pod)).count();
        let says = format!("{what}: {live} of {} instances run", wanted(&deployment));
        let on = match self.reason(namespace, &deployment).await? {
            Some(why) => format!("{says} ({why})"),
            None => says,
        };
        Ok(Progress::wait(LOOK_AGAIN, on))
    }

    /// The Deployment as it is now; none when it is not there.
    pub async fn deployment(&self, namespace: &str, name: &str) -> Result<Option<Deployment>> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        find(&format!("read Deployment {namespace}/{name}"), api.get(name)).await
    }

    /// The label of the pods of the Deployment's newest template, once its controller has seen that.
    async fn newest_template(&self, namespace: &str, name: &str) -> Result<Option<String>> {
        let Some(deployment) = self.deployment(namespace, name).await? else { return Ok(None) };
        let seen = deployment.status.as_ref().and_then(|status| status.observed_generation);
        if seen < deployment.metadata.generation {
            return Ok(None);
        }
        let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), namespace);
        let ours = ListParams::default().labels(&selected(&deployment));
        let sets =
            call(&format!("list ReplicaSets of Deployment {namespace}/{name}"), api.list(&ours)).await?;
        let revision = deployment.annotations().get(REVISION);
        let newest =
            sets.iter().find(|set| revision.is_some() && set.annotations().get(REVISION) == revision);
        Ok(newest.and_then(|set| set.labels().get(TEMPLATE).cloned()))
    }
}

/// Whether as many of these run as are wanted.
fn enough<'a>(deployment: &Deployment, pods: impl Iterator<Item = &'a Pod>) -> bool {
    pods.filter(|pod| runs(pod)).count() >= usize::try_from(wanted(deployment)).unwrap_or_default()
}

/// Every container runs and is past its startup probe.
fn runs(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    pod.metadata.deletion_timestamp.is_none()
        && !containers.is_empty()
        && containers.iter().all(|container| {
            let running = container.state.as_ref().is_some_and(|state| state.running.is_some());
            running && container.started == Some(true)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_runs_once_every_container_is_past_its_startup_probe() {
        let pod = |containers: serde_json::Value| -> Pod {
            serde_json::from_value(json!({ "metadata": {}, "status": { "containerStatuses": containers } }))
                .unwrap()
        };
        let container = |started: serde_json::Value, state: &str| {
            json!({ "name": "a", "image": "a", "imageID": "", "ready": false, "restartCount": 0, "started": started,
                    "state": { (state): {} } })
        };
        assert!(runs(&pod(json!([container(json!(true), "running")]))));
        for not_yet in [
            json!([]),
            json!([container(json!(false), "running")]),
            json!([container(json!(null), "running")]),
            json!([container(json!(true), "waiting")]),
            json!([container(json!(true), "running"), container(json!(false), "running")]),
        ] {
            assert!(!runs(&pod(not_yet.clone())), "{not_yet}");
        }
    }
}
