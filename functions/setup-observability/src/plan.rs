//! What will be collected, and what stays of it, decided from the tenant and the platform alone.

use engine::phase::{Error, Result};
use model::Tenant;
use model::platform::{Platform, Retention};

use crate::Plan;

pub(crate) fn plan(tenant: &Tenant, platform: &Platform) -> Result<Plan> {
    let settings = &platform.observability;
    let mut chart = settings.collector.clone();
    if chart.repository_url.is_empty() {
        chart.repository_url.clone_from(&platform.charts.repository_url);
    }
    if chart.repository_url.is_empty() {
        return Err(Error::fatal("platform_incomplete", "charts.repository_url is empty")
            .next("Set charts.repository_url in the platform file, then retry."));
    }
    let namespace = platform.namespace(&tenant.slug);
    Ok(Plan {
        collector_url: settings.collector_of(namespace.as_str()),
        namespace,
        slug: tenant.slug.clone(),
        tenant_id: tenant.id,
        tier: tenant.tier,
        suspended: tenant.suspended,
        label_prefix: platform.label_prefix.clone(),
        loki: settings.loki.clone(),
        tempo: settings.tempo.clone(),
        chart,
        image: settings.collector_image.clone(),
        logs_kept: settings.logs_kept,
        traces_kept: settings.traces_kept,
        control_plane_namespace: platform.control_plane_namespace.clone(),
        ready_within: settings.ready_within,
    })
}

/// What stays when the tenant goes, for as long as it is kept.
pub(crate) fn kept(plan: &Plan) -> Vec<Retention> {
    vec![
        Retention {
            system: "Loki".into(),
            selector: format!("{{namespace=\"{}\"}} of tenant {}", plan.namespace, plan.tenant_id),
            hours: plan.logs_kept,
        },
        Retention {
            system: "Tempo".into(),
            selector: format!("tenant_id={} of tenant {}", plan.slug, plan.tenant_id),
            hours: plan.traces_kept,
        },
    ]
}
