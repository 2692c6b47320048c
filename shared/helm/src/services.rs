//! A set of the tenant's services, deployed in the order of what they need and removed in reverse: what the two phases
//! that deploy services share.

use cluster::{Cluster, Deployments};
use engine::phase::{Error, Progress, Result, Step};
use model::platform::{Platform, Seconds};
use model::{Namespace, RunId, Tenant, Tier};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Helm, Release};

/// The account that CREATE_NAMESPACE makes for the tenant's workloads.
const SERVICE_ACCOUNT: &str = "tenant-workload";
/// The Secret that SETUP_DATABASE makes.
const DATABASE_SECRET: &str = "tenant-database-credentials";
/// The collector that SETUP_OBSERVABILITY makes. Until then nobody takes telemetry in, and its senders drop it.
const COLLECTOR: &str = "http://otel-collector:4318";

/// A service by its chart's name, and those that must be ready before it is installed.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Chart, release, Deployment, Service and image have this name.
    pub name: &'static str,
    /// Services of this or an earlier phase.
    pub needs: &'static [&'static str],
}

/// What will be deployed, in this order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The tenant's namespace.
    pub namespace: Namespace,
    /// The releases; each stands after what it needs.
    pub releases: Vec<Planned>,
    /// How long the phase may wait for readiness, in all.
    pub ready_within: Seconds,
    /// Before the `/` in the labels that carry ownership.
    pub label_prefix: String,
}

/// One release of a plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Planned {
    /// The release's name, and the chart's.
    pub name: String,
    /// The chart's exact version.
    pub version: String,
    /// Where the chart is.
    pub repository_url: String,
    /// The chart's values; secrets only by reference.
    pub values: Value,
    /// What must be ready first.
    pub needs: Vec<String>,
}

/// What was deployed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// In the order of their installation.
    pub releases: Vec<Installed>,
}

/// One release of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The release's name.
    pub name: String,
    /// The run that first installed it: only that run's rollback takes it away.
    pub created_by: Option<RunId>,
}

/// Plans a release for each service. Pure.
pub fn plan(tenant: &Tenant, platform: &Platform, services: &[Service]) -> Result<Plan> {
    if platform.charts.repository_url.is_empty() {
        return Err(Error::fatal("platform_incomplete", "charts.repository_url is empty")
            .next("Set charts.repository_url in the platform file, then retry."));
    }
    let releases = services.iter().map(|service| Planned {
        name: service.name.to_owned(),
        version: platform.charts.version.clone(),
        repository_url: platform.charts.repository_url.clone(),
        values: values(tenant, platform, service.name),
        needs: service.needs.iter().map(|need| (*need).to_owned()).collect(),
    });
    Ok(Plan {
        namespace: platform.namespace(&tenant.slug),
        releases: releases.collect(),
        ready_within: platform.charts.ready_within,
        label_prefix: platform.label_prefix.clone(),
    })
}

/// The values of one service ("Helm Release Configuration" of the provisioning reference). Every object and pod carries
/// the tenant's id, so that what outlives its release is still found by its owner.
fn values(tenant: &Tenant, platform: &Platform, service: &str) -> Value {
    let ownership = json!({ (platform.label("tenant-id")): tenant.id });
    json!({
        "fullnameOverride": service,
        "serviceAccountName": SERVICE_ACCOUNT,
        "replicaCount": i32::from(!tenant.suspended),
        "image": {
            "repository": format!("{}/{service}", platform.charts.image_registry),
            "tag": platform.charts.image_tag,
        },
        "env": [
            { "name": "TENANT_ID", "value": tenant.id },
            { "name": "DATABASE_URL", "valueFrom": {
                "secretKeyRef": { "name": DATABASE_SECRET, "key": "DATABASE_URL" },
            } },
            // The names that OpenTelemetry's libraries read.
            { "name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": COLLECTOR },
            { "name": "OTEL_SERVICE_NAME", "value": service },
        ],
        "resources": resources(tenant.tier),
        "commonLabels": ownership,
        "podLabels": ownership,
    })
}

/// One service's share of its tier's quota. Free's is what is left for each of twelve pods when one more may surge;
/// professional's is the reference's example, which fits its quota; enterprise has no quota.
fn resources(tier: Tier) -> Value {
    let ((cpu, memory), (cpu_limit, memory_limit)) = match tier {
        Tier::Free => (("100m", "192Mi"), ("150m", "512Mi")),
        Tier::Professional => (("250m", "512Mi"), ("1000m", "1Gi")),
        Tier::Enterprise => (("500m", "1Gi"), ("2000m", "2Gi")),
    };
    json!({
        "requests": { "cpu": cpu, "memory": memory },
        "limits": { "cpu": cpu_limit, "memory": memory_limit },
    })
}

/// Deploys sets of services.
#[derive(Debug)]
pub struct Services {
    helm: Helm,
    cluster: Cluster,
}

impl Services {
    /// With helm, and the cluster that the platform is seen in.
    pub async fn connect(platform: &Platform) -> Result<Self> {
        let cluster = Cluster::of(platform).await?;
        Ok(Self { helm: Helm::connect(&cluster)?, cluster })
    }

