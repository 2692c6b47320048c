//! The objects, built from the plan alone.

use std::collections::BTreeMap;

use cluster::Objects;
use k8s_openapi::api::core::v1::{
    LimitRange, LimitRangeItem, LimitRangeSpec, Namespace, ResourceQuota, ResourceQuotaSpec, ServiceAccount,
};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::ObjectMeta;
use model::platform::Quota;

use crate::{LIMITS, Plan, QUOTA, SERVICE_ACCOUNT};

pub(crate) fn namespace(plan: &Plan) -> Namespace {
    Namespace {
        metadata: ObjectMeta {
            name: Some(plan.namespace.to_string()),
            labels: Some(plan.labels.clone()),
            annotations: Some(plan.annotations.clone()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }
}

/// What is in it, in the order of its making.
pub(crate) fn within_namespace(plan: &Plan) -> Objects {
    let objects = Objects::default()
        // Pods that name no account get `default`; they shall hold no credential of the API server.
        .adjust("service account", &default_account(plan))
        .apply("service account", &service_account(plan))
        .undone_as("ServiceAccount")
        .apply("rbac", &role(plan))
        .undone_as("Role")
        .apply("rbac", &role_binding(plan))
        .undone_as("RoleBinding");
    let namespace = Some(plan.namespace.as_str());
    // The defaults first: under a quota, a pod whose containers say nothing is refused. Another tier's plan may have made
    // them where this one has none.
    match &plan.quota {
        Some(hard) => objects
            .apply("quota", &limits(plan))
            .undone_as("LimitRange")
            .apply("quota", &quota(plan, hard))
            .undone_as("ResourceQuota"),
        None => objects
            .elsewhere::<LimitRange>("quota", namespace, LIMITS)
            .undone_as("LimitRange")
            .elsewhere::<ResourceQuota>("quota", namespace, QUOTA)
            .undone_as("ResourceQuota"),
    }
}

fn within(plan: &Plan, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(plan.namespace.to_string()),
        labels: Some(plan.labels.clone()),
        ..ObjectMeta::default()
    }
}

pub(crate) fn service_account(plan: &Plan) -> ServiceAccount {
    ServiceAccount { metadata: within(plan, SERVICE_ACCOUNT), ..ServiceAccount::default() }
}

/// Kubernetes makes this one in every namespace; only the one field is ours.
pub(crate) fn default_account(plan: &Plan) -> ServiceAccount {
    ServiceAccount {
        metadata: ObjectMeta { labels: None, ..within(plan, "default") },
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// What a workload may see of its own namespace, to find its neighbours; Secrets reach it by mount or not at all.
pub(crate) fn role(plan: &Plan) -> Role {
    let may_read = |group: &str, resources: &[&str]| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(resources.iter().map(ToString::to_string).collect()),
        verbs: ["get", "list", "watch"].map(String::from).to_vec(),
        ..PolicyRule::default()
    };
    Role {
        metadata: within(plan, SERVICE_ACCOUNT),
        rules: Some(vec![
            may_read("", &["pods", "services", "configmaps", "endpoints"]),
            may_read("discovery.k8s.io", &["endpointslices"]),
        ]),
    }
}

pub(crate) fn role_binding(plan: &Plan) -> RoleBinding {
    RoleBinding {
        metadata: within(plan, SERVICE_ACCOUNT),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".into()),
            kind: "Role".into(),
            name: SERVICE_ACCOUNT.into(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: SERVICE_ACCOUNT.into(),
            namespace: Some(plan.namespace.to_string()),
            ..Subject::default()
        }]),
    }
}

fn quantities(pairs: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), Quantity((*value).to_owned()))).collect()
}

pub(crate) fn quota(plan: &Plan, quota: &Quota) -> ResourceQuota {
    ResourceQuota {
        metadata: within(plan, QUOTA),
        spec: Some(ResourceQuotaSpec {
            hard: Some(quantities(&[
                ("requests.cpu", &quota.requests_cpu),
                ("limits.cpu", &quota.limits_cpu),
                ("requests.memory", &quota.requests_memory),
                ("limits.memory", &quota.limits_memory),
                ("pods", &quota.pods.to_string()),
            ])),
            ..ResourceQuotaSpec::default()
        }),
        ..ResourceQuota::default()
    }
}

/// What a container gets that says nothing: little, so that a forgotten value does not eat the tenant's quota.
pub(crate) fn limits(plan: &Plan) -> LimitRange {
    LimitRange {
        metadata: within(plan, LIMITS),
        spec: Some(LimitRangeSpec {
            limits: vec![LimitRangeItem {
                type_: "Container".into(),
                default_request: Some(quantities(&[("cpu", "100m"), ("memory", "128Mi")])),
                default: Some(quantities(&[("cpu", "150m"), ("memory", "256Mi")])),
                ..LimitRangeItem::default()
            }],
        }),
    }
}
