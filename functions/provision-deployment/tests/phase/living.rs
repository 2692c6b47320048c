//! Made, made again, and taken away.

use engine::phase::Scope;
use model::RunId;
use model::secret::Secret;
use serde_json::{Value, json};
use tenant_api_client::own_secret;
use testing::kubectl;

use crate::world::World;

#[tokio::test]
async fn a_restricted_namespace_takes_the_instance_and_the_services_find_it() {
    World::run("", async |world| {
        let made = world.provision().await;
        let deployment = world.object("deployment", "tenant-api").unwrap();
        assert_eq!(deployment["metadata"]["uid"], made.container_id.as_str());
        assert_eq!((made.created_by, made.size.as_str()), (Some(world.run), "small"));
        let (slug, namespace) = (&world.tenant.slug, &world.namespace);
        assert_eq!(made.url, format!("https://api.{slug}.matih.ai"));
        assert_eq!(made.endpoint, format!("http://tenant-api-control.{namespace}.svc:8080"));

        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], "ip4x/tenant-api:latest");
        assert_eq!(
            container["resources"],
            json!({ "requests": { "cpu": "250m", "memory": "256Mi" }, "limits": { "cpu": "500m", "memory": "512Mi" } })
        );
        let environment = container["env"].as_array().unwrap().iter();
        let environment: Vec<&Value> = environment.map(|one| &one["name"]).collect();
        for name in ["TENANT_ID", "REDIS_PREFIX", "QUEUE_PREFIX", "STORAGE_PREFIX", "TENANT_DB_NAME", "NODE_ENV"] {
            assert!(environment.iter().any(|known| *known == name), "{name}: {environment:?}");
        }
        // The database's Secret is not there yet, and nothing waits for it.
        assert_eq!(world.object("secret", "tenant-database-credentials"), None);
        let strategy = &deployment["spec"]["strategy"]["rollingUpdate"];
        assert_eq!(*strategy, json!({ "maxSurge": 1, "maxUnavailable": 0 }));

        // What the API server's own controllers make of the selectors, `api-gateway` as CREATE_TENANT_INGRESS makes it.
        let gateway = ["create", "service", "clusterip", "api-gateway", "--tcp=8080:http", "-n", namespace];
        kubectl(&gateway);
        let select = r#"{"spec":{"selector":{"app":null,"app.kubernetes.io/name":"tenant-api"}}}"#;
        kubectl(&["patch", "service", "api-gateway", "-n", namespace, "-p", select]);
        for service in ["tenant-api", "tenant-api-control", "api-gateway"] {
            let selector = format!("--selector=kubernetes.io/service-name={service}");
            let condition = "--for=jsonpath={.endpoints[0].conditions.ready}=true";
            kubectl(&["wait", "endpointslices", &selector, condition, "-n", namespace, "--timeout=60s"]);
        }
        kubectl(&["delete", "service", "api-gateway", "-n", namespace]);

        let ingress = world.object("ingress", "tenant-api").unwrap();
        assert_eq!(ingress["spec"]["ingressClassName"], format!("nginx-{slug}"));
        assert_eq!(ingress["spec"]["tls"][0]["secretName"], format!("{slug}-tls-certificate"));
        let row = world.row().await.unwrap();
        assert_eq!((row.container_id, row.endpoint, row.url), (made.container_id, made.endpoint, made.url));
        assert_eq!((row.size.as_str(), row.replicas, row.created_by_run), ("small", 1, world.run.0));
    })
    .await;
}

#[tokio::test]
async fn what_is_done_twice_is_there_once_and_an_undo_takes_what_its_run_made() {
    World::run("", async |world| {
        // Undone before anything was done.
        world.undo(world.run, Scope::Run).await;
        let made = world.provision().await;
        let there = world.there();
        assert_eq!(there.len(), 9, "{there:#?}");
        assert_eq!(world.provision().await, made);
        assert_eq!(world.there(), there);
        // A later run finds it, and its rollback leaves it.
        let later = RunId::generate();
        assert_eq!(world.provision_by(later).await, made);
        world.undo(later, Scope::Run).await;
        assert_eq!(world.there(), there);
        assert!(world.row().await.is_some());
        for _ in 0..2 {
            world.undo(world.run, Scope::Run).await;
            assert_eq!(world.there(), [""; 0]);
            assert_eq!(world.row().await, None);
        }
        // A deprovisioning takes whatever is the tenant's.
        world.provision_by(later).await;
        world.undo(world.run, Scope::Tenant).await;
        assert_eq!(world.there(), [""; 0]);
        assert_eq!(world.row().await, None);
    })
    .await;
}

#[tokio::test]
async fn the_internal_secret_is_the_tenants_own_and_two_are_valid_while_it_changes() {
    World::run("", async |world| {
        let derived = |world: &World, region: &str| {
            own_secret(&Secret::new(region), world.tenant.id).expose().to_owned()
        };
        let accepted = |world: &World| {
            let secret = world.object("secret", "tenant-api-internal").unwrap();
            let format =
                "--template={{range $name, $value := .data}}{{$name}}={{$value | base64decode}} {{end}}";
            assert!(!secret.to_string().contains("region-secret"));
            kubectl(&["get", "secret", "tenant-api-internal", "-n", &world.namespace, format])
        };
        world.provision().await;
        let pods = world.object("deployment", "tenant-api").unwrap()["metadata"]["generation"].clone();
        assert_eq!(accepted(world), format!("current={} former= ", derived(world, "region-secret")));

        world.internal_secret("its-next");
        world.former_internal_secret(Some("region-secret"));
        world.provision().await;
        let both =
            format!("current={} former={} ", derived(world, "its-next"), derived(world, "region-secret"));
        assert_eq!(accepted(world), both);

        world.former_internal_secret(None);
        world.provision().await;
        assert_eq!(accepted(world), format!("current={} former= ", derived(world, "its-next")));
        let after = world.object("deployment", "tenant-api").unwrap()["metadata"]["generation"].clone();
        assert_eq!(after, pods, "no instance is started again for that");
    })
    .await;
}
