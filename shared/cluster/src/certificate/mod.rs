//! cert-manager's Certificates: how far one is, in cert-manager's own words, and asking for another attempt.

mod kind;
mod trail;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use engine::phase::{Error, Result};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, ObjectMeta};
use kube::runtime::watcher::watch_object;
use serde_json::{Value, json};

pub use kind::{Certificate, Condition, Status};
pub use trail::Backoff;

use super::client::{answered, call, find};
use super::{Cluster, Owned, Target, errors};

/// The condition by which cert-manager says that it is at work.
const ISSUING: &str = "Issuing";
/// The condition by which it says that the Secret holds what is wanted.
const READY: &str = "Ready";
/// The annotation by which what it makes on the way names its Certificate.
const NAME_ANNOTATION: &str = "cert-manager.io/certificate-name";

/// What keeps a challenge until its DNS record is taken away.
const CHALLENGE_FINALIZER: &str = "acme.cert-manager.io/finalizer";

/// How often a status that changes under our hands is read again.
const ATTEMPTS: usize = 3;

/// Where a Certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuance {
    /// The Secret holds it.
    Ready {
        /// When it ends.
        not_after: Option<DateTime<Utc>>,
    },
    /// On its way, or not yet looked at.
    Pending,
    /// cert-manager has given up, until its next attempt.
    Failed,
}

impl Certificate {
    /// Where it is. What cert-manager says of an older generation does not count.
    pub fn issuance(&self) -> Issuance {
        let Some(status) = &self.status else { return Issuance::Pending };
        let current = |condition: &&Condition| {
            condition.observed_generation.is_none_or(|seen| Some(seen) == self.metadata.generation)
        };
        let find = |kind: &str| status.conditions.iter().filter(current).find(|it| it.kind == kind);
        if find(READY).is_some_and(|ready| ready.status == "True") {
            return Issuance::Ready { not_after: status.not_after };
        }
        match find(ISSUING) {
            Some(issuing) if issuing.status == "False" && status.last_failure_time.is_some() => {
                Issuance::Failed
            }
            _ => Issuance::Pending,
        }
    }
}

impl Cluster {
    /// Looks at the Certificate until it is ready or has failed, at most for `time`, and returns it as it is then; none
    /// when it is not there.
    pub async fn certificate(
        &self,
        namespace: &str,
        name: &str,
        time: Duration,
    ) -> Result<Option<Certificate>> {
        let doing = format!("watch Certificate {namespace}/{name}");
        let api: Api<Certificate> = Api::namespaced(self.client.clone(), namespace);
        let mut seen = watch_object(api, name).boxed();
        let mut last = None;
        let watched = async {
            while let Some(certificate) = seen.next().await {
                let certificate = certificate.map_err(|error| errors::watch(&doing, &error))?;
                let ended = certificate.as_ref().is_some_and(|it| it.issuance() != Issuance::Pending);
                last = Some(certificate);
                if ended {
                    break;
                }
            }
            Ok(())
        };
        if let Ok(ended) = tokio::time::timeout(time, watched).await {
            ended?;
        }
        last.ok_or_else(|| errors::unavailable(&doing, "no answer"))
    }

    /// How far a Certificate is now, and why it is no further; none when it is not there.
    pub async fn certificate_now(
        &self,
        namespace: &str,
        name: &str,
        backoff: Backoff,
    ) -> Result<Option<(Issuance, Option<String>)>> {
        let api: Api<Certificate> = Api::namespaced(self.client.clone(), namespace);
        let found = find(&format!("read Certificate {namespace}/{name}"), api.get(name)).await?;
        let Some(certificate) = found else { return Ok(None) };
        let why = match certificate.issuance() {
            Issuance::Ready { .. } => None,
            Issuance::Pending | Issuance::Failed => {
                Some(self.certificate_trail(&certificate, backoff).await?)
            }
        };
        Ok(Some((certificate.issuance(), why)))
    }

    /// What cert-manager says of a Certificate that is not ready, as deep as it goes: its own condition, the request's,
    /// the order's, the challenges', and when it tries again.
    pub async fn certificate_trail(&self, certificate: &Certificate, backoff: Backoff) -> Result<String> {
        let namespace = certificate.metadata.namespace.as_deref().unwrap_or_default();
        let requests = self.cert_manager_list(namespace, REQUEST).await?;
        let orders = self.cert_manager_list(namespace, ORDER).await?;
        let challenges = self.cert_manager_list(namespace, CHALLENGE).await?;
        Ok(trail::words(certificate, &requests, &orders, &challenges, backoff))
    }

    /// What cert-manager has made on the way to a Certificate and not taken away yet: requests, orders, challenges and
    /// the key of the next attempt. `host` is the Certificate's name without wildcard.
    pub async fn certificate_remains(&self, namespace: &str, name: &str, host: &str) -> Result<Vec<Remain>> {
        let mut remains = Vec::new();
        for kind in [REQUEST, ORDER, CHALLENGE] {
            for object in self.cert_manager_list(namespace, kind).await? {
                let annotated = object.metadata.annotations.iter().flatten();
                let of_it = match kind {
                    CHALLENGE => object.data["spec"]["dnsName"] == host,
                    _ => annotated.into_iter().any(|(key, value)| key == NAME_ANNOTATION && value == name),
                };
                if of_it {
                    remains.push(Remain::new(namespace, kind, object.metadata));
                }
            }
        }
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let next = ListParams::default().labels("cert-manager.io/next-private-key=true");
        let doing = format!("list Secrets of Certificate {namespace}/{name}");
        for secret in call(&doing, secrets.list_metadata(&next)).await? {
            let owners = secret.metadata.owner_references.iter().flatten();
            if owners.into_iter().any(|owner| owner.kind == "Certificate" && owner.name == name) {
                remains.push(Remain::new(namespace, ("", "Secret", "secrets"), secret.metadata));
            }
        }
        Ok(remains)
    }

