//! Whole runs, from the request to ACTIVE and to DELETED.

use tests::{Api, Site, calm, fresh_slug, outside};

/// The phases of a container_per_tenant run, in order.
pub const PHASES: [&str; 13] = [
    "CREATE_NAMESPACE",
    "PROVISION_DEPLOYMENT",
    "ISSUE_LICENSE",
    "SETUP_DATABASE",
    "CREATE_BOOTSTRAP_USER",
    "DEPLOY_CORE_SERVICES",
    "CONFIGURE_NETWORKING",
    "DEPLOY_DATA_SERVICES",
    "DEPLOY_INGRESS_CONTROLLER",
    "CREATE_DNS_ZONE",
    "CREATE_TENANT_INGRESS",
    "DEPLOY_MONITORING",
    "SETUP_OBSERVABILITY",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_the_http_function_brings_a_tenant_up_and_down_through_all_functions() {
    Site::run_with(calm, |site| async move {
        let (_functions, endpoint) = site.functions().await;
        let _dispatcher = site.dispatcher_of(&endpoint);
        let api = Api::new(format!("{endpoint}/lambda-url/tenant-service"));
        let slug = fresh_slug("fn");
        let tenant = api.create(&slug).await;
        let row = site.until(tenant, "ACTIVE").await;
        let done: Vec<&str> = row
            .phases
            .iter()
            .filter(|phase| phase.state == "done")
            .map(|phase| phase.name.as_str())
            .collect();
        assert_eq!(done, PHASES);
        assert!(row.phases.iter().all(|phase| (phase.total_failures, phase.lost) == (0, 0)), "{row:#?}");
        assert_eq!(outside::databases_and_roles(tenant).await.len(), 2);
        api.delete(tenant).await;
        site.until(tenant, "DELETED").await;
        site.nothing_is_left(&slug, tenant).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_with_the_phases_in_it_needs_no_functions() {
    Site::run_with(calm, |site| async move {
        let (_service, api) = site.tenant_service().await;
        let _dispatcher = site.dispatcher();
        let slug = fresh_slug("em");
        let tenant = api.create(&slug).await;
        site.until(tenant, "ACTIVE").await;
        assert_eq!(outside::databases_and_roles(tenant).await.len(), 2);
        api.delete(tenant).await;
        site.until(tenant, "DELETED").await;
        site.nothing_is_left(&slug, tenant).await;
    })
    .await;
}
