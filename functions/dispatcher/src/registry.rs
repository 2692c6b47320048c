//! The one list of phases: a phase that is not in it does not exist for the embedded invoker or the generic tests.

use std::sync::Arc;

use engine::runtime::{PhaseEntry, Runner};
use model::platform::Platform;
use tenants::Store;

static PHASES: &[&PhaseEntry] = &[
    &provisioning_infrastructure::PHASE,
    &create_namespace::PHASE,
    &provision_deployment::PHASE,
    &issue_license::PHASE,
    &setup_database::PHASE,
    &create_bootstrap_user::PHASE,
    &deploy_core_services::PHASE,
    &configure_networking::PHASE,
    &deploy_data_services::PHASE,
    &deploy_ingress_controller::PHASE,
    &create_dns_zone::PHASE,
    &create_tenant_ingress::PHASE,
    &deploy_monitoring::PHASE,
    &setup_observability::PHASE,
    &serve_domains::PHASE,
    &take_inventory::PHASE,
];

/// The phase that the function of this name runs.
pub fn phase_of(function: &str) -> Option<&'static PhaseEntry> {
    PHASES.iter().copied().find(|phase| phase.name().function() == function)
}

/// A runner that knows every phase, each connected to what it needs.
pub async fn runner(store: Store, platform: Arc<Platform>) -> engine::phase::Result<Runner> {
    let mut runner = Runner::new(store, platform);
    for phase in PHASES {
        runner = runner.with(phase).await?;
    }
    Ok(runner)
}
