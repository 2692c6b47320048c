//! The isolation table of the provisioning reference, phase 4, row by row: the policies of two tenants are read back
//! from a real API server and evaluated by the rules of the Kubernetes documentation. Nothing here is shared with the
//! code that makes the policies.
#![expect(clippy::unwrap_used, reason = "clippy knows only functions marked as tests for tests")]

mod evaluator;

use cluster::Cluster;
use configure_networking::ConfigureNetworking;
use create_namespace::CreateNamespace;
use engine::phase::{Kind, Phase, Progress, Step};
use evaluator::{Endpoint, Network};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, ResourceExt};
use model::platform::Platform;
use model::{RunId, Tenant};
use serde_json::json;
use testing::{ClaimedStep, planned, prepare, required};

struct World {
    client: Client,
    platform: Platform,
}

impl World {
    async fn new() -> Self {
        required("KUBECONFIG");
        let region = json!({
            "tenant_api_url": "http://127.0.0.1:1",
            "internal_secret": "env:NONE",
            "database": {
                "host": "db", "port": 5432, "shared_database": "shared",
                "admin_user": "admin", "admin_password": "env:NONE",
            },
            "database_cidrs": ["10.50.0.0/16", "20.60.70.80/32"],
        });
        let mut platform = Platform::default();
        platform.regions.insert("eastus".into(), serde_json::from_value(region).unwrap());
        Self { client: Cluster::connect().await.unwrap().client(), platform }
    }

    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.client.clone())
    }

    fn policies(&self, tenant: &Tenant) -> Api<NetworkPolicy> {
        Api::namespaced(self.client.clone(), self.platform.namespace(&tenant.slug).as_str())
    }

    /// A tenant with its namespace, as the phase before makes it.
    async fn tenant(&self) -> Tenant {
        let tenant = testing::tenant("t-net");
        prepare::<CreateNamespace>(&self.platform, &tenant, RunId::generate()).await;
        tenant
    }

    async fn configure(&self, tenant: &Tenant, run: RunId) -> engine::phase::Result<Vec<String>> {
        let (phase, plan) = planned::<ConfigureNetworking>(&self.platform, tenant).await;
        match phase.apply(&plan, &step(tenant, run)).await? {
            Progress::Done(checkpoint) => Ok(checkpoint.policies),
            Progress::Wait(wait) => panic!("waits for {}", wait.on),
        }
    }

    async fn undo(&self, tenant: &Tenant, run: RunId) {
        let (phase, plan) = planned::<ConfigureNetworking>(&self.platform, tenant).await;
        let done = phase.revert(&plan, None, &step(tenant, run)).await.unwrap();
        assert_eq!(done, Progress::Done(()));
    }

    async fn names(&self, tenant: &Tenant) -> Vec<String> {
        let found = self.policies(tenant).list(&ListParams::default()).await.unwrap();
        found.iter().map(ResourceExt::name_any).collect()
    }

    async fn remove(&self, tenants: &[&Tenant]) {
        for tenant in tenants {
            let name = self.platform.namespace(&tenant.slug);
            self.namespaces().delete(name.as_str(), &DeleteParams::default()).await.unwrap();
        }
    }
}

fn step(tenant: &Tenant, run: RunId) -> Step {
    ClaimedStep::new(ConfigureNetworking::NAME, tenant, run).step()
}

