//! CONFIGURE_NETWORKING: the network policies that keep the tenant apart.
//!
//! In: the tenant's namespace, the control plane's, and the addresses of the region's databases, or of the tenant's own
//! instance where PROVISIONING_INFRASTRUCTURE has made one. Out: the policies'
//! names. Fails with `region_unknown`, or `foreign_object` when a policy of such a name belongs to somebody else.
//! Rollback: deletes these policies, last first, and no other.

mod policies;

use cluster::{Cluster, Objects};
use engine::phase::{Checkpoints, Clients, Error, Phase, Progress, Result, Step};
use model::platform::Platform;
use model::{Namespace, PhaseName, Slug, Tenant};
use serde::{Deserialize, Serialize};
use tenants::reads;

/// The phase.
#[derive(Debug)]
pub struct ConfigureNetworking {
    cluster: Cluster,
}

/// What the policies are made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The tenant's namespace.
    pub namespace: Namespace,
    /// The tenant.
    pub slug: Slug,
    /// Before the `/` of the platform's labels.
    pub label_prefix: String,
    /// Where the control plane's services are.
    pub control_plane_namespace: String,
    /// Address blocks of the region's databases, or of the tenant's own instance.
    pub database_cidrs: Vec<String>,
    /// The databases' TCP port.
    pub database_port: u16,
}

/// The policies that are there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// By name, in the order of their making.
    pub policies: Vec<String>,
}

engine::runtime_phase!(ConfigureNetworking);

impl Phase for ConfigureNetworking {
    const NAME: PhaseName = PhaseName::new("CONFIGURE_NETWORKING");
    type Plan = Plan;
    type Checkpoint = Checkpoint;

    async fn connect(clients: &impl Clients) -> Result<Self> {
        Ok(Self { cluster: Cluster::of(clients.platform()).await? })
    }

    fn plan(&self, tenant: &Tenant, platform: &Platform, earlier: &Checkpoints) -> Result<Plan> {
        plan(tenant, platform, earlier)
    }

    async fn apply(&self, plan: &Plan, step: &Step) -> Result<Progress<Checkpoint>> {
        let cluster = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        objects(plan).ensure(&cluster, step).await?;
        let names = policies::all(plan).into_iter().map(|(name, _)| name.to_owned());
        Ok(Progress::Done(Checkpoint { policies: names.collect() }))
    }

    async fn revert(&self, plan: &Plan, _: Option<&Checkpoint>, step: &Step) -> Result<Progress<()>> {
        let cluster = self.cluster.owned_by(step.owner(), &plan.label_prefix);
        objects(plan).delete(&cluster, step).await?;
        Ok(Progress::Done(()))
    }
}

/// Each policy is an operation of its own.
fn objects(plan: &Plan) -> Objects {
    let policies = policies::all(plan).into_iter();
    policies.fold(Objects::default(), |objects, (name, policy)| objects.apply(name, &policy))
}

fn plan(tenant: &Tenant, platform: &Platform, earlier: &Checkpoints) -> Result<Plan> {
    let instance: Option<reads::OwnPostgresNetwork> = earlier.read()?;
    let region = platform.regions.get(&tenant.region).ok_or_else(|| {
        Error::fatal("region_unknown", format!("region '{}' is not in the platform file", tenant.region))
            .next("Add the region to the platform file, then retry.")
    })?;
    // With an instance of its own, nothing of the tenant is on the region's, which its pods then need not reach.
    let (database_cidrs, database_port) = match instance {
        Some(instance) if instance.cidrs.is_empty() => (region.database_cidrs.clone(), instance.port),
        Some(instance) => (instance.cidrs, instance.port),
        None => (region.database_cidrs.clone(), region.database.port),
    };
    Ok(Plan {
        namespace: platform.namespace(&tenant.slug),
        slug: tenant.slug.clone(),
        label_prefix: platform.label_prefix.clone(),
        control_plane_namespace: platform.control_plane_namespace.clone(),
        database_cidrs,
        database_port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn plan(cidrs: &[&str]) -> Plan {
        Plan {
            namespace: Namespace::of("matih-", &"acme".parse().unwrap()),
            slug: "acme".parse().unwrap(),
            label_prefix: "matih.ai".into(),
            control_plane_namespace: "matih-system".into(),
            database_cidrs: cidrs.iter().map(ToString::to_string).collect(),
            database_port: 5432,
        }
    }

    fn policy(plan: &Plan, wanted: &str) -> Option<Value> {
        let all = policies::all(plan);
        let (_, policy) = all.into_iter().find(|(name, _)| *name == wanted)?;
        Some(serde_json::to_value(policy).unwrap())
    }

    /// Provisioning reference, phase 4, "Network Policies", word for word.
    #[test]
    fn the_references_three_are_as_it_gives_them() {
        let of = |name: &str, spec: Value| {
            json!({
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": name, "namespace": "matih-acme"},
                "spec": spec,
            })
        };
        for (name, spec) in [
            ("default-deny-ingress", json!({"podSelector": {}, "policyTypes": ["Ingress"]})),
            (
                "allow-same-namespace",
                json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}),
            ),
            (
                "allow-ingress-controller",
                json!({"podSelector": {}, "ingress": [{"from": [{
                    "namespaceSelector": {"matchLabels": {"matih.ai/tenant-slug": "acme"}},
                    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "ingress-nginx"}},
                }]}]}),
            ),
        ] {
            assert_eq!(policy(&plan(&[]), name), Some(of(name, spec)));
        }
    }

    #[test]
    fn no_database_address_allows_none_rather_than_all() {
        assert_eq!(policy(&plan(&[]), "allow-egress-database"), None);
        let some = policy(&plan(&["10.5.0.0/16"]), "allow-egress-database").unwrap();
        assert_eq!(some["spec"]["egress"][0]["to"], json!([{"ipBlock": {"cidr": "10.5.0.0/16"}}]));
    }

    #[test]
    fn the_denials_come_first_and_so_are_undone_last() {
        let names: Vec<&str> = policies::all(&plan(&["10.5.0.0/16"])).iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            [
                "default-deny-ingress",
                "default-deny-egress",
                "allow-same-namespace",
                "allow-ingress-controller",
                "allow-egress-same-namespace",
                "allow-egress-dns",
                "allow-egress-control-plane",
                "allow-egress-database",
                "allow-egress-internet",
            ]
        );
    }
}
