//! A tenant's own domains: each with a certificate of its own, whose failure touches no other.

use std::process::Stdio;

use cluster::Cluster;
use cluster::certificate::{Backoff, Issuance};
use model::platform::{Certificates, Seconds};
use model::{TenantId, Tier};
use reqwest::Method;
use serde_json::{Value, json};
use tenants::Duty;
use tests::{RegionWorld, eventually, kubectl, names, slug};

/// The phases that names need; the others would only take their time.
const NEEDED: [&str; 4] =
    ["CREATE_NAMESPACE", "DEPLOY_INGRESS_CONTROLLER", "CREATE_DNS_ZONE", "CREATE_TENANT_INGRESS"];

/// A tenant with domains in zones of their own.
struct Owner<'a> {
    world: &'a RegionWorld,
    slug: String,
    tenant: TenantId,
}

impl Owner<'_> {
    fn namespace(&self) -> String {
        format!("matih-{}", self.slug)
    }

    /// A domain that is verified, its number, and its zone.
    async fn owns(&self, domain: &str) -> i32 {
        let zone =
            json!({ "name": format!("{domain}."), "kind": "Native", "nameservers": ["ns1.matih.ai."] });
        names::parent(Method::POST, "zones", Some(&zone)).await;
        let rules = &self.world.platform.domains;
        let claimed = self.world.store.claim_domain(self.tenant, domain, rules, "tester").await.unwrap();
        self.verifies(domain).await;
        claimed.number
    }

    async fn verifies(&self, domain: &str) {
        self.world.store.domain_verified(self.tenant, domain, "tester").await.unwrap().unwrap();
    }

    /// Points the domain's challenges to the tenant's zone.
    async fn delegates(&self, domain: &str, number: i32) {
        let target = self.world.platform.delegated_challenge(&self.slug, number).unwrap();
        let set = json!({ "rrsets": [{
            "name": format!("_acme-challenge.{domain}."), "type": "CNAME", "ttl": 1, "changetype": "REPLACE",
            "records": [{ "content": format!("{target}."), "disabled": false }],
        }] });
        names::parent(Method::PATCH, &format!("zones/{domain}."), Some(&set)).await;
    }

    /// What has become due is begun, and succeeds.
    async fn is_served(&self) {
        let begun = self.world.store.upkeep(&self.world.platform).await.unwrap();
        let begun: Vec<_> = begun.iter().map(|begun| (begun.tenant, begun.duty, begun.run)).collect();
        assert_eq!(begun.len(), 1, "{begun:?}");
        let (tenant, duty, run) = begun[0];
        assert_eq!((tenant, duty), (self.tenant, Duty::Domains));
        self.world.store.notify().await.unwrap();
        let ended = |row: &tenants::StatusRow| row.run.id == run.0 && row.run.finished_at.is_some();
        let row = self.world.settled_row(self.tenant, "served", ended).await;
        assert_eq!(row.run.status, "succeeded", "{row:#?}");
        assert_eq!(self.world.store.upkeep(&self.world.platform).await.unwrap(), []);
    }

    async fn how(&self, number: i32) -> Option<(Issuance, Option<String>)> {
        let backoff = Backoff { first: 10.0, cap: 320.0 };
        let name = format!("{}-domain-{number}", self.slug);
        let cluster = Cluster::connect().await.unwrap();
        cluster.certificate_now(&self.namespace(), &name, backoff).await.unwrap()
    }

    async fn is_ready(&self, number: i32) {
        eventually("the certificate is issued", || async {
            matches!(self.how(number).await, Some((Issuance::Ready { .. }, _)))
        })
        .await;
    }

    /// Certificates, Secrets with certificates and Ingresses: kind, name and uid.
    async fn there(&self) -> Vec<String> {
        let format = r#"-o=jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid}{"\n"}{end}"#;
        let namespace = self.namespace();
        let mut all = String::new();
        for what in [&["certificates,ingresses"][..], &["secrets", "--field-selector=type=kubernetes.io/tls"]]
        {
            all += &kubectl(&[&["get", "-n", &namespace, format], what].concat()).await;
        }
        all.lines().map(str::to_owned).collect()
    }
}

