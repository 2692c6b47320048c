//! What no caller can bring about on purpose: an object replaced between the look at it and the change to it.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::phase::{Owner, Scope};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use model::{RunId, TenantId};

use super::ensure::Manifest;
use super::{Cluster, Owned, Target};

fn config_map(namespace: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some("a".into()),
            namespace: Some(namespace.into()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("key".into(), value.into())])),
        ..ConfigMap::default()
    }
}

#[tokio::test]
async fn an_object_of_the_same_name_made_meanwhile_is_not_touched() {
    assert!(
        std::env::var_os("KUBECONFIG").is_some(),
        "KUBECONFIG is not set: this test needs a real API server; run it by `make test`"
    );
    let run_id = RunId::generate();
    let name = format!("t-cluster-replaced-{}", &run_id.to_string()[24..]);
    let slug = "acme".parse().unwrap();
    let owner = Owner { tenant_id: TenantId::generate(), slug, run_id, epoch: 1, scope: Scope::Tenant };
    let cluster = Cluster::connect().await.unwrap();
    let owned: Owned = cluster.owned_by(&owner, "matih.ai");
    let namespace = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
    owned.ensure(&Namespace { metadata: namespace, ..Namespace::default() }).await.unwrap();
    owned.ensure(&config_map(&name, "ours")).await.unwrap();

    let target = Target::of::<ConfigMap>(Some(&name), "a");
    let looked_at = owned.metadata(&target).await.unwrap().unwrap();
    let theirs: Api<ConfigMap> = Api::namespaced(cluster.client(), &name);
    theirs.delete("a", &DeleteParams::default()).await.unwrap();

    // First nothing is there, then something else.
    let wanted = Manifest::of(&config_map(&name, "ours")).unwrap();
    assert!(owned.apply(&wanted, &looked_at).await.unwrap().is_none());
    assert!(theirs.get_opt("a").await.unwrap().is_none(), "an apply with a uid creates nothing");
    let made = theirs.create(&PostParams::default(), &config_map(&name, "theirs")).await.unwrap();
    assert!(owned.apply(&wanted, &looked_at).await.unwrap().is_none());
    owned.delete(&target, &looked_at).await.unwrap();
    assert!(owned.gone_within(&target, looked_at.uid.as_deref(), Duration::from_secs(1)).await.unwrap());

    let found = theirs.get("a").await.unwrap();
    assert_eq!((found.metadata.uid, found.data), (made.metadata.uid, made.data));
    Api::<Namespace>::all(cluster.client()).delete(&name, &DeleteParams::default()).await.unwrap();
}
