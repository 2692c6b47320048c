//! The phase against a real API server and a real Postgres, with tenant-api in this process.
#![expect(clippy::unwrap_used, reason = "clippy knows only functions marked as tests for tests")]

use std::sync::Arc;

use cluster::Cluster;
use dns::{Dns, Name, Records, Server as DnsServer};
use engine::phase::{Kind, Owner, Phase, Progress, Scope, Step};
use job_broker::{JobBroker, Site};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Api, DeleteParams, PostParams};
use model::platform::{Platform, PowerDnsSettings, Region, RegionCluster};
use model::secret::{Secret, SecretRef};
use model::{RunId, TenantId};
use serde_json::{Value, json};
use take_inventory::{DnsSite, Plan, TakeInventory};
use tenant_api_client::{Admin, DatabaseTarget, Initialize, Server, Strategy, TenantApi};
use testing::{ClaimedStep, LastRecord, required};
use tokio::net::TcpListener;

fn step(tenant_id: TenantId, fence: Arc<LastRecord>) -> Step {
    let owner = Owner {
        tenant_id,
        slug: "acme".parse().unwrap(),
        run_id: RunId::generate(),
        epoch: 1,
        scope: Scope::Tenant,
    };
    ClaimedStep::of(TakeInventory::NAME, owner).backward(true).fence(fence).step()
}

const INTERNAL_SECRET: &str = "the internal secret of this test";

async fn plan() -> Plan {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let secrets = tenant_api::InternalSecrets::new([INTERNAL_SECRET.to_owned()]).unwrap();
    tokio::spawn(tenant_api::serve(listener, tenant_api::Config::new(secrets), std::future::pending()));
    required("REGION_DATABASE_ADMIN_PASSWORD");
    let file = std::env::temp_dir().join(format!("take-inventory-{}", RunId::generate()));
    std::fs::write(&file, INTERNAL_SECRET).unwrap();
    let server = Server {
        own: None,
        region: "eastus".into(),
        endpoint,
        internal_secret: SecretRef::File(file.to_str().unwrap().into()),
        admin: Admin {
            host: required("REGION_DATABASE_HOST"),
            port: required("REGION_DATABASE_PORT").parse().unwrap(),
            user: required("REGION_DATABASE_ADMIN_USER"),
            password: SecretRef::Env("REGION_DATABASE_ADMIN_PASSWORD".into()),
            database: "region_eastus".into(),
            of_own_instance: false,
        },
    };
    let label_prefix = "matih.ai".into();
    Plan { label_prefix, server, dns: Some(names()), kept: Vec::new(), jobs: None, terraform: None }
}

fn names() -> DnsSite {
    required("PDNS_API_KEY");
    let settings = PowerDnsSettings {
        url: required("PDNS_URL"),
        parent_url: Some(required("PARENT_PDNS_URL")),
        api_key: SecretRef::Env("PDNS_API_KEY".into()),
        update_key: None,
        kind: "Native".into(),
    };
    let name_servers = vec![Name::new("ns1.matih.ai")];
    DnsSite { server: DnsServer::PowerDns { settings, name_servers }, parent: Name::new("matih.ai") }
}

/// Leaves no file behind.
fn forget(plan: &Plan) {
    if let SecretRef::File(file) = &plan.server.internal_secret {
        std::fs::remove_file(file).unwrap();
    }
}

