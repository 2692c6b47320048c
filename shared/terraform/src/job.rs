//! A run of tofu as a Kubernetes Job in the control plane's namespace. Its name is the lock; what it is given comes in a Secret
//! of the same name, its outcome is its container's termination message, and its progress the end of its log.

use std::collections::BTreeMap;

use cluster::{Cluster, Owned, Target, call, find};
use engine::phase::{Owner, Progress, Result, Scope};
use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvVar, Pod, PodSecurityContext, PodSpec, PodTemplateSpec,
    ResourceRequirements, SeccompProfile, Secret, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Api;
use kube::ResourceExt as _;
use kube::api::{ListParams, LogParams, ObjectMeta};
use model::platform::{Seconds, TerraformJob};

use super::execute::PROGRESS;
use super::outcome::{LOOK_AGAIN, Outcome, State};
use super::work::Work;

/// The unprivileged user of distroless images.
const NOBODY: i64 = 65_532;

/// How much later than our own deadline the cluster ends a Job. By then it has told tofu to stop, and killed it.
const GRACE: i64 = 120;

/// Lines of the log that are looked through for the newest progress.
const LINES: i64 = 20;

const WORK: &str = "work";
const DATA: &str = "data";

/// The control plane's namespace.
#[derive(Clone, Debug)]
pub(super) struct Jobs {
    cluster: Cluster,
    owned: Owned,
    namespace: String,
    settings: TerraformJob,
    deadline: Seconds,
    /// The annotation with the id of the work.
    key: String,
}

impl Jobs {
    pub fn new(
        cluster: &Cluster,
        owner: &Owner,
        label_prefix: &str,
        namespace: &str,
        settings: &TerraformJob,
        deadline: Seconds,
    ) -> Self {
        // A Job that has ended stands in the way of whatever begins next, whichever run has made it.
        let owner = Owner { scope: Scope::Tenant, ..owner.clone() };
        Self {
            cluster: cluster.clone(),
            owned: cluster.owned_by(&owner, label_prefix),
            namespace: namespace.to_owned(),
            settings: settings.clone(),
            deadline,
            key: format!("{label_prefix}/terraform-work"),
        }
    }

    /// What goes on under the name. A Job has ended only when its pods have.
    pub async fn look(&self, name: &str) -> Result<State> {
        let jobs: Api<Job> = Api::namespaced(self.cluster.client(), &self.namespace);
        let doing = format!("read Job {}/{name}", self.namespace);
        let Some(job) = find(&doing, jobs.get(name)).await? else { return Ok(State::Nothing) };
        if job.metadata.deletion_timestamp.is_some() {
            return Ok(State::Running("its pod is being removed".into()));
        }
        let pods: Api<Pod> = Api::namespaced(self.cluster.client(), &self.namespace);
        let how = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={name}"));
        let found = call(&format!("list pods of {name}"), pods.list(&how)).await?.items;
        if !ended(&job) {
            return Ok(State::Running(self.progress(&pods, &found).await));
        }
        let id = job.annotations().get(&self.key).cloned().unwrap_or_default();
        let outcome = found.iter().find_map(outcome).filter(|outcome| outcome.id == id);
        Ok(outcome.map_or(State::Killed(id), |outcome| State::Ended(Box::new(outcome))))
    }

    async fn progress(&self, pods: &Api<Pod>, found: &[Pod]) -> String {
        let Some(pod) = found.first() else { return "its pod is not there yet".into() };
        if let Some(why) = waits_for(pod) {
            return why;
        }
        // For people only: a log that cannot be read is no reason to fail.
        let how = LogParams { tail_lines: Some(LINES), ..LogParams::default() };
        let log = call("read the log", pods.logs(&pod.name_any(), &how)).await.unwrap_or_default();
        let told = log.lines().rev().find_map(|line| line.strip_prefix(PROGRESS));
        told.unwrap_or("begins").to_owned()
    }

    /// Starts a work. Of two starts at once, one is none.
    pub async fn start(&self, name: &str, work: &Work) -> Result<()> {
        self.owned.ensure(&self.secret(name, work)).await?;
        self.owned.ensure_kept(&self.job(name, work)).await?;
        Ok(())
    }

    /// Takes away the Job, if it has ended, and its Secret.
    pub async fn forget(&self, name: &str) -> Result<Progress<()>> {
        if let State::Running(progress) = self.look(name).await? {
            return Ok(Progress::wait(LOOK_AGAIN, format!("{name} ({progress})")));
        }
        self.owned.ensure_deleted(&Target::of::<Job>(Some(&self.namespace), name)).await?.or_park()?;
        self.forget_secret(name).await
    }

    /// Takes away what a work was given.
    pub async fn forget_secret(&self, name: &str) -> Result<Progress<()>> {
        self.owned.ensure_deleted(&Target::of::<Secret>(Some(&self.namespace), name)).await
    }

