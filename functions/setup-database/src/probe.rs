//! Looking at the database from within the tenant's namespace: a Job, and what became of it.

use std::future::Future;
use std::time::Duration;

use cluster::{Cluster, Owned, Target};
use engine::phase::{Error, Progress, Result, Step};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use model::Namespace;
use serde_json::{Value, json};

use crate::{Plan, objects};

/// When to look at the Job again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Longest wait for one answer of the API server.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Done when the attempt's Job has succeeded; waits while it runs; retryable, with the pod's reason, when it failed.
pub async fn run(
    cluster: &Cluster,
    owned: &Owned,
    plan: &Plan,
    namespace: &Namespace,
    step: &Step,
) -> Result<Progress<Value>> {
    let owner = step.owner();
    // An earlier attempt's Job says nothing about the database of now.
    let attempt = format!("{}/{}", owner.run_id, step.failures());
    let wanted = objects::job(plan, namespace, owner.run_id, &attempt);
    owned.ensure_kept(&wanted).await?;
    let name = wanted.name_any();
    let target = Target::of::<Job>(Some(namespace.as_str()), &name);
    let jobs: Api<Job> = Api::namespaced(cluster.client(), namespace.as_str());
    let Some(job) = answered(&format!("read {target}"), jobs.get_opt(&name)).await? else {
        return Ok(Progress::wait(LOOK_AGAIN, format!("{target} went away; it is made again")));
    };
    if job.annotations().get(&objects::attempt_key(plan)) != Some(&attempt) {
        return Ok(match owned.ensure_deleted(&target).await? {
            Progress::Done(()) => Progress::wait(Duration::ZERO, format!("{target} of an earlier attempt")),
            Progress::Wait(wait) => Progress::Wait(wait),
        });
    }
    match outcome(&job) {
        Outcome::Succeeded => Ok(Progress::Done(json!({ "job": name, "image": plan.check_image }))),
        Outcome::Running => {
            let pods = pods(cluster, namespace, &name).await?;
            let why = pods.iter().find_map(waits_for).map(|why| format!(" ({why})")).unwrap_or_default();
            Ok(Progress::wait(LOOK_AGAIN, format!("{target} has not finished{why}")))
        }
        Outcome::Failed(reason) => {
            let pods = pods(cluster, namespace, &name).await?;
            let why = pods.iter().find_map(ended_with).unwrap_or(reason);
            Err(Error::retryable("database_check_failed", format!("{target}: {why}")).next(
                "Check that pods of the namespace reach the region's database with the Secret's values.",
            ))
        }
    }
}

enum Outcome {
    Running,
    Succeeded,
    Failed(String),
}

fn outcome(job: &Job) -> Outcome {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let is = |kind: &str| conditions.iter().find(|c| c.type_ == kind && c.status == "True");
    if is("Complete").is_some() {
        return Outcome::Succeeded;
    }
    let Some(failed) = is("Failed") else { return Outcome::Running };
    let words = [failed.reason.as_deref(), failed.message.as_deref()];
    Outcome::Failed(words.into_iter().flatten().collect::<Vec<_>>().join(": "))
}

async fn pods(cluster: &Cluster, namespace: &Namespace, job: &str) -> Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace.as_str());
    let how = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"));
    Ok(answered(&format!("list pods of Job {namespace}/{job}"), pods.list(&how)).await?.items)
}

/// Why a pod does not run yet.
fn waits_for(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let waiting = status.container_statuses.iter().flatten().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        Some((waiting.reason.as_deref(), waiting.message.as_deref()))
    });
    let unscheduled = || {
        let scheduled = status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled");
        let condition = scheduled.filter(|condition| condition.status == "False")?;
        Some((condition.reason.as_deref(), condition.message.as_deref()))
    };
    let (reason, message) = waiting.or_else(unscheduled)?;
    let words: Vec<&str> = [reason, message].into_iter().flatten().collect();
    Some(format!("pod {}: {}", pod.name_any(), words.join(": ")))
}

/// What a pod's program said at its end.
fn ended_with(pod: &Pod) -> Option<String> {
    let ended =
        pod.status.iter().flat_map(|status| &status.container_statuses).flatten().find_map(|container| {
            container.state.as_ref()?.terminated.as_ref().filter(|ended| ended.exit_code != 0)
        })?;
    let said = ended.message.as_deref().or(ended.reason.as_deref()).unwrap_or("no reason given").trim();
    Some(format!("pod {} ended with code {}: {said}", pod.name_any(), ended.exit_code))
}

async fn answered<T>(doing: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T> {
    let down = |why: String| {
        Error::unavailable("cluster", "cluster_unavailable", format!("{doing}: {why}"))
            .next("Bring the Kubernetes API server back; the run then continues on its own.")
    };
    match tokio::time::timeout(ANSWER_WITHIN, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) if status.code < 500 && ![401, 429].contains(&status.code) => {
            Err(Error::retryable("cluster_refused", format!("{doing}: {}", status.message))
                .next("Give this function's service account the permission that the message names."))
        }
        Ok(Err(error)) => Err(down(error.to_string())),
        Err(_) => Err(down("no answer within 30 s".to_owned())),
    }
}
