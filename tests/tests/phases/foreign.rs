//! Somebody else's things under the names that a tenant wants: left as they are, before and after the rollback.

use engine::decide::verbs::Verb;
use futures::future::join_all;
use model::{TenantId, Tier};
use reqwest::Method;
use serde_json::Value;
use tenants::StatusRow;
use tests::{Failpoints, RegionWorld, kubectl, kubectl_with, names, required, slug};

/// A tenant whose run is held where the test puts something in its way.
struct HeldRun<'a> {
    world: &'a RegionWorld,
    failpoints: Failpoints,
    slug: String,
    tenant: TenantId,
}

impl<'a> HeldRun<'a> {
    async fn at(world: &'a RegionWorld, phase: &str, operation: &str, dedicated: bool) -> Self {
        let failpoints = Failpoints::of_this_process();
        let slug = slug("foreign");
        failpoints.set(&slug, [phase, "apply", operation, "before"], "hold");
        let tenant = world.provision(&slug, Tier::Professional, dedicated).await;
        world.working_at(tenant, phase).await;
        Self { world, failpoints, slug, tenant }
    }

    fn namespace(&self) -> String {
        format!("matih-{}", self.slug)
    }

    fn own(&self) -> String {
        format!("tenant_{}", self.tenant)
    }

    fn go(&self) {
        self.failpoints.lift(&self.slug, &[]);
    }

    async fn fails_with(&self, code: &str, naming: &str) {
        let row = self.world.settled(self.tenant, "FAILED").await;
        let error = row.tenant.provisioning_error.unwrap_or(Value::Null);
        let said = error["message"].as_str().unwrap_or_default();
        assert!(error["code"] == code && error["kind"] == "fatal" && said.contains(naming), "{error}");
        assert_eq!(row.phases.iter().map(|phase| phase.total_failures).sum::<i32>(), 1, "tried once");
    }
}

async fn read(what: &[&str]) -> String {
    let arguments =
        [&["get"], what, &["--output=jsonpath={.metadata.uid} {.metadata.resourceVersion}"]].concat();
    kubectl(&arguments).await
}

async fn namespace(world: &RegionWorld) {
    let held = HeldRun::at(world, "CREATE_NAMESPACE", "namespace", true).await;
    let name = held.namespace();
    kubectl(&["create", "namespace", &name]).await;
    kubectl(&["create", "configmap", "theirs", "--from-literal=a=b", "-n", &name]).await;
    // Kubernetes itself completes a new namespace; what is compared must not change for that.
    tests::eventually("its account", || async {
        !kubectl(&["get", "serviceaccount", "default", "-n", &name, "--ignore-not-found"]).await.is_empty()
    })
    .await;
    let before = (read(&["namespace", &name]).await, read(&["configmap", "theirs", "-n", &name]).await);
    let account = read(&["serviceaccount", "default", "-n", &name]).await;
    held.go();
    held.fails_with("foreign_object", &name).await;
    let after = (read(&["namespace", &name]).await, read(&["configmap", "theirs", "-n", &name]).await);
    assert_eq!(after, before);
    assert_eq!(read(&["serviceaccount", "default", "-n", &name]).await, account);
    kubectl(&["delete", "namespace", &name, "--wait=false"]).await;
}

/// Somebody else's object that belongs to no namespace.
async fn ingress_class(world: &RegionWorld) {
    let held = HeldRun::at(world, "DEPLOY_INGRESS_CONTROLLER", "release", true).await;
    let name = format!("nginx-{}", held.slug);
    let class = serde_json::json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": { "name": name },
        "spec": { "controller": "example.com/theirs" },
    });
    kubectl_with(&["create", "-f", "-"], &class.to_string()).await;
    let before = read(&["ingressclass", &name]).await;
    held.go();
    held.fails_with("foreign_object", &name).await;
    assert_eq!(read(&["ingressclass", &name]).await, before);
    world.gone(&held.slug, held.tenant).await;
    kubectl(&["delete", "ingressclass", &name]).await;
}

/// Somebody else's zone of the tenant's name.
async fn zone(world: &RegionWorld) {
    let held = HeldRun::at(world, "CREATE_DNS_ZONE", "zone", true).await;
    let name = format!("{}.matih.ai", held.slug);
    let records = serde_json::json!([{
        "name": format!("api.{name}."), "type": "A", "ttl": 60,
        "records": [{ "content": "198.51.100.1", "disabled": false }],
        "comments": [{ "content": "theirs", "account": "somebody" }],
    }]);
    let zone = serde_json::json!({
        "name": format!("{name}."), "kind": "Native", "account": "somebody", "nameservers": ["ns1.example."],
        "rrsets": records,
    });
    names::child(Method::POST, "zones", Some(&zone)).await;
    let path = format!("zones/{name}.");
    let read = || async {
        let metadata = names::child(Method::GET, &format!("{path}/metadata"), None).await;
        (names::child(Method::GET, &path, None).await, metadata)
    };
    let before = read().await;
    assert_eq!(before.0["account"], "somebody");
    held.go();
    held.fails_with("foreign_object", &name).await;
    assert_eq!(read().await, before);
    names::child(Method::DELETE, &path, None).await;
    // Nothing but what was theirs, the parent's zone included.
    world.gone(&held.slug, held.tenant).await;
}

