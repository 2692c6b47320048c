//! A Deployment as it is now: for people who ask, not for phases.

use chrono::{DateTime, Utc};
use engine::phase::Result;
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde::Serialize;

use super::Cluster;
use super::client::call;
use super::ready::{is_ready, wanted};

/// Events in one answer of the API server, and the answers that are looked at: it lists them in no order of time.
const PAGE: u32 = 500;
const PAGES: usize = 10;

/// A Deployment and its pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Its uid.
    pub uid: String,
    /// Every replica is of the newest template, ready and available.
    pub ready: bool,
    /// Why it is not, as far as the cluster says.
    pub reason: Option<String>,
    /// The image of its first container.
    pub image: Option<String>,
    /// Its pods.
    pub replicas: Replicas,
}

/// How many pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replicas {
    /// Wanted.
    pub desired: i32,
    /// Of the newest template.
    pub updated: i32,
    /// Ready.
    pub ready: i32,
    /// Ready for long enough.
    pub available: i32,
}

/// Something that the cluster has noted of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// When it last did.
    pub at: Option<DateTime<Utc>>,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One word.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Kind and name of the object.
    pub object: String,
    /// How often.
    pub count: i32,
}

impl Cluster {
    /// The Deployment as it is now; none when it is not there.
    pub async fn observe(&self, namespace: &str, name: &str) -> Result<Option<Observed>> {
        let Some(deployment) = self.deployment(namespace, name).await? else { return Ok(None) };
        let ready = is_ready(&deployment);
        let reason = if ready { None } else { self.reason(namespace, &deployment).await? };
        let status = deployment.status.clone().unwrap_or_default();
        let pod = deployment.spec.template.spec.as_ref();
        Ok(Some(Observed {
            uid: deployment.uid().unwrap_or_default(),
            ready,
            reason,
            image: pod.and_then(|pod| pod.containers.first()?.image.clone()),
            replicas: Replicas {
                desired: wanted(&deployment),
                updated: status.updated_replicas.unwrap_or(0),
                ready: status.ready_replicas.unwrap_or(0),
                available: status.available_replicas.unwrap_or(0),
            },
        }))
    }

    /// What the cluster has noted of a Deployment, its ReplicaSets and its pods, those that are gone among them: the newest
    /// first, at most `most`. The API server forgets it after a while (an hour by default).
    pub async fn happened(&self, namespace: &str, deployment: &str, most: usize) -> Result<Vec<Happened>> {
        let doing = format!("list events of Deployment {namespace}/{deployment}");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let mut found = Vec::new();
        let mut how = ListParams::default().limit(PAGE);
        for _ in 0..PAGES {
            let page = call(&doing, api.list(&how)).await?;
            found.extend(page.items.into_iter().filter(|event| is_of(event, deployment)).map(happened));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => how = how.continue_token(&token),
                None => break,
            }
        }
        found.sort_by(|one: &Happened, other| {
            other.at.cmp(&one.at).then_with(|| one.object.cmp(&other.object))
        });
        found.truncate(most);
        Ok(found)
    }
}

/// ReplicaSets and pods are named after their Deployment, with `-` and more.
fn is_of(event: &Event, deployment: &str) -> bool {
    let object = &event.involved_object;
    let name = object.name.as_deref().unwrap_or_default();
    match object.kind.as_deref() {
        Some("Deployment") => name == deployment,
        Some("ReplicaSet" | "Pod") => name.strip_prefix(deployment).is_some_and(|rest| rest.starts_with('-')),
        _ => false,
    }
}

fn happened(event: Event) -> Happened {
    let object = event.involved_object;
    let words = [object.kind, object.name];
    let seen = event.last_timestamp.or(event.first_timestamp).map(|time| time.0);
    let noted = event.event_time.map(|time| time.0);
    let at = seen.or(noted).or(event.metadata.creation_timestamp.map(|time| time.0));
    Happened {
        at: at.and_then(|time| DateTime::from_timestamp_micros(time.as_microsecond())),
        kind: event.type_.unwrap_or_default(),
        reason: event.reason.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
        object: words.into_iter().flatten().collect::<Vec<_>>().join(" "),
        count: event.count.or(event.series.and_then(|series| series.count)).unwrap_or(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deployments_events_are_its_own_its_sets_and_its_pods() {
        let event = |kind: &str, name: &str| -> Event {
            serde_json::from_value(
                json!({ "metadata": {}, "involvedObject": { "kind": kind, "name": name } }),
            )
            .unwrap()
        };
        for (kind, name, of_it) in [
            ("Deployment", "tenant-api", true),
            ("Deployment", "tenant-api-2", false),
            ("ReplicaSet", "tenant-api-6d4b", true),
            ("Pod", "tenant-api-6d4b-x", true),
            ("Pod", "tenant-apiary-6d4b-x", false),
            ("Pod", "tenant-api", false),
            ("Ingress", "tenant-api-x", false),
        ] {
            assert_eq!(is_of(&event(kind, name), "tenant-api"), of_it, "{kind} {name}");
        }
    }

    #[test]
    fn an_events_time_is_its_last_whatever_form_it_has() {
        let at = |more: serde_json::Value| {
            let mut event =
                json!({ "metadata": { "creationTimestamp": "2026-02-12T10:00:00Z" }, "involvedObject": {} });
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            happened(serde_json::from_value(event).unwrap()).at.unwrap().to_rfc3339()
        };
        assert_eq!(at(json!({})), "2026-02-12T10:00:00+00:00");
        assert_eq!(at(json!({ "eventTime": "2026-02-12T10:00:01.5Z" })), "2026-02-12T10:00:01.500+00:00");
        let both =
            json!({ "firstTimestamp": "2026-02-12T10:00:01Z", "lastTimestamp": "2026-02-12T10:00:09Z" });
        assert_eq!(at(both), "2026-02-12T10:00:09+00:00");
    }
}
