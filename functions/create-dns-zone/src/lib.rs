//! CREATE_DNS_ZONE: the tenant's names, delegated from the platform's zone to one of its own.
//!
//! In: the slug, the address of DEPLOY_INGRESS_CONTROLLER. Out: the zone, its name servers, the address that its names
//! point at. Fails with `foreign_object` when a zone or record of a wanted name is somebody else's, `no_address` when the
//! ingress controller's phase left none, `dns_config` when `[dns]` cannot be used, and `dns_…` as the server refuses.
//! Rollback: takes the names back one layer at a time, and waits after each until no resolver may remember it: see
//! `undo.rs`.

mod undo;

use std::net::Ipv4Addr;

use cluster::Cluster;
use dns::{Dns, Made, Name, Owned, RecordZone, Records, Server};
use engine::phase::{Checkpoints, Clients, Error, Phase, Progress, Result, Step};
use model::platform::{Platform, Seconds};
use model::{PhaseName, Tenant};
use serde::{Deserialize, Serialize};
use tenants::reads;

/// What points at the tenant's address, below the zone's name (provisioning reference, phase 7). The wildcard is an
/// operation of its own there.
const HOSTS: [&str; 3] = ["@", "api", "bi"];
const WILDCARD: &str = "*";

/// The phase.
#[derive(Debug)]
pub struct CreateDnsZone {
    cluster: Cluster,
}

/// What will be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The tenant's zone.
    pub zone: Name,
    /// The zone that delegates to it.
    pub parent: Name,
    /// What the names point at.
    pub address: Ipv4Addr,
    /// TTL of delegation and addresses in seconds, which an undo waits out whatever the setting is by then.
    pub ttl: u32,
    /// How long until every name server serves what its API has accepted.
    pub propagation: Seconds,
    /// Who serves the zones.
    pub server: Server,
    /// Before the keys that ownership is written under.
    pub label_prefix: String,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The tenant's zone.
    pub zone: Made,
    /// Its name servers.
    pub name_servers: Vec<Name>,
    /// The NS records in the parent zone.
    pub delegation: Made,
    /// The A records.
    pub addresses: Vec<Made>,
    /// What they point at.
    pub address: Ipv4Addr,
}

engine::runtime_phase!(CreateDnsZone);

impl Phase for CreateDnsZone {
    const NAME: PhaseName = PhaseName::new("CREATE_DNS_ZONE");
    type Plan = Plan;
    type Checkpoint = Checkpoint;

    async fn connect(clients: &impl Clients) -> Result<Self> {
        Ok(Self { cluster: Cluster::of(clients.platform()).await? })
    }

    fn plan(&self, tenant: &Tenant, platform: &Platform, earlier: &Checkpoints) -> Result<Plan> {
        plan(tenant, platform, earlier)
    }

    async fn apply(&self, plan: &Plan, step: &Step) -> Result<Progress<Checkpoint>> {
        let dns = self.dns(plan, step).await?;
        let zone = step.operation("zone", dns.ensure_zone(&plan.zone, plan.ttl)).await?;
        let name_servers = step.operation("name servers", dns.name_servers(&plan.zone)).await?;
        let delegation = step
            .operation("delegation", dns.ensure_records(&plan.above(), &plan.delegation(&name_servers)))
            .await?;
        let mut addresses = Vec::new();
        for (operation, hosts) in [("addresses", &HOSTS[..]), ("wildcard address", &[WILDCARD])] {
            let made = step.operation(operation, ensure_addresses(&dns, plan, hosts)).await?;
            addresses.extend(made);
        }
        let address = plan.address;
        Ok(Progress::Done(Checkpoint { zone, name_servers, delegation, addresses, address }))
    }

    async fn revert(&self, plan: &Plan, _: Option<&Checkpoint>, step: &Step) -> Result<Progress<()>> {
        let dns = self.dns(plan, step).await?;
        undo::undo(&dns, plan, step).await?;
        Ok(Progress::Done(()))
    }
}

impl CreateDnsZone {
    async fn dns(&self, plan: &Plan, step: &Step) -> Result<Owned> {
        let secret = match plan.server.secret() {
            Some(reference) => Some(self.cluster.resolve(reference).await?),
            None => None,
        };
        let dns = Dns::connect(&plan.server, secret.as_ref(), &plan.label_prefix)?;
        Ok(dns.owned_by(step.owner()))
    }
}

async fn ensure_addresses(dns: &Owned, plan: &Plan, hosts: &[&str]) -> Result<Vec<Made>> {
    let mut made = Vec::new();
    for host in hosts {
        let wanted = Records {
            name: plan.zone.below(host),
            kind: "A",
            ttl: plan.ttl,
            values: vec![plan.address.to_string()],
        };
        made.push(dns.ensure_records(&plan.within(), &wanted).await?);
    }
    Ok(made)
}

impl Plan {
    fn above(&self) -> RecordZone {
        RecordZone::Parent(self.parent.clone())
    }

    fn within(&self) -> RecordZone {
        RecordZone::Own(self.zone.clone())
    }

    fn delegation(&self, to: &[Name]) -> Records {
        let values = to.iter().map(ToString::to_string).collect();
        Records { name: self.zone.clone(), kind: "NS", ttl: self.ttl, values }
    }

    /// The names of the A records.
    fn hosts(&self) -> impl Iterator<Item = Name> {
        HOSTS.iter().chain([&WILDCARD]).map(|host| self.zone.below(host))
    }
}

fn plan(tenant: &Tenant, platform: &Platform, earlier: &Checkpoints) -> Result<Plan> {
    let dns = &platform.dns;
    let domain = Name::new(&platform.domain);
    let parent = Name::from(dns.parent(&platform.domain));
    if !domain.is_within(&parent) {
        let message = format!("the platform's domain {domain} is not within dns.parent_zone {parent}");
        return Err(Error::fatal("dns_config", message).next("Correct one of them in the platform file."));
    }
    if dns.ttl == 0 {
        return Err(Error::fatal("dns_config", "dns.ttl is 0").next(
            "Give it at least one second: some resolvers keep such a record for as long as they like.",
        ));
    }
    let missing = |why: String| {
        Error::fatal("no_address", why).next(
            "The tenant's names need the address that DEPLOY_INGRESS_CONTROLLER records; look at its checkpoint.",
        )
    };
    let controller: reads::LoadBalancer = earlier.read()?.ok_or_else(|| {
        missing("DEPLOY_INGRESS_CONTROLLER is not part of this run or left no checkpoint".to_owned())
    })?;
    let address = controller.address.parse();
    let address = address.map_err(|_| missing(format!("'{}' is not an IPv4 address", controller.address)))?;
    Ok(Plan {
        zone: domain.below(tenant.slug.as_str()),
        parent,
        address,
        ttl: dns.ttl,
        propagation: dns.propagation,
        server: Server::of(platform)?,
        label_prefix: platform.label_prefix.clone(),
    })
}

#[cfg(test)]
mod tests;