#[tokio::test]
async fn a_database_that_is_left_is_named() {
    let phase = TakeInventory::connect(&Platform::default()).await.unwrap();
    let plan = plan().await;
    let admin = Secret::new(required("REGION_DATABASE_ADMIN_PASSWORD"));
    let access = plan.server.with(Secret::new(INTERNAL_SECRET), admin);
    let api = TenantApi::connect().unwrap();
    for strategy in [Strategy::Database, Strategy::Schema] {
        let tenant = TenantId::generate();
        let place = DatabaseTarget::of(tenant, strategy, &plan.server.admin.database);
        let password = Secret::new("of no use to anybody");
        let what = Initialize {
            tenant,
            run: RunId::generate(),
            place: &place,
            password: (strategy == Strategy::Database).then_some(&password),
            connection_limit: None,
        };
        api.initialize(&access, what).await.unwrap();
        let left = phase.revert(&plan, None, &step(tenant, Arc::default())).await;
        api.drop(&access, tenant, &place, None).await.unwrap();
        let gone = phase.revert(&plan, None, &step(tenant, Arc::default())).await;
        let own = &place.role;
        let kind = if strategy == Strategy::Database { "database" } else { "schema" };
        let state = "(present in region eastus)";
        let expected = format!("2 left: Postgres role {own} {state}, Postgres {kind} {own} {state}");
        assert_eq!(left.unwrap_err().message, expected);
        assert_eq!(gone.unwrap(), Progress::Done(()));
    }
    forget(&plan);
}

#[tokio::test]
async fn a_zone_or_delegation_that_is_left_is_named_and_a_server_that_is_down_is_no_empty_inventory() {
    let phase = TakeInventory::connect(&Platform::default()).await.unwrap();
    let mut plan = plan().await;
    let tenant = TenantId::generate();
    let step = step(tenant, Arc::default());
    let DnsSite { server, parent } = plan.dns.clone().unwrap();
    let secret = server.secret().unwrap().read_local().unwrap();
    let names = Dns::connect(&server, Some(&secret), "matih.ai").unwrap().owned_by(step.owner());
    let zone = parent.below(&format!("inventory-{}", &tenant.to_string()[24..]));
    let (own, above) = (dns::RecordZone::Own(zone.clone()), dns::RecordZone::Parent(parent.clone()));
    names.ensure_zone(&zone, 1).await.unwrap();
    let servers = vec!["ns1.matih.ai".to_owned()];
    let delegation = Records { name: zone.clone(), kind: "NS", ttl: 1, values: servers };
    names.ensure_records(&above, &delegation).await.unwrap();
    let address = Records { name: zone.clone(), kind: "A", ttl: 1, values: vec!["192.0.2.1".into()] };
    names.ensure_records(&own, &address).await.unwrap();
    let left = phase.revert(&plan, None, &step).await.unwrap_err().message;
    let is = "(present)";
    assert_eq!(left, format!("3 left: DNS A {zone} {is}, DNS NS {zone} {is}, DNS zone {zone} {is}"));
    names.ensure_zone_deleted(&zone, None).await.unwrap();
    let left = phase.revert(&plan, None, &step).await.unwrap_err().message;
    assert_eq!(left, format!("1 left: DNS NS {zone} {is}"), "the delegation alone");
    names.ensure_records_deleted(&above, &[(zone.clone(), "NS")]).await.unwrap();
    assert_eq!(phase.revert(&plan, None, &step).await.unwrap(), Progress::Done(()));

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    if let Some(DnsSite { server: DnsServer::PowerDns { settings, .. }, .. }) = &mut plan.dns {
        settings.parent_url = Some(format!("http://{}", nobody.local_addr().unwrap()));
    }
    drop(nobody);
    let error = phase.revert(&plan, None, &step).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable { dependency: "dns".into() });
    forget(&plan);
}

