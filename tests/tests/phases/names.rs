//! The tenant's names while something about DNS is amiss: the run waits, says why, and goes on once it is mended.

use std::time::{Duration, Instant};

use engine::decide::verbs::Verb;
use engine::store::AuditRow;
use model::platform::{Certificates, Seconds};
use model::{PhaseName, TenantId, Tier};
use reqwest::Method;
use serde_json::{Value, json};
use tenants::StatusRow;
use tests::{Failpoints, Proxy, RegionWorld, eventually, kubectl, names, required, slug};

const ZONE: &str = "CREATE_DNS_ZONE";
const INGRESS: &str = "CREATE_TENANT_INGRESS";

/// The phases that names need; the others would only take their time.
const NEEDED: [&str; 4] = ["CREATE_NAMESPACE", "DEPLOY_INGRESS_CONTROLLER", ZONE, INGRESS];

/// A tenant, and the run that is to find something amiss.
struct Run<'a> {
    world: &'a RegionWorld,
    failpoints: Failpoints,
    slug: String,
    tenant: TenantId,
}

impl<'a> Run<'a> {
    /// Held before an operation; of all phases, or of those that names need.
    async fn held(world: &'a RegionWorld, whole: bool, phase: &str, operation: &str) -> Self {
        let failpoints = Failpoints::of_this_process();
        let slug = slug("names");
        failpoints.set(&slug, [phase, "apply", operation, "before"], "hold");
        let tenant = if whole {
            world.provision(&slug, Tier::Professional, true).await
        } else {
            world.tenant_as(&slug, &[], |new| new.phases = NEEDED.map(PhaseName::new).to_vec()).await
        };
        world.working_at(tenant, phase).await;
        Self { world, failpoints, slug, tenant }
    }

    /// Waits until this operation of a phase is done.
    async fn has_done(&self, phase: &str, operation: &str) {
        let done = |row: &StatusRow| {
            let phase = row.phases.iter().find(|at| at.name == phase);
            let all = phase.and_then(|phase| phase.operations.as_array());
            all.into_iter().flatten().any(|one| one["name"] == operation && one["state"] == "done")
        };
        self.world.settled_row(self.tenant, &format!("has done '{operation}'"), done).await;
    }

    fn go(&self) {
        self.failpoints.lift(&self.slug, &[]);
    }

    fn host(&self) -> String {
        format!("{}.matih.ai", self.slug)
    }

    /// The path of its zone in a server's API.
    fn zone(&self) -> String {
        format!("zones/{}.", self.host())
    }

    /// Waits until the certificate's phase waits and says all of this; nobody is charged for it.
    async fn waits_saying(&self, words: &[&str]) {
        let says = |row: &StatusRow| {
            let phase = row.phases.iter().find(|at| at.name == INGRESS);
            let on = phase.and_then(|phase| phase.waiting_on.as_ref());
            on.is_some_and(|on| words.iter().all(|word| on.contains(word)))
        };
        let row = self.world.settled_row(self.tenant, &format!("waits saying {words:?}"), says).await;
        assert_eq!((row.run.direction.as_str(), row.run.status.as_str()), ("forward", "running"));
    }

    /// Asks for a retry until it is taken: a run that waits moves every few seconds, and a verb is about one moment of it.
    async fn is_retried(&self) {
        eventually("a retry is taken, or the run no longer waits", || async {
            self.world.ask(self.tenant, Verb::Retry).await.is_ok()
                || self.world.status(self.tenant).await.tenant.status == "ACTIVE"
        })
        .await;
    }

    async fn ends_well(&self) {
        let row = self.world.settled(self.tenant, "ACTIVE").await;
        let charged: i32 = row.phases.iter().map(|phase| phase.total_failures).sum();
        let actions = self.world.actions(self.tenant).await;
        assert_eq!(charged, 0, "{actions:?}");
        assert!(!actions.iter().any(|action| action == "RUN_ROLLING_BACK"), "{actions:?}");
    }

    async fn take_out(&self) {
        self.world.take_out(&self.slug, self.tenant).await;
    }
}

/// The tenant's zone lets somebody else answer challenges, and not cert-manager.
async fn update_refused(world: &RegionWorld) {
    let run = Run::held(world, true, INGRESS, "certificate").await;
    let path = format!("{}/metadata/TSIG-ALLOW-DNSUPDATE", run.zone());
    let before = names::child(Method::GET, &path, None).await;
    assert_eq!(before["metadata"], json!(["tenantry-acme"]));
    let other = json!({ "kind": "TSIG-ALLOW-DNSUPDATE", "metadata": ["somebody-elses"] });
    names::child(Method::PUT, &path, Some(&other)).await;
    run.go();
    run.waits_saying(&["challenge for ", &run.host(), " is pending: ", "REFUSED"]).await;
    names::child(Method::PUT, &path, Some(&before)).await;
    run.ends_well().await;
    run.take_out().await;
}

