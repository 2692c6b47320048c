//! The objects of this phase.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvFromSource, PodSecurityContext, PodSpec, PodTemplateSpec,
    ResourceRequirements, SeccompProfile, Secret, SecretEnvSource, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ObjectMeta;
use model::secret;
use model::{Namespace, RunId};
use rand::TryRngCore as _;
use rand::distr::{Alphanumeric, SampleString as _};
use rand::rngs::OsRng;
use tenant_api_client::Credentials;

use crate::Plan;

/// Characters of a password: 40 alphanumerics hold 238 bits, and need no quoting anywhere.
const PASSWORD_LENGTH: usize = 40;

/// Longest time for the Job, which includes a slow pull of its image.
const JOB_WITHIN: i64 = 300;

/// How long a finished Job stays for those who want to see its log.
const JOB_KEPT: i32 = 600;

/// The unprivileged user of distroless images.
const NOBODY: i64 = 65_532;

/// A new password, from the operating system's randomness.
pub fn password() -> secret::Secret {
    secret::Secret::new(Alphanumeric.sample_string(&mut OsRng.unwrap_err(), PASSWORD_LENGTH))
}

/// The Secret with the six keys.
pub fn secret(plan: &Plan, namespace: &Namespace, credentials: &Credentials) -> Secret {
    let values = credentials.values();
    let data = values.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())));
    Secret {
        metadata: meta(namespace, &plan.secret),
        type_: Some("Opaque".to_owned()),
        data: Some(data.into()),
        ..Secret::default()
    }
}

/// The name of a run's Job. A Job is never changed, so each run has its own.
pub fn job_name(run: RunId) -> String {
    format!("check-database-{}", &run.0.simple().to_string()[20..])
}

/// The annotation that says which attempt of the phase a Job belongs to.
pub fn attempt_key(plan: &Plan) -> String {
    format!("{}/attempt", plan.label_prefix)
}

/// The Job that logs in with the Secret's values from within the namespace.
pub fn job(plan: &Plan, namespace: &Namespace, run: RunId, attempt: &str) -> Job {
    let mut metadata = meta(namespace, &job_name(run));
    metadata.annotations = Some(BTreeMap::from([(attempt_key(plan), attempt.to_owned())]));
    let security = SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    };
    let container = Container {
        name: "check-database".to_owned(),
        image: Some(plan.check_image.clone()),
        command: Some(vec!["check-database".to_owned()]),
        env_from: Some(vec![EnvFromSource {
            secret_ref: Some(SecretEnvSource { name: plan.secret.clone(), optional: None }),
            ..EnvFromSource::default()
        }]),
        resources: Some(ResourceRequirements {
            requests: Some(amounts("50m", "32Mi")),
            limits: Some(amounts("200m", "64Mi")),
            ..ResourceRequirements::default()
        }),
        security_context: Some(security),
        // Its last words are then the pod's, and so the phase's.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    };
    let pod = PodSpec {
        automount_service_account_token: Some(false),
        containers: vec![container],
        restart_policy: Some("Never".to_owned()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NOBODY),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    };
    Job {
        metadata,
        spec: Some(JobSpec {
            // Attempts are counted by the engine, where an operator sees them.
            backoff_limit: Some(0),
            active_deadline_seconds: Some(JOB_WITHIN),
            ttl_seconds_after_finished: Some(JOB_KEPT),
            template: PodTemplateSpec { metadata: None, spec: Some(pod) },
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn meta(namespace: &Namespace, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_string()),
        ..ObjectMeta::default()
    }
}

fn amounts(cpu: &str, memory: &str) -> BTreeMap<String, Quantity> {
    let amount = |name: &str, amount: &str| (name.to_owned(), Quantity(amount.to_owned()));
    BTreeMap::from([amount("cpu", cpu), amount("memory", memory)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_plain_and_never_the_same() {
        let (one, other) = (password(), password());
        assert!(one.expose().len() >= 32 && one.expose().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(!one.matches(other.expose()));
    }
}
