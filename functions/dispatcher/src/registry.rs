//! The one list of phases: a phase that is not in it does not exist for the embedded invoker or the generic tests.

use std::sync::Arc;

use configure_networking::ConfigureNetworking;
use create_bootstrap_user::CreateBootstrapUser;
use create_dns_zone::CreateDnsZone;
use create_namespace::CreateNamespace;
use create_tenant_ingress::CreateTenantIngress;
use deploy_core_services::DeployCoreServices;
use deploy_data_services::DeployDataServices;
use deploy_ingress_controller::DeployIngressController;
use deploy_monitoring::DeployMonitoring;
use issue_license::IssueLicense;
use provision_deployment::ProvisionDeployment;
use serve_domains::ServeDomains;
use setup_database::SetupDatabase;
use setup_observability::SetupObservability;
use shared::platform::Platform;
use shared::runtime::Runner;
use shared::store::Store;
use take_inventory::TakeInventory;

/// A runner that knows every phase, each connected to what it needs.
pub async fn runner(store: Store, platform: Arc<Platform>) -> shared::phase::Result<Runner> {
    Runner::new(store, platform)
        .with::<CreateNamespace>()
        .await?
        .with::<ProvisionDeployment>()
        .await?
        .with::<IssueLicense>()
        .await?
        .with::<SetupDatabase>()
        .await?
        .with::<CreateBootstrapUser>()
        .await?
        .with::<DeployCoreServices>()
        .await?
        .with::<ConfigureNetworking>()
        .await?
        .with::<DeployDataServices>()
        .await?
        .with::<DeployIngressController>()
        .await?
        .with::<CreateDnsZone>()
        .await?
        .with::<CreateTenantIngress>()
        .await?
        .with::<DeployMonitoring>()
        .await?
        .with::<SetupObservability>()
        .await?
        .with::<ServeDomains>()
        .await?
        .with::<TakeInventory>()
        .await
}