    /// Lets a challenge go that is being deleted and whose DNS record cert-manager cannot take away. Only for one whose
    /// record goes with its zone. Does nothing for anything else.
    pub async fn give_up_challenge(&self, remain: &Remain) -> Result<()> {
        if remain.target.kind != CHALLENGE.1 || !remain.going {
            return Ok(());
        }
        let kept: Vec<&String> = remain.finalizers.iter().filter(|it| *it != CHALLENGE_FINALIZER).collect();
        let patch = json!({ "metadata": {
            "uid": remain.uid, "resourceVersion": remain.resource_version, "finalizers": kept,
        } });
        let doing = format!("let {} go", remain.target);
        let api = remain.target.api(self.client.clone());
        match answered(&doing, api.patch(&remain.target.name, &PatchParams::default(), &Patch::Merge(patch)))
            .await?
        {
            Err(status) if !status.is_not_found() && !status.is_conflict() => {
                Err(errors::refused(&doing, &status))
            }
            _ => Ok(()),
        }
    }

    /// Everything of a kind in the namespace; nothing where the kind is not installed.
    async fn cert_manager_list(&self, namespace: &str, kind: Kind) -> Result<Vec<DynamicObject>> {
        let (group, name, plural) = kind;
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", name), plural);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let doing = format!("list {name}s in {namespace}");
        Ok(find(&doing, api.list(&ListParams::default())).await?.map(|list| list.items).unwrap_or_default())
    }
}

/// Something that cert-manager has made on the way to a Certificate.
#[derive(Clone, Debug)]
pub struct Remain {
    target: Target,
    uid: Option<String>,
    resource_version: Option<String>,
    finalizers: Vec<String>,
    going: bool,
}

impl Remain {
    fn new(namespace: &str, (group, kind, plural): Kind, metadata: ObjectMeta) -> Self {
        let api_version = if group.is_empty() { "v1".into() } else { format!("{group}/v1") };
        Self {
            target: Target {
                api_version,
                kind: kind.into(),
                plural: plural.into(),
                namespace: Some(namespace.into()),
                name: metadata.name.unwrap_or_default(),
            },
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            finalizers: metadata.finalizers.unwrap_or_default(),
            going: metadata.deletion_timestamp.is_some(),
        }
    }
}

/// `Challenge matih-acme/x (held by finalizers a)`.
impl fmt::Display for Remain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.target)?;
        if self.finalizers.is_empty() {
            Ok(())
        } else {
            write!(f, " (held by finalizers {})", self.finalizers.join(", "))
        }
    }
}

/// Group, kind and plural.
type Kind = (&'static str, &'static str, &'static str);

const REQUEST: Kind = ("cert-manager.io", "CertificateRequest", "certificaterequests");
const ORDER: Kind = ("acme.cert-manager.io", "Order", "orders");
const CHALLENGE: Kind = ("acme.cert-manager.io", "Challenge", "challenges");

impl Owned {
    /// Asks cert-manager to try again now rather than at its next attempt, as `cmctl renew` does: by the condition
    /// `Issuing`. Does nothing unless the owner's Certificate has failed. True when it was asked.
    pub async fn reissue(&self, namespace: &str, name: &str) -> Result<bool> {
        let target = Target::of::<Certificate>(Some(namespace), name);
        let api = target.api(self.cluster.client.clone());
        for _ in 0..ATTEMPTS {
            let doing = format!("read {target}");
            let Some(mut object) = find(&doing, api.get(name)).await? else { return Ok(false) };
            if !self.is_ours(&object.metadata) {
                return Err(Error::foreign(target));
            }
            let read: Certificate = serde_json::to_value(&object)
                .and_then(serde_json::from_value)
                .map_err(|error| errors::translate(&doing, &kube::Error::SerdeError(error)))?;
            if read.issuance() != Issuance::Failed {
                return Ok(false);
            }
            mark_for_reissue(&mut object.data["status"], &read, Utc::now());
            let doing = format!("ask for another attempt at {target}");
            match answered(&doing, api.replace_status(name, &PostParams::default(), &object)).await? {
                Ok(_) => return Ok(true),
                Err(status) if status.is_conflict() => {}
                Err(status) => return Err(errors::refused(&doing, &status)),
            }
        }
        Err(Error::retryable("object_conflict", format!("{target} changes whenever it is looked at"))
            .next("Something else changes its status; look at its managedFields for who."))
    }
}

/// Sets the condition `Issuing` in the status.
fn mark_for_reissue(status: &mut Value, certificate: &Certificate, now: DateTime<Utc>) {
    // cert-manager takes a request that failed in the same second for the present attempt's own; its times have no
    // fractions.
    let failed = certificate.status.as_ref().and_then(|status| status.last_failure_time);
    let since = failed.map_or(now, |failed| now.max(failed + TimeDelta::seconds(1)));
    let issuing = json!({
        "type": ISSUING,
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "Certificate re-issuance manually triggered",
        "lastTransitionTime": since.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        "observedGeneration": certificate.metadata.generation,
    });
    match status["conditions"].as_array_mut() {
        Some(conditions) => {
            conditions.retain(|condition| condition["type"] != ISSUING);
            conditions.push(issuing);
        }
        None => status["conditions"] = json!([issuing]),
    }
}

#[cfg(test)]
mod tests;
