//! The phase against a real API server.
#![expect(clippy::unwrap_used, reason = "clippy knows only functions marked as tests for tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};
use shared::cluster::Cluster;
use shared::model::{RunId, TenantId};
use shared::phase::{Fence, Interrupt, Kind, Operation, Owner, Phase, Progress, Scope, Step, StepParts};
use shared::platform::Platform;
use take_inventory::{Plan, TakeInventory};

/// Keeps what was recorded last.
#[derive(Default)]
struct Kept(Mutex<Vec<Operation>>);

#[async_trait]
impl Fence for Kept {
    async fn record(&self, operations: &[Operation]) -> Result<(), Interrupt> {
        *self.0.lock().unwrap() = operations.to_vec();
        Ok(())
    }
}

fn step(tenant_id: TenantId, fence: Arc<Kept>) -> Step {
    let owner = Owner {
        tenant_id,
        slug: "acme".parse().unwrap(),
        run_id: RunId::generate(),
        epoch: 1,
        scope: Scope::Tenant,
    };
    Step::new(StepParts {
        owner,
        phase: TakeInventory::NAME,
        backward: true,
        failures: 0,
        waits: 0,
        waited: Duration::ZERO,
        fence,
        cancel: tokio_util::sync::CancellationToken::new(),
    })
}

#[tokio::test]
async fn what_is_left_is_named_until_nothing_is() {
    assert!(
        std::env::var_os("KUBECONFIG").is_some(),
        "KUBECONFIG is not set: this test needs a real API server; run it by `make test`"
    );
    let client = Cluster::connect().await.unwrap().client();
    let phase = TakeInventory::connect(&Platform::default()).await.unwrap();
    let plan = Plan { label_prefix: "matih.ai".into() };
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

    let fence = Arc::new(Kept::default());
    let error = phase.revert(&plan, None, &step(tenant, fence.clone())).await.unwrap_err();
    assert_eq!((&error.kind, error.code), (&Kind::Retryable, "left_over"));
    let name = &names[0];
    let expected = format!("2 left: ClusterRole {name} (present), Namespace {name} (present)");
    assert_eq!(error.message, expected);
    assert!(!error.next_action.is_empty());
    let recorded: Value = fence.0.lock().unwrap()[0].result.clone();
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
}

#[tokio::test]
async fn it_is_never_run_forward() {
    let phase = TakeInventory::connect(&Platform::default()).await.unwrap();
    let plan = Plan { label_prefix: "matih.ai".into() };
    let error = phase.apply(&plan, &step(TenantId::generate(), Arc::default())).await.unwrap_err();
    assert_eq!(error.kind, Kind::Fatal);
}