/// Runs tofu on a module with nothing in it but the backend.
async fn tofu(arguments: &[&str]) {
    let folder = std::env::temp_dir().join(format!("take-inventory-{}", RunId::generate()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("main.tf"), "terraform {\n  backend \"pg\" {}\n}\n").unwrap();
    for arguments in [&["init", "-input=false"], arguments] {
        let mut command = tokio::process::Command::new("tofu");
        command.current_dir(&folder).args(arguments).env("PG_CONN_STR", required("TERRAFORM_STATE_URL"));
        let done = command.env("TF_CLI_CONFIG_FILE", "/dev/null").output().await.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_workspace_that_is_left_is_named_and_a_state_that_cannot_be_read_is_no_empty_inventory() {
    let phase = TakeInventory::connect(&Platform::default()).await.unwrap();
    let tenant = TenantId::generate();
    let workspace = format!("tenant-{tenant}");
    let step = step(tenant, Arc::default());
    let mut plan =
        Plan { terraform: Some(SecretRef::Env("TERRAFORM_STATE_URL".into())), dns: None, ..plan().await };
    tofu(&["workspace", "new", &workspace]).await;
    let left = phase.revert(&plan, None, &step).await;
    tofu(&["workspace", "delete", &workspace]).await;
    assert_eq!(left.unwrap_err().message, format!("1 left: Terraform workspace {workspace} (present)"));
    assert_eq!(phase.revert(&plan, None, &step).await.unwrap(), Progress::Done(()));

    let nobody = std::env::temp_dir().join(format!("take-inventory-{}", RunId::generate()));
    std::fs::write(&nobody, "postgres://terraform:geheim@127.0.0.1:1/terraform").unwrap();
    plan.terraform = Some(SecretRef::File(nobody.to_str().unwrap().into()));
    let error = phase.revert(&plan, None, &step).await.unwrap_err();
    assert_eq!(
        (error.kind, error.code),
        (Kind::Unavailable { dependency: "terraform".into() }, "terraform_state_unavailable")
    );
    assert!(!error.message.contains("geheim"), "{}", error.message);
    std::fs::remove_file(nobody).unwrap();
    forget(&plan);
}

#[tokio::test]
async fn a_tenant_api_that_cannot_be_asked_is_no_empty_inventory() {
    let phase = TakeInventory::connect(&Platform::default()).await.unwrap();
    let mut plan = plan().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    plan.server.endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = phase.revert(&plan, None, &step(TenantId::generate(), Arc::default())).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable { dependency: "tenant-api".into() });
    forget(&plan);
}

#[tokio::test]
async fn what_is_left_is_named_until_nothing_is() {
    required("KUBECONFIG");
    let client = Cluster::connect().await.unwrap().client();
    let phase = TakeInventory::connect(&Platform::default()).await.unwrap();
    let plan = plan().await;
    let (tenant, other) = (TenantId::generate(), TenantId::generate());
    let metadata = |of: TenantId| {
        let name = format!("t-inventory-{}", &of.to_string()[24..]);
        json!({"metadata": {"name": name, "labels": {"matih.ai/tenant-id": of}}})
    };
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let namespaces: Api<Namespace> = Api::all(client);
    let mut names = Vec::new();
    for of in [tenant, other] {
        let role: ClusterRole = serde_json::from_value(metadata(of)).unwrap();
        names.push(role.metadata.name.clone().unwrap());
        roles.create(&PostParams::default(), &role).await.unwrap();
    }
    let namespace: Namespace = serde_json::from_value(metadata(tenant)).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();

    let fence = Arc::new(LastRecord::default());
    let error = phase.revert(&plan, None, &step(tenant, fence.clone())).await.unwrap_err();
    assert_eq!((&error.kind, error.code), (&Kind::Retryable, "left_over"));
    let name = &names[0];
    let expected = format!("2 left: ClusterRole {name} (present), Namespace {name} (present)");
    assert_eq!(error.message, expected);
    assert!(!error.next_action.is_empty());
    let recorded: Value = fence.operations()[0].result.clone();
    assert_eq!(recorded[0]["kind"], "ClusterRole", "the list is recorded for the operator: {recorded}");

    for name in &names {
        roles.delete(name, &DeleteParams::default()).await.unwrap();
    }
    namespaces.delete(name, &DeleteParams::default()).await.unwrap();
    loop {
        match phase.revert(&plan, None, &step(tenant, fence.clone())).await {
            Ok(done) => break assert_eq!(done, Progress::Done(())),
            Err(error) => assert!(error.message.contains("terminating"), "{error}"),
        }
    }
    forget(&plan);
}

#[tokio::test]
async fn in_a_region_with_a_cluster_of_its_own_the_control_planes_is_looked_at_too() {
    let kubeconfig = SecretRef::File(required("KUBECONFIG"));
    let cluster = Some(RegionCluster { region: "far".into(), kubeconfig });
    let phase = TakeInventory::connect(&Platform { cluster, ..Platform::default() }).await.unwrap();
    let tenant = TenantId::generate();
    let step = step(tenant, Arc::default());
    let terraform = Some(SecretRef::Env("TERRAFORM_STATE_URL".into()));
    let mut plan = Plan { terraform, dns: None, ..plan().await };
    let roles: Api<ClusterRole> = Api::all(Cluster::connect().await.unwrap().client());
    let name = format!("t-inventory-{}", &tenant.to_string()[24..]);
    let role = json!({ "metadata": { "name": name, "labels": { "matih.ai/tenant-id": tenant } } });
    roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();

    // Both are one API server here, which is asked as the one and as the other.
    let left = phase.revert(&plan, None, &step).await.unwrap_err().message;
    let (there, home) = (format!("ClusterRole {name} (present)"), "(present in the control plane's cluster)");
    assert_eq!(left, format!("2 left: {there}, ClusterRole {name} {home}"));
    // Only enterprise tenants have anything there.
    let terraform = plan.terraform.take();
    let left = phase.revert(&plan, None, &step).await.unwrap_err().message;
    assert_eq!(left, format!("1 left: {there}"));
    plan.terraform = terraform;
    roles.delete(&name, &DeleteParams::default()).await.unwrap();
    assert_eq!(phase.revert(&plan, None, &step).await.unwrap(), Progress::Done(()));
    forget(&plan);
}

#[tokio::test]
async fn it_is_never_run_forward() {
    let phase = TakeInventory::connect(&Platform::default()).await.unwrap();
    let plan = plan().await;
    let error = phase.apply(&plan, &step(TenantId::generate(), Arc::default())).await.unwrap_err();
    assert_eq!(error.kind, Kind::Fatal);
    forget(&plan);
}

#[tokio::test]
async fn the_job_broker_is_asked_by_the_reference_that_the_region_has_now() {
    let phase = TakeInventory::connect(&Platform::default()).await.unwrap();
    let mut plan = plan().await;
    let tenant = TenantId::generate();
    // One that is there anyway: only the user is this test's.
    let vhost = required("AMQP_URL").rsplit('/').next().unwrap().to_owned();
    let gone = SecretRef::File("/nowhere/management".into());
    plan.jobs = Some(Site { management: gone, vhost: vhost.clone() });
    let region = |vhost: &str| -> Region {
        serde_json::from_value(json!({
            "tenant_api_url": plan.server.endpoint, "internal_secret": plan.server.internal_secret,
            "database": {
                "host": plan.server.admin.host, "port": plan.server.admin.port, "shared_database": "region_eastus",
                "admin_user": plan.server.admin.user, "admin_password": plan.server.admin.password,
            },
            "jobs": { "management": "env:RABBITMQ_MANAGEMENT_URL", "vhost": vhost, "host": "jobs", "port": 5672 },
        }))
        .unwrap()
    };
    let management = Secret::new(required("RABBITMQ_MANAGEMENT_URL"));
    let broker = JobBroker::connect(&management, &vhost).unwrap();
    let now = || step(tenant, Arc::default()).in_region(Some(region(&vhost)));
    broker.ensure_user(now().owner(), &Secret::new("of no use to anybody")).await.unwrap();
    let left = phase.revert(&plan, None, &now()).await;
    // Another vhost's administrator says nothing of this one.
    let elsewhere = step(tenant, Arc::default()).in_region(Some(region("another")));
    let unread = phase.revert(&plan, None, &elsewhere).await;
    broker.remove_user(now().owner()).await.unwrap();
    let empty = phase.revert(&plan, None, &now()).await;
    forget(&plan);
    let expected = format!("1 left: RabbitMQ user tenant-{tenant} (present, vhost {vhost})");
    assert_eq!(left.unwrap_err().message, expected);
    assert_eq!(unread.unwrap_err().code, "secret_missing");
    assert_eq!(empty.unwrap(), Progress::Done(()));
}