#[tokio::test]
async fn every_row_of_the_isolation_table_holds() {
    let world = World::new().await;
    let (acme, other) = (world.tenant().await, world.tenant().await);
    world.configure(&acme, RunId::generate()).await.unwrap();
    world.configure(&other, RunId::generate()).await.unwrap();

    let (ours, theirs) = (world.platform.namespace(&acme.slug), world.platform.namespace(&other.slug));
    let (ours, theirs) = (ours.as_str(), theirs.as_str());
    let mut network = Network::default();
    for name in [ours, theirs, "kube-system", "default"] {
        let namespace = world.namespaces().get(name).await.unwrap();
        let policies: Api<NetworkPolicy> = Api::namespaced(world.client.clone(), name);
        network.add_namespace(&namespace, policies.list(&ListParams::default()).await.unwrap().items);
    }
    // Namespaces that this cluster does not have, labelled as the API server labels every namespace.
    network.add_labels("matih-system", &[("kubernetes.io/metadata.name", "matih-system")]);
    network.add_labels("edge", &[("matih.ai/tenant-slug", acme.slug.as_str())]);

    let service = [("app.kubernetes.io/name", "query-engine")];
    let nginx = [("app.kubernetes.io/name", "ingress-nginx")];
    let connector = [("app.kubernetes.io/name", "connector"), ("matih.ai/egress", "internet")];
    let pod = |namespace: &str, labels: &[(&str, &str)]| Endpoint::pod(namespace, labels, "10.244.1.7");
    let outside = |ip: &str| Endpoint::outside(ip);
    let (us, them) = (pod(ours, &service), pod(theirs, &service));

    for (row, from, to, protocol, port, allowed) in [
        // Tenant-to-tenant: blocked (default deny), whatever the pods call themselves.
        ("tenant to tenant", us.clone(), them.clone(), "TCP", 8080, false),
        ("tenant to tenant, back", them.clone(), us.clone(), "TCP", 8080, false),
        ("another tenant's controller", pod(theirs, &nginx), us.clone(), "TCP", 8080, false),
        ("another tenant's connector", pod(theirs, &connector), us.clone(), "TCP", 8080, false),
        ("to another tenant's DNS port", us.clone(), them.clone(), "UDP", 53, false),
        ("to another tenant's database port", us.clone(), them.clone(), "TCP", 5432, false),
        ("a namespace of nobody's", pod("default", &service), us.clone(), "TCP", 8080, false),
        ("into a namespace of nobody's", us.clone(), pod("default", &service), "TCP", 8080, false),
        // Within the tenant's namespace: allowed.
        ("within", us.clone(), pod(ours, &nginx), "TCP", 9000, true),
        ("within, UDP", pod(ours, &connector), us.clone(), "UDP", 4000, true),
        // From the ingress controller: allowed.
        ("controller in the namespace", pod(ours, &nginx), us.clone(), "TCP", 8080, true),
        ("controller in a namespace of the tenant's", pod("edge", &nginx), us.clone(), "TCP", 8080, true),
        ("not a controller there", pod("edge", &service), us.clone(), "TCP", 8080, false),
        ("controller of nobody's", pod("default", &nginx), us.clone(), "TCP", 8080, false),
        ("from the internet past the controller", outside("20.1.1.1"), us.clone(), "TCP", 8080, false),
        // To control plane services: allowed.
        ("control plane", us.clone(), pod("matih-system", &service), "TCP", 8443, true),
        ("another system namespace", us.clone(), pod("kube-system", &service), "TCP", 8443, false),
        ("DNS over UDP", us.clone(), pod("kube-system", &[("k8s-app", "kube-dns")]), "UDP", 53, true),
        ("DNS over TCP", us.clone(), pod("kube-system", &[("k8s-app", "kube-dns")]), "TCP", 53, true),
        ("DNS elsewhere", us.clone(), outside("8.8.8.8"), "UDP", 53, false),
        // To external databases: allowed.
        ("database", us.clone(), outside("10.50.3.4"), "TCP", 5432, true),
        ("the other database block", us.clone(), outside("20.60.70.80"), "TCP", 5432, true),
        ("beside the block", us.clone(), outside("20.60.70.81"), "TCP", 5432, false),
        ("outside the block", us.clone(), outside("10.51.0.1"), "TCP", 5432, false),
        ("another port of the database", us.clone(), outside("10.50.3.4"), "TCP", 22, false),
        ("another protocol", us.clone(), outside("10.50.3.4"), "UDP", 5432, false),
        // To the internet: blocked, except for connector services.
        ("internet", us.clone(), outside("20.1.1.1"), "TCP", 443, false),
        ("internet, controller", pod(ours, &nginx), outside("20.1.1.1"), "TCP", 443, false),
        ("internet, connector", pod(ours, &connector), outside("20.1.1.1"), "TCP", 443, true),
        ("connector, edge of 10/8", pod(ours, &connector), outside("11.0.0.0"), "TCP", 443, true),
        ("connector, 10/8", pod(ours, &connector), outside("10.255.255.255"), "TCP", 443, false),
        ("connector, 172.16/12", pod(ours, &connector), outside("172.31.0.1"), "TCP", 443, false),
        ("connector, past 172.16/12", pod(ours, &connector), outside("172.32.0.1"), "TCP", 443, true),
        ("connector, 192.168/16", pod(ours, &connector), outside("192.168.1.1"), "TCP", 443, false),
        ("connector, 100.64/10", pod(ours, &connector), outside("100.127.0.1"), "TCP", 443, false),
        ("connector, metadata service", pod(ours, &connector), outside("169.254.169.254"), "TCP", 80, false),
        ("connector, the node itself", pod(ours, &connector), outside("127.0.0.1"), "TCP", 10250, false),
        ("connector, platform services", pod(ours, &connector), outside("168.63.129.16"), "TCP", 80, false),
        ("connector to another tenant", pod(ours, &connector), them.clone(), "TCP", 8080, false),
    ] {
        assert_eq!(
            network.allows(&from, &to, protocol, port),
            allowed,
            "{row}: {from:?} to {to:?} {protocol} {port}"
        );
    }
    world.remove(&[&acme, &other]).await;
}

