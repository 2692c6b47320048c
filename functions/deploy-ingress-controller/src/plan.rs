//! What will be installed, decided from the tenant and the platform alone.

use engine::phase::{Error, Result};
use model::Tenant;
use model::platform::Platform;

use crate::Plan;

pub(crate) fn plan(tenant: &Tenant, platform: &Platform) -> Result<Plan> {
    let incomplete =
        |why: String| Error::fatal("platform_incomplete", why).next("Correct the platform file, then retry.");
    let ingress = &platform.ingress;
    let named =
        ingress.of(tenant, platform).map_err(|(key, why)| incomplete(format!("ingress.{key}: {why}")))?;
    let repository_url = if ingress.repository_url.is_empty() {
        platform.charts.repository_url.clone()
    } else {
        ingress.repository_url.clone()
    };
    if repository_url.is_empty() {
        return Err(incomplete("ingress.repository_url and charts.repository_url are empty".into()));
    }
    Ok(Plan {
        namespace: platform.namespace(&tenant.slug),
        release: named.release,
        chart: ingress.chart.clone(),
        version: ingress.version.clone(),
        repository_url,
        values: named.values,
        class: named.class,
        controller: named.controller,
        service: named.service,
        service_account: named.service_account,
        pods: named.pods,
        ports: ingress.ports.clone(),
        health_port: ingress.health_port,
        public_cidrs: ingress.public_cidrs.clone(),
        probe_cidrs: ingress.probe_cidrs.clone(),
        api_server_cidrs: platform.api_server_cidrs.clone(),
        address_within: ingress.address_within,
        ready_within: platform.charts.ready_within,
        label_prefix: platform.label_prefix.clone(),
    })
}