    /// Installs each release once what it needs is ready, and is done when all are ready. Called again, it changes only
    /// what is not as planned. Fails with `not_ready` when the wait budget is spent.
    pub async fn deploy(&self, plan: &Plan, step: &Step) -> Result<Progress<Checkpoint>> {
        let mut ready: Vec<&str> = Vec::new();
        let mut installed = Vec::new();
        for planned in &plan.releases {
            for need in &planned.needs {
                self.await_ready(plan, need, &mut ready, step).await?;
            }
            let release = Release {
                namespace: plan.namespace.clone(),
                name: planned.name.clone(),
                chart: planned.name.clone(),
                version: planned.version.clone(),
                repository_url: planned.repository_url.clone(),
                values: planned.values.clone(),
                label_prefix: plan.label_prefix.clone(),
            };
            let install = self.helm.ensure_release(&release, step.owner(), step);
            let ensured = step.operation(&format!("install {}", planned.name), install).await?;
            installed.push(Installed { name: planned.name.clone(), created_by: ensured.created_by });
        }
        for planned in &plan.releases {
            self.await_ready(plan, &planned.name, &mut ready, step).await?;
        }
        Ok(Progress::Done(Checkpoint { releases: installed }))
    }

    /// Uninstalls in reverse order what is ours and may go.
    pub async fn remove(&self, plan: &Plan, step: &Step) -> Result<Progress<()>> {
        for planned in plan.releases.iter().rev() {
            let name = &planned.name;
            let (namespace, prefix) = (&plan.namespace, &plan.label_prefix);
            let uninstall = self.helm.ensure_uninstalled(namespace, name, prefix, step.owner(), step);
            step.wait_for(&format!("uninstall {name}"), uninstall).await?;
        }
        Ok(Progress::Done(()))
    }

    /// Parks until the service is ready, or fails when the phase has been parked for longer than it may.
    async fn await_ready<'a>(
        &self,
        plan: &Plan,
        name: &'a str,
        ready: &mut Vec<&'a str>,
        step: &Step,
    ) -> Result<()> {
        if ready.contains(&name) {
            return Ok(());
        }
        let look = self.cluster.ready(plan.namespace.as_str(), Deployments::Release(name));
        step.wait_within(&format!("{name} ready"), plan.ready_within, look, |late| {
            Error::retryable("not_ready", late).next(
                "Look at the pods' events and logs; raise charts.ready_within if they only need longer.",
            )
        })
        .await?;
        ready.push(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thousandths of a CPU, or bytes.
    fn quantity(text: &str) -> u64 {
        let number = |suffix: &str| text.strip_suffix(suffix).and_then(|number| number.parse::<u64>().ok());
        number("m")
            .or_else(|| number("Mi").map(|n| n << 20))
            .or_else(|| number("Gi").map(|n| n << 30))
            .or_else(|| text.parse::<u64>().ok().map(|n| n * 1000))
            .unwrap_or_else(|| panic!("quantity {text}"))
    }

    fn of(resources: &Value) -> [u64; 4] {
        [("requests", "cpu"), ("limits", "cpu"), ("requests", "memory"), ("limits", "memory")]
            .map(|(kind, what)| quantity(resources[kind][what].as_str().unwrap()))
    }

    #[test]
    fn every_tier_holds_all_its_pods_and_one_more() {
        let platform = Platform::default();
        // The pods of the ingress controller with the reference's values, and Alertmanager.
        let controller = &platform.ingress.values["controller"];
        let controllers = usize::try_from(controller["replicaCount"].as_u64().unwrap()).unwrap();
        let alertmanager = json!({ "requests": { "cpu": "50m", "memory": "96Mi" }, "limits": { "cpu": "100m", "memory": "256Mi" } });
        for (tier, quota) in &platform.quotas {
            let service = resources(*tier);
            let (_, size) = platform.tenant_api.of(*tier).unwrap();
            let tenant_api =
                [&size.requests_cpu, &size.limits_cpu, &size.requests_memory, &size.limits_memory]
                    .map(|amount| quantity(amount));
            // Nine services; Prometheus, Grafana and the collector are held to the same size.
            let mut pods: Vec<[u64; 4]> = vec![of(&service); 12];
            pods.extend(vec![tenant_api; usize::try_from(size.replicas).unwrap()]);
            pods.push(of(&alertmanager));
            pods.extend(vec![of(&controller["resources"]); controllers]);
            // A change of any one of them brings one more pod for a while; the largest counts.
            let surge = |kind: usize| pods.iter().map(|pod| pod[kind]).max().unwrap();
            let room = [&quota.requests_cpu, &quota.limits_cpu, &quota.requests_memory, &quota.limits_memory];
            for (kind, room) in room.into_iter().enumerate() {
                let needed = pods.iter().map(|pod| pod[kind]).sum::<u64>() + surge(kind);
                assert!(needed <= quantity(room), "{tier}: kind {kind} needs {needed}, has {room}");
            }
            assert!(pods.len() < quota.pods as usize, "{tier}: pods");
        }
    }
}
