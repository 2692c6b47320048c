//! DEPLOY_CORE_SERVICES: the services that make the smallest useful data plane, as Helm releases of the tenant.
//!
//! Reads: the namespace (CREATE_NAMESPACE) and the Secret `tenant-database-credentials` (SETUP_DATABASE), by their names.
//! Makes: the releases `query-engine`, `ai-service`, `catalog-service`, and waits until their pods are ready.
//! Fails with: `foreign_object`, `chart_not_found`, `chart_invalid`, `quota_exceeded`, `helm_failed`, `not_ready`.
//! Undo: uninstalls the releases in reverse order.

use engine::phase::{Checkpoints, Clients, Phase, Progress, Result, Step};
use helm::services::{self, Service, Services};
pub use helm::services::{Checkpoint, Plan};
use model::platform::Platform;
use model::{PhaseName, Tenant};

/// Provisioning reference, phase 3, "Services Deployed". None is said to need another.
const SERVICES: [Service; 3] = [
    Service { name: "query-engine", needs: &[] },
    Service { name: "ai-service", needs: &[] },
    Service { name: "catalog-service", needs: &[] },
];

/// The phase.
#[derive(Debug)]
pub struct DeployCoreServices {
    services: Services,
}

engine::runtime_phase!(DeployCoreServices);

impl Phase for DeployCoreServices {
    const NAME: PhaseName = PhaseName::new("DEPLOY_CORE_SERVICES");
    type Plan = Plan;
    type Checkpoint = Checkpoint;

    async fn connect(clients: &impl Clients) -> Result<Self> {
        Ok(Self { services: Services::connect(clients.platform()).await? })
    }

    fn plan(&self, tenant: &Tenant, platform: &Platform, _: &Checkpoints) -> Result<Plan> {
        services::plan(tenant, platform, &SERVICES)
    }

    async fn apply(&self, plan: &Plan, step: &Step) -> Result<Progress<Checkpoint>> {
        self.services.deploy(plan, step).await
    }

    async fn revert(&self, plan: &Plan, _: Option<&Checkpoint>, step: &Step) -> Result<Progress<()>> {
        self.services.remove(plan, step).await
    }
}
