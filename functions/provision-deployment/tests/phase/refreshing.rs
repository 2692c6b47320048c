//! What the platform and the region have become is brought to an instance that lives, and taken back as far as it may be.

use engine::phase::Scope;
use model::RunId;
use model::secret::{Secret, SecretRef};
use reqwest::Method;
use serde_json::{Value, json};
use tenant_api_client::own_secret;
use testing::kubectl;

use crate::jobs::{Broker, log_in};
use crate::world::World;

/// What the instance accepts, as its Secret has it.
fn accepted(world: &World) -> String {
    let format = "--template={{range $name, $value := .data}}{{$name}}={{$value | base64decode}} {{end}}";
    kubectl(&["get", "secret", "tenant-api-internal", "-n", &world.namespace, format])
}

fn current_and_former(world: &World, current: &str, former: &str) -> String {
    let derived = |region: &str| match region {
        "" => String::new(),
        region => own_secret(&Secret::new(region), world.tenant.id).expose().to_owned(),
    };
    format!("current={} former={} ", derived(current), derived(former))
}

/// The public keys that the Deployment's pods, every one of them, have.
fn keys_of_pods(world: &World) -> Vec<Value> {
    let pods = kubectl(&[
        "get",
        "pods",
        "-n",
        &world.namespace,
        "-l",
        "app.kubernetes.io/name=tenant-api",
        "-o=json",
    ]);
    let pods: Value = serde_json::from_str(&pods).unwrap();
    let living = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
    let keys = |pod: &Value| {
        let environment = pod["spec"]["containers"][0]["env"].as_array().unwrap().iter();
        environment.clone().find(|one| one["name"] == "LICENSE_PUBLIC_KEYS").unwrap()["value"].clone()
    };
    pods["items"].as_array().unwrap().iter().filter(living).map(keys).collect()
}

fn generation(world: &World) -> Value {
    world.object("deployment", "tenant-api").unwrap()["metadata"]["generation"].clone()
}

#[tokio::test]
async fn new_keys_and_a_new_internal_secret_reach_a_living_instance_and_no_undo_brings_a_retired_one_back() {
    World::run("", async |world| {
        world.platform.tenant_api.license_public_keys = "one=AAAA".into();
        world.provision().await;
        let before = world.plan().await;
        let retired = world.platform.regions["eastus"].internal_secret.clone();
        assert_eq!(accepted(world), current_and_former(world, "region-secret", ""));

        // The secret alone starts no pod again: the instance reads the mounted files for every call.
        let pods = generation(world);
        world.internal_secret("its-next");
        world.former_internal_secret(Some("region-secret"));
        world.make(&world.plan().await, RunId::generate()).await;
        assert_eq!(accepted(world), current_and_former(world, "its-next", "region-secret"));
        assert_eq!(generation(world), pods);

        world.platform.tenant_api.license_public_keys = "one=AAAA,two=BBBB".into();
        world.make(&world.plan().await, RunId::generate()).await;
        assert_ne!(generation(world), pods);
        assert_eq!(keys_of_pods(world), [json!("one=AAAA,two=BBBB")]);

        // Undone while both are accepted, and when the one of before is retired and nowhere to be read any more.
        world.make(&before, RunId::generate()).await;
        assert_eq!(keys_of_pods(world), [json!("one=AAAA")], "what the plan of before said");
        assert_eq!(accepted(world), current_and_former(world, "its-next", "region-secret"));
        world.former_internal_secret(None);
        let SecretRef::File(file) = retired else { panic!("a file") };
        std::fs::remove_file(file).unwrap();
        world.make(&before, RunId::generate()).await;
        assert_eq!(accepted(world), current_and_former(world, "its-next", ""));
    })
    .await;
}

#[tokio::test]
async fn a_region_that_gets_a_broker_gives_it_to_a_living_tenant_and_takes_it_back_with_the_change() {
    World::run("", async |world| {
        let broker = Broker::new();
        let path = format!("users/tenant-{}", world.tenant.id);
        world.provision().await;
        let (before, there) = (world.plan().await, world.there());
        world.platform.regions.get_mut("eastus").unwrap().jobs = Some(broker.settings());
        let change = RunId::generate();
        let made = world.make(&world.plan().await, change).await;
        assert_eq!(made.jobs.unwrap().created_by, Some(change));
        log_in(world).await.unwrap();
        let with_jobs = ["secret", "networkpolicy"].map(|kind| {
            let name = if kind == "secret" { "tenant-api-jobs" } else { "allow-tenant-api-to-job-broker" };
            world.object(kind, name).is_some()
        });
        assert_eq!(with_jobs, [true, true]);

        // Another change's undo leaves what it has not made.
        world.make(&before, RunId::generate()).await;
        assert_eq!(broker.call(Method::GET, &path, None).await.0, 200);
        for _ in 0..2 {
            world.make(&before, change).await;
            assert_eq!(broker.call(Method::GET, &path, None).await.0, 404);
        }
        // Pods and their ReplicaSets come and go with the template.
        let kept = |all: Vec<String>| -> Vec<String> {
            all.into_iter()
                .filter(|line| !line.starts_with("Pod/") && !line.starts_with("ReplicaSet/"))
                .collect()
        };
        assert_eq!(kept(world.there()), kept(there));

        // A change that was given up in the middle: the plan that holds may not know of the user.
        world.make(&world.plan().await, change).await;
        world.take_away(&before, RunId::generate(), Scope::Tenant).await;
        assert_eq!((broker.call(Method::GET, &path, None).await.0, world.there()), (404, Vec::new()));
        broker.call(Method::DELETE, &format!("vhosts/{}", broker.vhost), None).await;
    })
    .await;
}
