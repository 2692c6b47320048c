//! Waiting for Deployments.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::phase::{Progress, Result};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};

use super::client::call;
use super::{Cluster, errors};

/// How long Deployments are watched within the call, so that their readiness is noticed at once.
const WATCH_FOR: Duration = Duration::from_secs(5);

/// When to look again at what takes longer.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Which Deployments of a namespace.
#[derive(Clone, Copy, Debug)]
pub enum Deployments<'a> {
    /// Those of these names, all of which must be there.
    Named(&'a [&'a str]),
    /// Those of a Helm release (label `app.kubernetes.io/instance`), of which there must be one.
    Release(&'a str),
    /// Those with all of these labels, of which there must be one.
    Labelled(&'a BTreeMap<String, String>),
}

impl Cluster {
    /// Done when every replica of these Deployments is of the newest template, ready and available. Otherwise, after
    /// 5 s of watching, waits, and names a Deployment that is not ready and why its pods are not.
    pub async fn ready(&self, namespace: &str, which: Deployments<'_>) -> Result<Progress<()>> {
        let doing = format!("watch Deployments in {namespace}");
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let mut config = watcher::Config::default();
        if let Some(selector) = selector(which) {
            config = config.labels(&selector);
        }
        let mut events = watcher(api, config).boxed();
        let mut seen: BTreeMap<String, Deployment> = BTreeMap::new();
        let mut listed = false;
        let all_ready = async {
            while let Some(event) = events.next().await {
                match event.map_err(|error| errors::watch(&doing, &error))? {
                    Event::Init => {
                        listed = false;
                        seen.clear();
                    }
                    Event::InitDone => listed = true,
                    Event::Apply(deployment) | Event::InitApply(deployment) => {
                        seen.insert(deployment.name_any(), deployment);
                    }
                    Event::Delete(deployment) => {
                        seen.remove(&deployment.name_any());
                    }
                }
                if listed && unready(&seen, which).is_none() {
                    return Ok(());
                }
            }
            Ok(())
        };
        if let Ok(ended) = tokio::time::timeout(WATCH_FOR, all_ready).await {
            ended?;
        }
        if !listed {
            return Err(errors::unavailable(&doing, "no list within 5 s"));
        }
        match unready(&seen, which) {
            None => Ok(Progress::Done(())),
            Some(Unready::Absent(name)) => {
                Ok(Progress::wait(LOOK_AGAIN, format!("Deployment {namespace}/{name}: not there")))
            }
            Some(Unready::Replicas(deployment)) => {
                Ok(Progress::wait(LOOK_AGAIN, self.explain(namespace, deployment).await?))
            }
        }
    }

    /// `Deployment matih-acme/query-engine: 0 of 1 replicas ready (pod query-engine-x: Unschedulable: …)`.
    async fn explain(&self, namespace: &str, deployment: &Deployment) -> Result<String> {
        let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
        let name = deployment.name_any();
        let says = format!("Deployment {namespace}/{name}: {ready} of {} replicas ready", wanted(deployment));
        Ok(match self.reason(namespace, deployment).await? {
            Some(why) => format!("{says} ({why})"),
            None => says,
        })
    }

    /// Why a Deployment is not whole, by the first of its pods that is not well, or by what keeps it from having any.
    pub(super) async fn reason(&self, namespace: &str, deployment: &Deployment) -> Result<Option<String>> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pods = ListParams::default().labels(&selected(deployment)).limit(50);
        let doing = format!("list pods of Deployment {namespace}/{}", deployment.name_any());
        let pods = call(&doing, api.list(&pods)).await?;
        let why = pods.iter().find_map(|pod| Some(format!("pod {}: {}", pod.name_any(), unwell(pod)?)));
        Ok(why.or_else(|| stuck(deployment)))
    }
}

/// The selector of a Deployment's pods.
pub(super) fn selected(deployment: &Deployment) -> String {
    let labels = deployment.spec.selector.match_labels.as_ref();
    let labels: Vec<String> =
        labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    labels.join(",")
}

