//! Which share of the tier's quota each pod gets.

use model::Tier;
use serde_json::{Value, json};

use crate::Plan;

/// What a pod asks for and is held to: thousandths of a CPU, and MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) cpu: (u32, u32),
    pub(crate) memory: (u32, u32),
}

/// What the operator's config-reloader gets of its pod's share.
const RELOADER: Share = Share { cpu: (10, 20), memory: (32, 64) };

impl Share {
    /// As much as one of the tenant's services: on the free tier, what is left for each of twelve pods when one more may
    /// surge.
    pub(crate) fn of_a_service(tier: Tier) -> Self {
        match tier {
            Tier::Free => Self { cpu: (100, 150), memory: (192, 512) },
            Tier::Professional => Self { cpu: (250, 1000), memory: (512, 1024) },
            Tier::Enterprise => Self { cpu: (500, 2000), memory: (1024, 2048) },
        }
    }

    /// Alertmanager's, which fits beside all of them.
    pub(crate) const ALERTMANAGER: Self = Self { cpu: (50, 100), memory: (96, 256) };

    /// What is left beside another container of the same pod.
    pub(crate) fn without(self, other: Self) -> Self {
        Self {
            cpu: (self.cpu.0 - other.cpu.0, self.cpu.1 - other.cpu.1),
            memory: (self.memory.0 - other.memory.0, self.memory.1 - other.memory.1),
        }
    }

    /// As a container's resources.
    pub(crate) fn resources(self) -> Value {
        json!({
            "requests": { "cpu": format!("{}m", self.cpu.0), "memory": format!("{}Mi", self.memory.0) },
            "limits": { "cpu": format!("{}m", self.cpu.1), "memory": format!("{}Mi", self.memory.1) },
        })
    }
}

/// What the operator is told of a pod that it makes: one, or none while the tenant is suspended, of this share in all, that
/// may do little.
pub(crate) fn pod(plan: &Plan, name: &str, share: &Share) -> Value {
    json!({
        "replicas": i32::from(!plan.suspended),
        "resources": share.without(RELOADER).resources(),
        "containers": [{ "name": "config-reloader", "resources": RELOADER.resources() }],
        "initContainers": [{ "name": "init-config-reloader", "resources": RELOADER.resources() }],
        "podMetadata": { "labels": {
            (format!("{}/tenant-id", plan.label_prefix)): plan.tenant_id,
            (format!("{}/component", plan.label_prefix)): name,
        }},
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 1000, "fsGroup": 2000, "seccompProfile": { "type": "RuntimeDefault" },
        },
    })
}