    fn meta(&self, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.clone()),
            ..ObjectMeta::default()
        }
    }

    fn secret(&self, name: &str, work: &Work) -> Secret {
        let text = ByteString(work.to_text().expose().as_bytes().to_vec());
        Secret {
            metadata: self.meta(name),
            type_: Some("Opaque".into()),
            data: Some([(WORK.to_owned(), text)].into()),
            ..Secret::default()
        }
    }

    fn job(&self, name: &str, work: &Work) -> Job {
        let mut metadata = self.meta(name);
        metadata.annotations = Some([(self.key.clone(), work.id.clone())].into());
        #[expect(clippy::cast_possible_truncation, reason = "seconds of a deadline")]
        let deadline = self.deadline.0 as i64 + GRACE;
        Job {
            metadata,
            spec: Some(JobSpec {
                // It is begun again by whoever knows what is to be done by then.
                backoff_limit: Some(0),
                active_deadline_seconds: Some(deadline),
                template: PodTemplateSpec {
                    metadata: Some(ObjectMeta {
                        labels: Some(self.settings.pod_labels.clone()).filter(|labels| !labels.is_empty()),
                        ..ObjectMeta::default()
                    }),
                    spec: Some(self.pod(name)),
                },
                ..JobSpec::default()
            }),
            ..Job::default()
        }
    }

    fn environment(&self) -> Vec<EnvVar> {
        let one = |(name, value): (&String, &String)| EnvVar {
            name: name.clone(),
            value: Some(value.clone()),
            ..EnvVar::default()
        };
        self.settings.environment.iter().map(one).collect()
    }

    fn pod(&self, name: &str) -> PodSpec {
        let mount = |name: &str, path: &str, read_only| VolumeMount {
            name: name.into(),
            mount_path: path.into(),
            read_only: Some(read_only),
            ..VolumeMount::default()
        };
        let container = Container {
            name: "terraform".into(),
            image: Some(self.settings.image.clone()),
            command: Some(
                ["run-terraform", "/work/work", "/dev/termination-log", "/data/tofu"].map(Into::into).into(),
            ),
            env: Some(self.environment()).filter(|variables| !variables.is_empty()),
            resources: Some(ResourceRequirements {
                requests: Some(amounts("250m", "256Mi")),
                limits: Some(amounts("1", "1Gi")),
                ..ResourceRequirements::default()
            }),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                capabilities: Some(Capabilities {
                    drop: Some(vec!["ALL".into()]),
                    ..Capabilities::default()
                }),
                read_only_root_filesystem: Some(true),
                ..SecurityContext::default()
            }),
            volume_mounts: Some(vec![
                mount(WORK, "/work", true),
                mount(DATA, "/data", false),
                mount("tmp", "/tmp", false),
            ]),
            ..Container::default()
        };
        let empty = |name: &str| Volume {
            name: name.into(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        };
        let work = Volume {
            name: WORK.into(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(name.to_owned()),
                default_mode: Some(0o440),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        };
        PodSpec {
            restart_policy: Some("Never".into()),
            service_account_name: Some(self.settings.service_account.clone()),
            // A cloud's workload identity brings a token of its own.
            automount_service_account_token: Some(false),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(NOBODY),
                run_as_group: Some(NOBODY),
                fs_group: Some(NOBODY),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".into(),
                    localhost_profile: None,
                }),
                ..PodSecurityContext::default()
            }),
            containers: vec![container],
            volumes: Some(vec![work, empty(DATA), empty("tmp")]),
            ..PodSpec::default()
        }
    }
}

fn amounts(cpu: &str, memory: &str) -> BTreeMap<String, Quantity> {
    [("cpu".to_owned(), Quantity(cpu.into())), ("memory".to_owned(), Quantity(memory.into()))].into()
}

fn ended(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|one| ["Complete", "Failed"].contains(&one.type_.as_str()) && one.status == "True")
}

/// What a pod's program has left.
fn outcome(pod: &Pod) -> Option<Outcome> {
    let containers = pod.status.iter().flat_map(|status| &status.container_statuses).flatten();
    let mut messages =
        containers.filter_map(|container| container.state.as_ref()?.terminated.as_ref()?.message.as_deref());
    messages.find_map(|message| serde_json::from_str(message).ok())
}

/// Why a pod does not run yet.
fn waits_for(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let waiting = status.container_statuses.iter().flatten().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        Some((waiting.reason.as_deref(), waiting.message.as_deref()))
    });
    let unscheduled = || {
        let scheduled = status.conditions.iter().flatten().find(|one| one.type_ == "PodScheduled");
        let condition = scheduled.filter(|condition| condition.status == "False")?;
        Some((condition.reason.as_deref(), condition.message.as_deref()))
    };
    let (reason, message) = waiting.or_else(unscheduled)?;
    let words: Vec<&str> = [reason, message].into_iter().flatten().collect();
    Some(format!("pod {}: {}", pod.name_any(), words.join(": ")))
}
