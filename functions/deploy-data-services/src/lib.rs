//! DEPLOY_DATA_SERVICES: the services that make the core a whole analytics platform, as Helm releases of the tenant.
//!
//! Reads: the namespace (CREATE_NAMESPACE), the Secret `tenant-database-credentials` (SETUP_DATABASE) and the releases of
//! DEPLOY_CORE_SERVICES, by their names.
//! Makes: six releases, each once what it depends on is ready, and waits until all their pods are ready.
//! Fails with: `foreign_object`, `chart_not_found`, `chart_invalid`, `quota_exceeded`, `helm_failed`, `not_ready`.
//! Undo: uninstalls the releases in reverse order, so that nothing runs without what it depends on.

use engine::phase::{Checkpoints, Clients, Phase, Progress, Result, Step};
use helm::services::{self, Service, Services};
pub use helm::services::{Checkpoint, Plan};
use model::platform::Platform;
use model::{PhaseName, Tenant};

/// Provisioning reference, phase 5, "Deployment Order", with the dependencies it gives.
const SERVICES: [Service; 6] = [
    Service { name: "pipeline-service", needs: &[] },
    Service { name: "semantic-layer", needs: &["catalog-service"] },
    Service { name: "bi-service", needs: &["semantic-layer", "query-engine"] },
    Service { name: "data-quality-service", needs: &["catalog-service"] },
    Service { name: "ml-service", needs: &["query-engine"] },
    Service { name: "render-service", needs: &["bi-service"] },
];

/// The phase.
#[derive(Debug)]
pub struct DeployDataServices {
    services: Services,
}

engine::runtime_phase!(DeployDataServices);

impl Phase for DeployDataServices {
    const NAME: PhaseName = PhaseName::new("DEPLOY_DATA_SERVICES");
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