/// Whether the Secret's certificate is for this host.
async fn is_for(namespace: &str, secret: &str, host: &str) -> bool {
    let template = r#"--template={{index .data "tls.crt" | base64decode}}"#;
    let chain = kubectl(&["get", "secret", secret, "-n", namespace, template]).await;
    let mut openssl = tokio::process::Command::new("openssl")
        .args(["x509", "-noout", "-checkhost", host])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = openssl.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, chain.as_bytes()).await.unwrap();
    drop(stdin);
    let said = openssl.wait_with_output().await.unwrap().stdout;
    String::from_utf8_lossy(&said).contains("does match")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_domain_has_a_certificate_of_its_own_and_one_that_fails_touches_no_other() {
    RegionWorld::run(
        |platform| {
            platform.certificates = Certificates {
                backoff: Seconds(10.0),
                backoff_cap: Seconds(320.0),
                ..Certificates::default()
            };
        },
        |world| async move {
            let dispatcher = world.dispatch_all().await;
            let slug = slug("domains");
            let tenant = world.provision_these(&slug, Tier::Free, false, &NEEDED).await;
            world.settled(tenant, "ACTIVE").await;
            let owner = Owner { world: &world, slug: slug.clone(), tenant };
            let own = owner.there().await;
            assert_eq!(world.store.upkeep(&world.platform).await.unwrap(), []);

            let (good, bad) = (format!("{slug}-good.example"), format!("{slug}-bad.example"));
            let first = owner.owns(&good).await;
            owner.delegates(&good, first).await;
            let second = owner.owns(&bad).await;
            assert_eq!((first, second), (1, 2));
            owner.is_served().await;
            owner.is_ready(first).await;
            assert!(is_for(&owner.namespace(), &format!("{slug}-domain-1"), &good).await);
            assert!(!is_for(&owner.namespace(), &format!("{slug}-domain-1"), &bad).await);
            let (state, why) = owner.how(second).await.unwrap();
            assert_ne!(state, Issuance::Ready { not_after: None });
            assert!(why.as_ref().is_some_and(|why| why.contains(&bad)), "{state:?} {why:?}");
            let with_both = owner.there().await;
            assert!(own.iter().all(|one| with_both.contains(one)), "{own:?} {with_both:?}");
            let host = ["get", "ingress", &format!("{slug}-domain-1"), "-n", &owner.namespace()];
            let host =
                kubectl(&[&host[..], &["-o=jsonpath={.spec.rules[*].host} {.spec.tls[*].hosts}"]].concat())
                    .await;
            assert_eq!(host, format!("{good} [\"{good}\"]"));

            // Its owner mends it and verifies it again.
            owner.delegates(&bad, second).await;
            owner.verifies(&bad).await;
            owner.is_served().await;
            owner.is_ready(second).await;

            // Given up, it goes, and the other stays as it is.
            assert!(world.store.give_up_domain(tenant, &good, "tester").await.unwrap());
            owner.is_served().await;
            let left = owner.there().await;
            assert!(!left.iter().any(|one| one.contains("-domain-1 ")), "{left:?}");
            let seconds = left.iter().filter(|one| one.contains("-domain-2 ")).count();
            assert_eq!(seconds, 3, "Certificate, Ingress and Secret: {left:?}");
            let kept = with_both.iter().filter(|one| one.contains("-domain-2 "));
            assert!(kept.into_iter().all(|one| left.contains(one)), "{with_both:?} {left:?}");
            let orders = kubectl(&["get", "challenges,orders", "-n", &owner.namespace(), "-o=name"]).await;
            assert!(orders.lines().count() <= 2, "those of what stays: {orders}");

            world.take_out(&slug, tenant).await;
            for domain in [good, bad] {
                names::parent(Method::DELETE, &format!("zones/{domain}."), None::<&Value>).await;
            }
            dispatcher.stop().await.unwrap();
        },
    )
    .await;
}