#[tokio::test]
async fn an_undo_takes_out_these_policies_and_no_other() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let theirs: NetworkPolicy =
        serde_json::from_value(json!({"metadata": {"name": "by-hand"}, "spec": {"podSelector": {}}}))
            .unwrap();
    world.policies(&tenant).create(&PostParams::default(), &theirs).await.unwrap();
    let run = RunId::generate();
    world.undo(&tenant, run).await;
    let made = world.configure(&tenant, run).await.unwrap();
    assert_eq!(world.configure(&tenant, run).await.unwrap(), made, "a second time");
    let found = world.names(&tenant).await;
    assert_eq!(found.len(), made.len() + 1);
    assert!(made.iter().all(|name| found.contains(name)));
    world.undo(&tenant, run).await;
    world.undo(&tenant, run).await;
    assert_eq!(world.names(&tenant).await, ["by-hand"]);
    world.remove(&[&tenant]).await;
}

#[tokio::test]
async fn a_foreign_policy_of_the_same_name_is_fatal_and_stays() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let theirs: NetworkPolicy = serde_json::from_value(
        json!({"metadata": {"name": "allow-same-namespace"}, "spec": {"podSelector": {}}}),
    )
    .unwrap();
    let before = world.policies(&tenant).create(&PostParams::default(), &theirs).await.unwrap();
    let run = RunId::generate();
    let error = world.configure(&tenant, run).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Fatal, "foreign_object"));
    world.undo(&tenant, run).await;
    assert_eq!(world.names(&tenant).await, ["allow-same-namespace"]);
    let after = world.policies(&tenant).get("allow-same-namespace").await.unwrap();
    assert_eq!((before.spec, before.metadata.uid), (after.spec, after.metadata.uid));
    world.remove(&[&tenant]).await;
}

#[tokio::test]
async fn every_undo_waits_for_its_policy_to_be_gone() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let run = RunId::generate();
    world.configure(&tenant, run).await.unwrap();
    let hold = |finalizers: serde_json::Value| json!({"metadata": {"finalizers": finalizers}});
    let patch = |body| async {
        let how = kube::api::PatchParams::default();
        world
            .policies(&tenant)
            .patch("allow-egress-dns", &how, &kube::api::Patch::Merge(body))
            .await
            .unwrap();
    };
    patch(hold(json!(["example.com/hold"]))).await;
    let (phase, plan) = planned::<ConfigureNetworking>(&world.platform, &tenant).await;
    let error = phase.revert(&plan, None, &step(&tenant, run)).await.unwrap_err();
    assert!(matches!(&error.kind, Kind::Parked(wait) if wait.on.contains("example.com/hold")), "{error}");
    assert!(world.names(&tenant).await.contains(&"default-deny-egress".to_owned()), "denials go last");
    patch(hold(json!(null))).await;
    world.undo(&tenant, run).await;
    assert!(world.names(&tenant).await.is_empty());
    world.remove(&[&tenant]).await;
}