/// The delegation is gone: nobody finds the tenant's zone.
async fn delegation_missing(world: &RegionWorld) {
    let run = Run::held(world, false, INGRESS, "certificate").await;
    let name = format!("{}.", run.host());
    let path = format!("zones/matih.ai.?rrset_name={name}&rrset_type=NS");
    let found = names::parent(Method::GET, &path, None).await;
    // Asked for one name, the server shows the comments of all others too.
    let mut delegation: Vec<Value> = found["rrsets"].as_array().unwrap().clone();
    delegation
        .retain(|set| set["name"] == name && set["records"].as_array().is_some_and(|all| !all.is_empty()));
    assert_eq!(delegation.len(), 1, "{delegation:?}");
    let change = |kind: &str| {
        let mut set = delegation[0].clone();
        set["changetype"] = kind.into();
        json!({ "rrsets": [set] })
    };
    names::parent(Method::PATCH, "zones/matih.ai.", Some(&change("DELETE"))).await;
    run.go();
    // cert-manager finds the parent's zone in its place, which the server of the tenants' zones does not have.
    run.waits_saying(&[
        "challenge for ",
        &run.host(),
        " is pending: DNS update failed: ",
        "the parent zone delegates",
    ])
    .await;
    names::parent(Method::PATCH, "zones/matih.ai.", Some(&change("REPLACE"))).await;
    run.ends_well().await;
    run.take_out().await;
}

/// The parent's server has an empty zone of the name, which everybody is sent to: the ACME server refuses, and
/// cert-manager gives up for a while.
async fn refused_by_the_acme_server(world: &RegionWorld) {
    let run = Run::held(world, false, INGRESS, "certificate").await;
    let servers = ["ns1.matih.ai.", "ns2.matih.ai."];
    let empty = json!({ "name": format!("{}.", run.host()), "kind": "Native", "nameservers": servers });
    names::parent(Method::POST, "zones", Some(&empty)).await;
    run.go();
    let again = "; cert-manager tries again at 20";
    run.waits_saying(&[": failed, challenge for ", &run.host(), "urn:ietf:params:acme:error:", again]).await;
    // As after many failures: by itself, cert-manager would not try again for minutes.
    let certificate = format!("{}-tls-certificate", run.slug);
    let what = ["certificate", &certificate, "-n", &format!("matih-{}", run.slug)];
    let often = r#"--patch={"status":{"failedIssuanceAttempts":6}}"#;
    kubectl(&[&["patch"], &what[..], &["--subresource=status", "--type=merge", often]].concat()).await;
    names::parent(Method::DELETE, &run.zone(), None).await;
    run.is_retried().await;
    run.ends_well().await;
    run.take_out().await;
}

/// How often a run has found the DNS server down.
async fn found_down(run: &Run<'_>) -> usize {
    let log = run.world.store.audit(run.tenant, 0, 10_000).await.unwrap();
    let down = |row: &&AuditRow| {
        row.action == "PHASE_UNAVAILABLE" && row.detail["error"]["code"] == "dns_unavailable"
    };
    log.iter().filter(down).count()
}

/// Cuts the way to the server while the run is held, lets the run go on and find it down twice, and opens the way again.
async fn is_down_for_a_while(run: &Run<'_>, server: &Proxy, direction: &str) {
    let before = found_down(run).await;
    server.cut().await;
    run.go();
    let began = Instant::now();
    while found_down(run).await < before + 2 {
        let row = run.world.status(run.tenant).await;
        assert!(began.elapsed() < Duration::from_mins(3), "not parked, but {row:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let row = run.world.status(run.tenant).await;
    assert_eq!((row.run.direction.as_str(), row.run.status.as_str()), (direction, "running"));
    server.open().await;
}

/// The server of the tenants' zones is down in the middle of the work, and of its undo.
async fn server_down(world: &RegionWorld, server: &Proxy) {
    let run = Run::held(world, false, ZONE, "addresses").await;
    run.has_done(ZONE, "delegation").await;
    is_down_for_a_while(&run, server, "forward").await;
    run.ends_well().await;
    run.failpoints.set(&run.slug, [ZONE, "revert", "remove addresses", "before"], "hold");
    world.ask(run.tenant, Verb::Delete).await.unwrap();
    run.has_done(ZONE, "look for addresses").await;
    is_down_for_a_while(&run, server, "backward").await;
    let row = world.settled(run.tenant, "DELETED").await;
    assert_eq!(row.phases.iter().map(|phase| phase.total_failures).sum::<i32>(), 0);
    world.gone(&run.slug, run.tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_amiss_with_dns_is_waited_for_with_its_reason_and_once_mended_gone_on_with() {
    Failpoints::of_this_process();
    let server = Proxy::to(required("PDNS_URL").trim_start_matches("http://")).await;
    let url = format!("http://{}", server.address());
    RegionWorld::run(
        |platform| {
            // By the ACME server, and as the local cert-manager is started.
            platform.certificates = Certificates {
                backoff: Seconds(10.0),
                backoff_cap: Seconds(320.0),
                ..Certificates::default()
            };
            platform.dns.powerdns.as_mut().unwrap().url = url;
            platform.engine.unavailable_within = Seconds(600.0);
        },
        |world| async move {
            let dispatcher = world.dispatch_all().await;
            tokio::join!(
                update_refused(&world),
                delegation_missing(&world),
                refused_by_the_acme_server(&world),
                server_down(&world, &server),
            );
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}