fn selector(which: Deployments<'_>) -> Option<String> {
    match which {
        Deployments::Named(_) => None,
        Deployments::Release(release) => Some(format!("app.kubernetes.io/instance={release}")),
        Deployments::Labelled(labels) => {
            Some(labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","))
        }
    }
}

enum Unready<'a> {
    /// Not there: its name, or the release's.
    Absent(String),
    /// There, without all its replicas.
    Replicas(&'a Deployment),
}

/// The first that is not ready.
fn unready<'a>(seen: &'a BTreeMap<String, Deployment>, which: Deployments<'_>) -> Option<Unready<'a>> {
    match which {
        Deployments::Named(names) => names.iter().find_map(|name| match seen.get(*name) {
            None => Some(Unready::Absent((*name).to_owned())),
            Some(deployment) => (!is_ready(deployment)).then_some(Unready::Replicas(deployment)),
        }),
        Deployments::Release(release) if seen.is_empty() => {
            Some(Unready::Absent(format!("(release {release})")))
        }
        Deployments::Labelled(_) if seen.is_empty() => {
            Some(Unready::Absent(format!("({})", selector(which).unwrap_or_default())))
        }
        Deployments::Release(_) | Deployments::Labelled(_) => {
            seen.values().find(|deployment| !is_ready(deployment)).map(Unready::Replicas)
        }
    }
}

pub(super) fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.replicas.unwrap_or(1)
}

/// As `kubectl rollout status` decides it, and every replica ready besides.
pub(super) fn is_ready(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let wanted = wanted(deployment);
    let enough = |replicas: Option<i32>| replicas.unwrap_or(0) >= wanted;
    deployment.metadata.deletion_timestamp.is_none()
        && status.observed_generation >= deployment.metadata.generation
        && enough(status.updated_replicas)
        && enough(status.ready_replicas)
        && enough(status.available_replicas)
        && status.replicas == status.updated_replicas
        // Those that are to go have gone.
        && status.replicas.unwrap_or(0) <= wanted
}

/// Why a pod is not ready; none when it is.
fn unwell(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let is = |kind: &str, value: &str| conditions.iter().find(|c| c.type_ == kind && c.status == value);
    if is("Ready", "True").is_some() {
        return None;
    }
    let join = |reason: Option<&str>, message: Option<&str>| match (reason, message) {
        (Some(reason), Some(message)) => format!("{reason}: {message}"),
        (Some(reason), None) => reason.to_owned(),
        (None, message) => message.unwrap_or("no reason given").to_owned(),
    };
    if let Some(condition) = is("PodScheduled", "False") {
        return Some(join(condition.reason.as_deref(), condition.message.as_deref()));
    }
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    for container in containers {
        let state = container.state.as_ref();
        if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
            return Some(join(waiting.reason.as_deref(), waiting.message.as_deref()));
        }
        if let Some(ended) =
            state.and_then(|state| state.terminated.as_ref()).filter(|ended| ended.exit_code != 0)
        {
            return Some(format!("{} ended with code {}", container.name, ended.exit_code));
        }
    }
    let phase = status.phase.as_deref().unwrap_or("Pending");
    Some(match is("Ready", "False") {
        Some(condition) if condition.reason.is_some() || condition.message.is_some() => {
            format!("{phase}, {}", join(condition.reason.as_deref(), condition.message.as_deref()))
        }
        _ => format!("{phase}, not ready"),
    })
}

/// Why a Deployment has no pods to ask: admission refused them (an exceeded quota), or it does not progress.
fn stuck(deployment: &Deployment) -> Option<String> {
    let conditions = deployment.status.as_ref()?.conditions.as_deref()?;
    let is = |kind: &str, value: &str| {
        let same = |field: &Option<String>, text: &str| field.as_deref() == Some(text);
        conditions.iter().find(|c| same(&c.type_, kind) && same(&c.status, value))
    };
    is("ReplicaFailure", "True").or_else(|| is("Progressing", "False"))?.message.clone()
}