/// Somebody else's role, database or schema of the tenant's name.
async fn in_postgres(world: &RegionWorld, kind: &str) {
    let held = HeldRun::at(world, "SETUP_DATABASE", "initialize database", kind != "schema").await;
    let own = held.own();
    let (made, question) = match kind {
        "role" => (
            vec![format!("CREATE ROLE \"{own}\" LOGIN"), format!("COMMENT ON ROLE \"{own}\" IS 'theirs'")],
            format!(
                "SELECT oid || ' ' || rolcanlogin || ' ' || rolconnlimit || shobj_description(oid, 'pg_authid') \
                 FROM pg_roles WHERE rolname = '{own}'"
            ),
        ),
        "database" => (
            // Closed to others already: any tenant's initialisation closes whatever is open.
            vec![
                format!("CREATE DATABASE \"{own}\""),
                format!("REVOKE ALL ON DATABASE \"{own}\" FROM PUBLIC"),
                format!("COMMENT ON DATABASE \"{own}\" IS 'theirs'"),
            ],
            format!(
                "SELECT oid || ' ' || datdba || ' ' || datconnlimit || COALESCE(datacl::text, '') || \
                 shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{own}'"
            ),
        ),
        _ => (
            vec![
                format!("CREATE SCHEMA \"{own}\""),
                format!("COMMENT ON SCHEMA \"{own}\" IS 'theirs'"),
                format!("CREATE TABLE \"{own}\".kept (a int)"),
            ],
            format!(
                "SELECT n.oid || ' ' || nspowner || ' ' || COALESCE(nspacl::text, '') || obj_description(n.oid) || \
                 c.oid FROM pg_namespace n JOIN pg_class c ON relnamespace = n.oid WHERE nspname = '{own}'"
            ),
        ),
    };
    for statement in &made {
        world.region_sql(statement).await;
    }
    let before = world.region_value(&question).await;
    assert!(before.is_some());
    held.go();
    held.fails_with(&format!("foreign_{kind}"), &own).await;
    assert_eq!(world.region_value(&question).await, before);
    // Nothing but what was theirs.
    let mut left = world.outside(&held.slug, held.tenant).await;
    left.retain(|line| !line.starts_with("queue "));
    assert_eq!(left.len(), 1, "{left:?}");
    let drop = if kind == "schema" { " CASCADE" } else { "" };
    world.region_sql(&format!("DROP {kind} \"{own}\"{drop}")).await;
}

/// Somebody else's object in the tenant's namespace. The namespace is of an earlier run, so the rollback leaves it: one
/// that this run has made goes with everything that was put into it.
async fn in_the_namespace(
    world: &RegionWorld,
    (phase, named): (&str, &str),
    what: &[&str],
    make: impl AsyncFn(&str),
) {
    let held = HeldRun::at(world, "CREATE_NAMESPACE", "namespace", true).await;
    let name = held.namespace();
    let manifest = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": name, "labels": { "matih.ai/tenant-id": held.tenant } },
    });
    kubectl_with(&["create", "-f", "-"], &manifest.to_string()).await;
    make(&name).await;
    let what = [what, &["-n", &name]].concat();
    let before = read(&what).await;
    held.go();
    let stuck = |row: &StatusRow| row.run.status == "stuck";
    let row =
        world.settled_row(held.tenant, "stuck, for the namespace is the tenant's and is left", stuck).await;
    let error = row.tenant.provisioning_error.clone().unwrap_or(Value::Null);
    let said = error["message"].as_str().unwrap_or_default();
    assert!(error["code"] == "foreign_object" && said.contains(&format!("{name}/{named}")), "{error}");
    let failed = row.phases.iter().find(|at| at.name == phase).unwrap();
    assert_eq!(failed.state, "reverted");
    assert_eq!(read(&what).await, before);
    world.ask(held.tenant, Verb::Abandon).await.unwrap();
    let row = world.settled(held.tenant, "FAILED").await;
    assert!(row.run.leftovers.is_some_and(|left| left.to_string().contains(&name)));
    assert_eq!(read(&what).await, before);
    world.take_out(&held.slug, held.tenant).await;
}

async fn release(namespace: &str) {
    let repository = format!("--repo={}", required("CHART_REPOSITORY_URL"));
    let arguments =
        ["install", "query-engine", "query-engine", &repository, "--version=0.1.0", "-n", namespace];
    let helm = tokio::process::Command::new("helm").args(arguments).output().await.unwrap();
    assert!(helm.status.success(), "{}", String::from_utf8_lossy(&helm.stderr));
}

async fn secret(namespace: &str) {
    let arguments = [
        "create",
        "secret",
        "generic",
        "tenant-database-credentials",
        "--from-literal=DATABASE_URL=theirs",
        "-n",
        namespace,
    ];
    kubectl(&arguments).await;
}

async fn policy(namespace: &str) {
    let policy = serde_json::json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": "allow-egress-dns", "namespace": namespace },
        "spec": { "podSelector": {}, "policyTypes": ["Egress"] },
    });
    kubectl_with(&["create", "-f", "-"], &policy.to_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_somebody_elses_stops_the_run_and_stays_as_it_is() {
    Failpoints::of_this_process();
    RegionWorld::run(
        |_| {},
        |world| async move {
            let dispatcher = world.dispatch_all().await;
            let world = &world;
            let postgres = join_all(["role", "database", "schema"].map(|kind| in_postgres(world, kind)));
            let release_is = ["secret", "sh.helm.release.v1.query-engine.v1"];
            let secret_is = ["secret", "tenant-database-credentials"];
            let policy_is = ["networkpolicy", "allow-egress-dns"];
            tokio::join!(
                namespace(world),
                ingress_class(world),
                zone(world),
                postgres,
                in_the_namespace(world, ("DEPLOY_CORE_SERVICES", "query-engine"), &release_is, release),
                in_the_namespace(world, ("SETUP_DATABASE", secret_is[1]), &secret_is, secret),
                in_the_namespace(world, ("CONFIGURE_NETWORKING", policy_is[1]), &policy_is, policy),
            );
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}
