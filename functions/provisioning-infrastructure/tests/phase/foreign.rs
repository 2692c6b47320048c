//! What is somebody else's.

use engine::phase::{Kind, Scope};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};

use crate::world::{World, with_slow};

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_password_is_left_as_it_is_and_nothing_is_made() {
    with_slow(|world: World| async move {
        let secrets: Api<Secret> = Api::namespaced(world.cluster.client(), "matih-system");
        let name = format!("infrastructure-{}", world.tenant.id);
        let foreign = Secret {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            data: Some([("password".to_owned(), ByteString(b"theirs".to_vec()))].into()),
            ..Secret::default()
        };
        secrets.create(&PostParams::default(), &foreign).await.unwrap();
        let error = world.try_apply().await.unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Fatal, "foreign_object"));
        world.revert(Scope::Tenant).await;
        assert_eq!(world.password().await.as_deref(), Some("theirs"));
        assert_eq!((world.made(), world.stored().await), (Vec::new(), None));
        secrets.delete(&name, &DeleteParams::default()).await.unwrap();
    })
    .await;
}
