//! What is left, one outside system after the other. The cluster has its own list.

use cluster::Leftover;
use dns::Dns;
use engine::phase::{Error, Kind, Result, Step};
use job_broker::JobBroker;
use terraform::workspaces;

use crate::{DnsSite, Plan, TakeInventory};

impl TakeInventory {
    /// Zones, and record sets in the parent zone.
    pub(crate) async fn names(&self, plan: &Plan, step: &Step) -> Result<Vec<Leftover>> {
        let Some(DnsSite { server, parent }) = &plan.dns else { return Ok(Vec::new()) };
        let secret = match server.secret() {
            Some(reference) => Some(self.cluster.resolve(reference).await?),
            None => None,
        };
        let dns = Dns::connect(server, secret.as_ref(), &plan.label_prefix)?;
        let held = dns.inventory(step.owner().tenant_id, parent).await?;
        let left = held.into_iter().map(|held| Leftover {
            kind: format!("DNS {}", held.kind),
            namespace: None,
            name: held.name.to_string(),
            state: "present".into(),
        });
        Ok(left.collect())
    }

    /// The user at the job broker, its queues and its exchanges.
    pub(crate) async fn jobs(&self, plan: &Plan, step: &Step) -> Result<Vec<Leftover>> {
        let Some(site) = plan.jobs.as_ref().map(|site| site.as_now(step)) else { return Ok(Vec::new()) };
        let management = self.cluster.resolve(&site.management).await?;
        let broker = JobBroker::connect(&management, &site.vhost)?;
        let left = broker.inventory(step.owner().tenant_id).await?.into_iter().map(|(kind, name)| Leftover {
            kind: format!("RabbitMQ {kind}"),
            namespace: None,
            name,
            state: format!("present, vhost {}", site.vhost),
        });
        Ok(left.collect())
    }

    /// What Terraform still holds: a workspace goes with the last of its resources. A tenant's own instance is not asked,
    /// which goes with it. Then what was needed for that, which is in the control plane's cluster.
    pub(crate) async fn infrastructure(&self, plan: &Plan, step: &Step) -> Result<Vec<Leftover>> {
        let Some(reference) = &plan.terraform else { return Ok(Vec::new()) };
        let tenant = step.owner().tenant_id;
        let state_database = self.cluster.resolve(reference).await?;
        let workspaces = workspaces(&state_database, tenant).await?.into_iter().map(|name| Leftover {
            kind: "Terraform workspace".into(),
            namespace: None,
            name,
            state: "present".into(),
        });
        let at_home = match &self.home {
            Some(home) => home.inventory(tenant, &plan.label_prefix).await.map_err(of_home)?,
            None => Vec::new(),
        };
        let at_home = at_home.into_iter().map(|left| {
            let state = format!("{} in the control plane's cluster", left.state);
            Leftover { state, ..left }
        });
        Ok(workspaces.chain(at_home).collect())
    }

    /// Roles, databases and schemas on the region's Postgres server, and what the region's tenant-api keeps beside them.
    pub(crate) async fn databases(&self, plan: &Plan, step: &Step) -> Result<Vec<Leftover>> {
        let server = plan.server.as_now(step);
        let internal_secret = self.cluster.resolve(&server.internal_secret).await?;
        let access = server.with(internal_secret, self.cluster.resolve(&server.admin.password).await?);
        let items = self.tenant_api.inventory(&access, step.owner().tenant_id).await?;
        let left = items.into_iter().map(|item| Leftover {
            kind: match item.kind.as_str() {
                "role" | "database" | "schema" => format!("Postgres {}", item.kind),
                kept => format!("tenant-api's {kept}"),
            },
            namespace: None,
            name: item.name,
            state: format!("present in region {}", server.region),
        });
        Ok(left.collect())
    }
}

/// A cluster that does not answer would else be taken for the region's.
fn of_home(mut error: Error) -> Error {
    if let Kind::Unavailable { dependency } = &mut error.kind {
        *dependency = "control plane's cluster".into();
    }
    error
}
