//! What is somebody else's is left as it is.

use engine::phase::{Kind, Scope};
use model::platform::JobBroker;
use model::secret::SecretRef;
use serde_json::{Value, json};
use std::time::Duration;

use testing::{create, kubectl};

use crate::world::World;

/// One object of each name that the phase wants, without the tenant's label or with another's.
fn theirs(namespace: &str) -> Vec<(&'static str, Value)> {
    let object = |kind: &str, api: &str, name: &str, more: Value| {
        let mut object = json!({
            "apiVersion": api, "kind": kind,
            "metadata": { "name": name, "namespace": namespace },
        });
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    let label = json!({ "app": "theirs" });
    let security = json!({ "runAsNonRoot": true, "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" } });
    let pod = json!({ "metadata": { "labels": label }, "spec": { "containers": [
        { "name": "theirs", "image": "theirs", "securityContext": security },
    ] } });
    let backend = json!({ "service": { "name": "theirs", "port": { "number": 80 } } });
    vec![
        (
            "secret",
            object("Secret", "v1", "tenant-api-internal", json!({ "stringData": { "current": "x" } })),
        ),
        (
            "secret",
            object("Secret", "v1", "tenant-api-jobs", json!({ "stringData": { "AMQP_PASSWORD": "x" } })),
        ),
        ("serviceaccount", object("ServiceAccount", "v1", "tenant-api", json!({}))),
        (
            "networkpolicy",
            object(
                "NetworkPolicy",
                "networking.k8s.io/v1",
                "allow-control-plane-to-tenant-api",
                json!({ "spec": { "podSelector": {}, "policyTypes": ["Ingress"] } }),
            ),
        ),
        (
            "networkpolicy",
            object(
                "NetworkPolicy",
                "networking.k8s.io/v1",
                "allow-tenant-api-to-job-broker",
                json!({ "spec": { "podSelector": {}, "policyTypes": ["Egress"] } }),
            ),
        ),
        ("service", object("Service", "v1", "tenant-api", json!({ "spec": { "ports": [{ "port": 80 }] } }))),
        (
            "service",
            object("Service", "v1", "tenant-api-control", json!({ "spec": { "ports": [{ "port": 80 }] } })),
        ),
        (
            "deployment",
            object(
                "Deployment",
                "apps/v1",
                "tenant-api",
                json!({ "spec": { "replicas": 0, "selector": { "matchLabels": label }, "template": pod } }),
            ),
        ),
        (
            "ingress",
            object(
                "Ingress",
                "networking.k8s.io/v1",
                "tenant-api",
                json!({ "spec": { "defaultBackend": backend } }),
            ),
        ),
    ]
}

/// A broker that is asked to undo only: before its user is made, its login's Secret is.
fn unasked() -> JobBroker {
    JobBroker {
        management: SecretRef::Env("RABBITMQ_MANAGEMENT_URL".into()),
        vhost: "tenant-jobs".into(),
        host: "127.0.0.1".into(),
        port: 5672,
        tls: false,
        cidrs: vec!["10.60.0.0/16".into()],
    }
}

#[tokio::test]
async fn something_foreign_of_a_wanted_name_is_fatal_and_stays_as_it_is() {
    World::run("", async |world| {
        world.platform.regions.get_mut("eastus").unwrap().jobs = Some(unasked());
        for (kind, object) in theirs(&world.namespace) {
            let name = object["metadata"]["name"].as_str().unwrap();
            create(&object);
            let steady = |found: Option<Value>| {
                let mut found = found.expect("it is there");
                found.as_object_mut().unwrap().remove("status");
                let metadata = found["metadata"].as_object_mut().unwrap();
                // A Deployment's controller writes its status, and a revision beside it.
                for written in ["resourceVersion", "managedFields", "annotations"] {
                    metadata.remove(written);
                }
                found
            };
            let before = steady(world.object(kind, name));
            let error = loop {
                match world.attempt(Duration::ZERO).await {
                    Err(error) if matches!(error.kind, Kind::Parked(_)) => {}
                    Err(error) => break error,
                    Ok(done) => panic!("{kind} {name}: {done:?}"),
                }
            };
            assert_eq!((&error.kind, error.code), (&Kind::Fatal, "foreign_object"), "{error}");
            assert!(error.message.contains(name), "{error}");
            world.undo(world.run, Scope::Run).await;
            world.undo(world.run, Scope::Tenant).await;
            assert_eq!(steady(world.object(kind, name)), before);
            // Nothing else is left.
            let there = world.there();
            assert_eq!(there.len(), 1 + usize::from(kind == "deployment"), "{there:#?}");
            kubectl(&["delete", kind, name, "-n", &world.namespace]);
        }
    })
    .await;
}
