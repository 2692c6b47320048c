//! The pod: as the profile `restricted` of the Kubernetes pod security standards wants it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, HTTPGetAction, PodSecurityContext,
    PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource,
    SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::ObjectMeta;

use super::{INTERNAL_SECRET, JOBS_SECRET, NAME, PORT, PORT_NAME, selector};
use crate::Plan;

/// Where the instance finds the login to its database.
pub(crate) const DATABASE_FOLDER: &str = "/var/run/tenantry/database";
/// Where it finds what it accepts as internal secrets.
pub(crate) const INTERNAL_FOLDER: &str = "/var/run/tenantry/internal";
/// Where it finds the login to its job broker; empty where it has none.
pub(crate) const JOBS_FOLDER: &str = "/var/run/tenantry/jobs";
/// Where it finds its licence.
pub(crate) const LICENSE_FOLDER: &str = "/var/run/tenantry/license";

/// The Secret that ISSUE_LICENSE writes.
const LICENSE_SECRET: &str = "tenant-api-license";

/// Where it writes exports. They go with the pod, and so with the tenant; another is made when it is asked for.
pub(crate) const STORAGE_FOLDER: &str = "/var/lib/tenant-api/storage";

/// The unprivileged user of distroless images, and the group that may read the mounted Secrets.
const NOBODY: i64 = 65_532;

/// Seconds that the process may take to start, images pulled: as many tries of one each 2 s.
const STARTED_WITHIN: i32 = 120;

pub(super) fn template(plan: &Plan) -> PodTemplateSpec {
    let mut labels = plan.pod_labels.clone();
    labels.extend(selector());
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            service_account_name: Some(NAME.to_owned()),
            automount_service_account_token: Some(false),
            // Environment variables named after the namespace's Services say nothing that is wanted.
            enable_service_links: Some(false),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(NOBODY),
                run_as_group: Some(NOBODY),
                fs_group: Some(NOBODY),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".into(),
                    ..SeccompProfile::default()
                }),
                ..PodSecurityContext::default()
            }),
            containers: vec![container(plan)],
            volumes: Some(vec![
                // Written by SETUP_DATABASE, after the pod has started: the kubelet then fills the folder.
                secret_volume("database", &plan.database_secret, true),
                secret_volume("internal", INTERNAL_SECRET, false),
                secret_volume("jobs", JOBS_SECRET, plan.jobs.is_none()),
                // Written by ISSUE_LICENSE, after the pod has started, and again with every licence.
                secret_volume("license", LICENSE_SECRET, true),
                scratch_volume("storage", "2Gi"),
            ]),
            ..PodSpec::default()
        }),
    }
}

fn container(plan: &Plan) -> Container {
    let size = &plan.size;
    let environment = plan.environment.iter().map(|(name, value)| EnvVar {
        name: name.clone(),
        value: Some(value.clone()),
        ..EnvVar::default()
    });
    let mount = |name: &str, path: &str, read_only| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    };
    Container {
        name: NAME.to_owned(),
        image: Some(plan.image.clone()),
        env: Some(environment.collect()),
        ports: Some(vec![ContainerPort {
            name: Some(PORT_NAME.into()),
            container_port: PORT,
            ..ContainerPort::default()
        }]),
        // Alive is not ready: without its database it is the former only, and must not be started again for that.
        startup_probe: Some(probe("/healthz", 2, STARTED_WITHIN / 2)),
        liveness_probe: Some(probe("/healthz", 10, 3)),
        readiness_probe: Some(probe("/readyz", 5, 3)),
        resources: Some(ResourceRequirements {
            requests: Some(amounts(&size.requests_cpu, &size.requests_memory)),
            limits: Some(amounts(&size.limits_cpu, &size.limits_memory)),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![
            mount("database", DATABASE_FOLDER, true),
            mount("internal", INTERNAL_FOLDER, true),
            mount("jobs", JOBS_FOLDER, true),
            mount("license", LICENSE_FOLDER, true),
            mount("storage", STORAGE_FOLDER, false),
        ]),
        // Its last words are then the pod's, and so the phase's.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    }
}

fn probe(path: &str, every: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(PORT_NAME.into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(every),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn scratch_volume(name: &str, size: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(size.to_owned())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn secret_volume(name: &str, secret: &str, optional: bool) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            optional: Some(optional),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn amounts(cpu: &str, memory: &str) -> BTreeMap<String, Quantity> {
    let amount = |name: &str, amount: &str| (name.to_owned(), Quantity(amount.to_owned()));
    BTreeMap::from([amount("cpu", cpu), amount("memory", memory)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{planned, platform, tenant};
    use model::Tier;
    use serde_json::{Value, json};

    #[test]
    fn every_pod_reads_the_licence_from_the_secret() {
        let plan = planned(&tenant(Tier::Free), &platform()).unwrap();
        let pod = serde_json::to_value(template(&plan)).unwrap();
        let container = &pod["spec"]["containers"][0];
        let of = |list: &Value, key: &str, name: &str| {
            let mut found = list.as_array().unwrap().iter().filter(|one| one[key] == name);
            (found.next().cloned(), found.count())
        };
        let folder = json!({ "name": "LICENSE_SECRET_DIR", "value": "/var/run/tenantry/license" });
        assert_eq!(of(&container["env"], "name", "LICENSE_SECRET_DIR"), (Some(folder), 0));
        let mount = json!({ "name": "license", "mountPath": "/var/run/tenantry/license", "readOnly": true });
        assert_eq!(of(&container["volumeMounts"], "name", "license"), (Some(mount), 0));
        let volume = json!({ "name": "license", "secret": {
            "secretName": "tenant-api-license", "optional": true, "defaultMode": 0o440,
        } });
        assert_eq!(of(&pod["spec"]["volumes"], "name", "license"), (Some(volume), 0));
        // Its file system is read-only: nothing is kept where nothing is mounted.
        assert_eq!(of(&container["env"], "name", "LICENSE_DIR"), (None, 0));
    }
}
