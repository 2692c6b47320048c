//! What will be watched, decided from the tenant and the platform alone.

use engine::phase::{Error, Result};
use model::Tenant;
use model::platform::Platform;

use crate::Plan;

pub(crate) fn plan(tenant: &Tenant, platform: &Platform) -> Result<Plan> {
    let monitoring = &platform.monitoring;
    let namespace = platform.namespace(&tenant.slug);
    let mut grafana = monitoring.grafana.clone();
    if grafana.repository_url.is_empty() {
        grafana.repository_url.clone_from(&platform.charts.repository_url);
    }
    if grafana.repository_url.is_empty() {
        return Err(Error::fatal("platform_incomplete", "charts.repository_url is empty")
            .next("Set charts.repository_url in the platform file, then retry."));
    }
    let controller = platform.ingress.of(tenant, platform).map_err(|(key, why)| {
        Error::fatal("platform_incomplete", format!("ingress.{key}: {why}"))
            .next("Correct the platform file, then retry.")
    })?;
    let slack_webhook = match &tenant.alerting.slack_webhook_ref {
        // Looked at again: the platform may have become stricter since the request.
        Some(own) if !monitoring.allows(own, &tenant.slug, &namespace) => {
            return Err(Error::fatal(
                "secret_reference_forbidden",
                format!("{} may not name {own} as its Slack webhook", tenant.slug),
            )
            .next("Allow it in monitoring.tenant_references of the platform file, then retry."));
        }
        Some(own) => Some(own.clone()),
        None => monitoring.slack_webhook.clone(),
    };
    Ok(Plan {
        slug: tenant.slug.clone(),
        tenant_id: tenant.id,
        tier: tenant.tier,
        suspended: tenant.suspended,
        label_prefix: platform.label_prefix.clone(),
        prometheus_version: monitoring.prometheus_version.clone(),
        alertmanager_version: monitoring.alertmanager_version.clone(),
        retention: monitoring.retention.clone(),
        scrape_interval: monitoring.scrape_interval.clone(),
        cluster_metrics: monitoring.cluster_metrics.clone(),
        grafana,
        email: tenant.alerting.email.clone().unwrap_or_else(|| tenant.admin_email.clone()),
        mail: monitoring.mail.clone(),
        slack_webhook,
        control_plane_namespace: platform.control_plane_namespace.clone(),
        api_server_cidrs: platform.api_server_cidrs.clone(),
        ready_within: monitoring.ready_within,
        controller: controller.controller,
        controller_pods: controller.pods,
        namespace,
    })
}
