//! Domains of a tenant's own, with a real DNS server to show them in.

use model::platform::Platform;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use testing::required;

use crate::world::{Answer, World, with_platform, with_world};

/// The DNS of the tenants themselves: any server of the stack will do.
fn asking_the_server(platform: &mut Platform) {
    platform.domains.resolver = Some(required("PARENT_DNS_ADDR").parse().unwrap());
}

/// A domain that nobody else has.
fn fresh() -> String {
    format!("d{}.example", uuid::Uuid::now_v7().simple())
}

async fn dns(method: Method, path: &str, body: &Value) {
    let url = format!("{}/api/v1/servers/localhost/{path}", required("PARENT_PDNS_URL"));
    let asked = Client::new().request(method, url).header("X-API-Key", required("PDNS_API_KEY")).json(body);
    let answer = asked.send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

async fn make_zone(domain: &str) {
    let zone = json!({ "name": format!("{domain}."), "kind": "Native", "nameservers": ["ns1.matih.ai."] });
    dns(Method::POST, "zones", &zone).await;
}

async fn put_text(domain: &str, name: &str, texts: &[&str]) {
    let records: Vec<Value> =
        texts.iter().map(|text| json!({ "content": format!("\"{text}\""), "disabled": false })).collect();
    let set = json!({ "rrsets": [{ "name": format!("{name}."), "type": "TXT", "ttl": 1, "changetype": "REPLACE",
                                   "records": records }] });
    dns(Method::PATCH, &format!("zones/{domain}."), &set).await;
}

async fn drop_zone(domain: &str) {
    dns(Method::DELETE, &format!("zones/{domain}."), &json!({})).await;
}

impl World {
    async fn claim_domain(&self, tenant: &str, domain: &str) -> Answer {
        let path = format!("/api/v1/tenants/{tenant}/domains");
        Answer::of(self.request(Method::POST, &path).json(&json!({ "domain": domain })).send().await.unwrap())
            .await
    }

    async fn verify_domain(&self, tenant: &str, domain: &str) -> Answer {
        let path = format!("/api/v1/tenants/{tenant}/domains/{domain}/verify");
        Answer::of(self.request(Method::POST, &path).send().await.unwrap()).await
    }

    async fn actions(&self, tenant: &str) -> Vec<String> {
        let audit = self.get(&format!("/api/v1/tenants/{tenant}/provisioning/audit")).await.ok(200).body;
        let entries = audit["entries"].as_array().unwrap().iter();
        entries.map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn a_domain_is_the_tenants_once_its_challenge_stands_in_the_dns() {
    with_platform(asking_the_server, |world| async move {
        world.tenant("acme").await;
        let domain = fresh();
        let claimed = world.claim_domain("acme", &domain.to_uppercase()).await.ok(201).body;
        assert_eq!((&claimed["domain"], &claimed["verified"]), (&json!(domain), &json!(false)));
        let challenge = &claimed["challenge"];
        assert_eq!(
            claimed["certificateChallenge"],
            json!({ "type": "CNAME", "name": format!("_acme-challenge.{domain}"),
                    "value": "_acme-challenge.domain-1.acme.matih.ai" })
        );
        assert_eq!(claimed["target"], "acme.matih.ai");
        let (name, value) = (challenge["name"].as_str().unwrap(), challenge["value"].as_str().unwrap());
        assert_eq!(name, format!("_matih-challenge.{domain}"));

        // A server that does not know the domain says nothing about it.
        world.verify_domain("acme", &domain).await.problem(503, "dns_unavailable");
        make_zone(&domain).await;
        let missing = world.verify_domain("acme", &domain).await.problem(409, "domain_not_verified");
        assert_eq!((&missing.body["challenge"], &missing.body["found"]), (challenge, &json!([])));
        put_text(&domain, name, &["somebody else's"]).await;
        let other = world.verify_domain("acme", &domain).await.problem(409, "domain_not_verified");
        assert_eq!(other.body["found"], json!(["somebody else's"]));
        let listed = world.get("/api/v1/tenants/acme/domains").await.ok(200).body;
        assert_eq!(listed["domains"][0]["verified"], false);

        put_text(&domain, name, &["somebody else's", value]).await;
        let verified = world.verify_domain("acme", &domain).await.ok(200).body;
        assert_eq!((&verified["verified"], &verified["challenge"]), (&json!(true), challenge));
        drop_zone(&domain).await;
        // Seen once is enough.
        assert_eq!(world.verify_domain("acme", &domain).await.ok(200).body, verified);
        assert_eq!(world.claim_domain("acme", &domain).await.ok(201).body, verified);
        let actions = world.actions("acme").await;
        let count = |wanted: &str| actions.iter().filter(|action| *action == wanted).count();
        assert_eq!((count("DOMAIN_CLAIMED"), count("DOMAIN_VERIFIED")), (1, 1), "{actions:?}");

        let path = format!("/api/v1/tenants/acme/domains/{domain}");
        world.delete(&path).await.ok(204);
        world.delete(&path).await.problem(404, "domain_not_found");
        world.verify_domain("acme", &domain).await.problem(404, "domain_not_found");
        assert_eq!(world.get("/api/v1/tenants/acme/domains").await.ok(200).body, json!({ "domains": [] }));
    })
    .await;
}

#[tokio::test]
async fn a_domain_belongs_to_one_tenant_until_it_is_given_up_or_its_claim_runs_out() {
    with_platform(
        |platform| platform.domains.per_tenant = 2,
        |world| async move {
            let domain = fresh();
            let mut first = crate::world::body("acme");
            first["domain"] = json!(domain);
            let made = world.create("first", &first).await.ok(202).body;
            assert_eq!(made["domain"], json!(domain));
            world.tenant("globex").await;

            let before = world.everything().await;
            world.claim_domain("globex", &domain).await.problem(409, "domain_taken");
            let mut second = crate::world::body("initech");
            second["domain"] = json!(domain);
            world.create("second", &second).await.problem(409, "domain_taken");
            assert_eq!(world.everything().await, before, "nothing is half-written");

            // Two at once: one has it.
            let contested = fresh();
            let (one, other) = tokio::join!(
                world.claim_domain("acme", &contested),
                world.claim_domain("globex", &contested)
            );
            let mut statuses = [one.status, other.status];
            statuses.sort_unstable();
            assert_eq!(statuses, [201, 409]);

            // Never shown to be acme's for longer than a claim holds.
            let age = format!(
                "WITH old AS (UPDATE tenant_domains SET created_at = created_at - interval '8 days' \
                 WHERE domain = '{domain}' RETURNING 1) SELECT count(*) FROM old"
            );
            assert_eq!(world.number(&age).await, 1);
            world.claim_domain("globex", &domain).await.ok(201);
            world.claim_domain("acme", &domain).await.problem(409, "domain_taken");
            // One that was shown stays.
            let shown = format!(
                "WITH old AS (UPDATE tenant_domains SET created_at = created_at - interval '8 days', \
                 verified_at = now() WHERE domain = '{domain}' RETURNING 1) SELECT count(*) FROM old"
            );
            assert_eq!(world.number(&shown).await, 1);
            world.claim_domain("acme", &domain).await.problem(409, "domain_taken");

            // A deleted tenant has none.
            let gone = "WITH gone AS (UPDATE tenants SET status = 'DELETED', deleted_at = now() WHERE slug = 'acme' \
                        RETURNING 1) SELECT count(*) FROM gone";
            assert_eq!(world.number(gone).await, 1);
            world.claim_domain("acme", &fresh()).await.problem(409, "tenant_leaving");
            world.claim_domain("globex", &contested).await.ok(201);

            let before = world.everything().await;
            world.claim_domain("globex", &fresh()).await.problem(409, "too_many_domains");
            assert_eq!(world.everything().await, before, "globex has two");
        },
    )
    .await;
}

#[tokio::test]
async fn what_is_no_domain_of_the_tenants_own_is_refused_with_its_field() {
    with_platform(asking_the_server, |world| async move {
        world.tenant("acme").await;
        let before = world.everything().await;
        for (sent, code) in [
            (json!({}), "required"),
            (json!({ "domain": 7 }), "wrong_type"),
            (json!({ "domain": "localhost" }), "invalid_domain"),
            (json!({ "domain": "10.0.0.1" }), "invalid_domain"),
            (json!({ "domain": "https://acme.example" }), "invalid_domain"),
            (json!({ "domain": "acme.matih.ai" }), "reserved_domain"),
            (json!({ "domain": "ACME.Matih.AI" }), "reserved_domain"),
            (json!({ "domain": "acme.example", "colour": "red" }), "unknown_field"),
        ] {
            let request = world.request(Method::POST, "/api/v1/tenants/acme/domains").json(&sent);
            let refused = Answer::of(request.send().await.unwrap()).await.problem(422, "invalid_fields");
            assert_eq!(refused.body["errors"][0]["code"], code, "{sent}: {}", refused.body);
        }
        world.claim_domain("nobody", "acme.example").await.problem(404, "tenant_not_found");
        world.verify_domain("acme", "acme.example").await.problem(404, "domain_not_found");
        world.verify_domain("acme", "no%20domain").await.problem(404, "domain_not_found");
        assert_eq!(world.everything().await, before);
        let claimed = world.claim_domain("acme", "Bücher.example").await.ok(201).body;
        assert_eq!(claimed["domain"], "xn--bcher-kva.example");
    })
    .await;
}

impl World {
    /// The tenant's domains: name, whether it is the primary one, and the number that its certificate's name has.
    async fn numbered(&self, tenant: &str) -> Vec<(String, bool, String)> {
        let listed = self.get(&format!("/api/v1/tenants/{tenant}/domains")).await.ok(200).body;
        let listed = listed["domains"].as_array().unwrap().iter();
        let number = |domain: &Value| {
            let target = domain["certificateChallenge"]["value"].as_str().unwrap();
            target.split('.').nth(1).unwrap().to_owned()
        };
        listed
            .map(|at| (at["domain"].as_str().unwrap().to_owned(), at["primary"] == true, number(at)))
            .collect()
    }

    async fn give_up(&self, tenant: &str, domain: &str) {
        self.delete(&format!("/api/v1/tenants/{tenant}/domains/{domain}")).await.ok(204);
    }
}

fn as_shown(domains: &[(&str, bool, &str)]) -> Vec<(String, bool, String)> {
    domains
        .iter()
        .map(|(domain, primary, number)| ((*domain).to_owned(), *primary, (*number).to_owned()))
        .collect()
}

#[tokio::test]
async fn the_number_of_a_domain_that_was_given_up_is_never_anothers() {
    with_world(|world| async move {
        let mut first = crate::world::body("acme");
        first["domain"] = json!("a.example");
        world.create("first", &first).await.ok(202);
        world.claim_domain("acme", "a.example").await.ok(201);
        assert_eq!(world.numbered("acme").await, as_shown(&[("a.example", true, "domain-1")]));
        world.give_up("acme", "a.example").await;
        world.claim_domain("acme", "b.example").await.ok(201);
        world.claim_domain("acme", "b.example").await.ok(201);
        world.claim_domain("acme", "c.example").await.ok(201);
        let shown = as_shown(&[("b.example", true, "domain-2"), ("c.example", false, "domain-3")]);
        assert_eq!(world.numbered("acme").await, shown, "claimed twice, it has one");
        world.give_up("acme", "c.example").await;
        world.claim_domain("acme", "c.example").await.ok(201);
        let shown = as_shown(&[("b.example", true, "domain-2"), ("c.example", false, "domain-4")]);
        assert_eq!(world.numbered("acme").await, shown);
        // Each tenant counts for itself.
        world.tenant("globex").await;
        world.claim_domain("globex", "a.example").await.ok(201);
        assert_eq!(world.numbered("globex").await, as_shown(&[("a.example", true, "domain-1")]));
    })
    .await;
}

#[tokio::test]
async fn when_the_primary_domain_is_given_up_the_first_verified_one_takes_its_place() {
    with_world(|world| async move {
        let acme = world.tenant("acme").await;
        for domain in ["a.example", "b.example", "c.example", "d.example"] {
            world.claim_domain("acme", domain).await.ok(201);
        }
        for domain in ["d.example", "c.example"] {
            world.store.domain_verified(acme, domain, "tester").await.unwrap().unwrap();
        }
        let primary = async || {
            let all = world.numbered("acme").await;
            let primary: Vec<String> = all.into_iter().filter(|one| one.1).map(|one| one.0).collect();
            assert_eq!(
                world.get("/api/v1/tenants/acme").await.ok(200).body["domain"],
                json!(primary.first())
            );
            primary
        };
        assert_eq!(primary().await, ["a.example"]);
        for (given_up, next) in
            [("a.example", "d.example"), ("d.example", "c.example"), ("c.example", "b.example")]
        {
            world.give_up("acme", given_up).await;
            assert_eq!(primary().await, [next]);
            world.claim_domain("acme", "new.example").await.ok(201);
            assert_eq!(primary().await, [next], "one that is not verified does not come before it");
            world.give_up("acme", "new.example").await;
        }
        world.give_up("acme", "b.example").await;
        assert_eq!(primary().await, [""; 0]);
        world.claim_domain("acme", "new.example").await.ok(201);
        assert_eq!(primary().await, ["new.example"]);

        // Taken by another after its time, it leaves no gap either.
        world.claim_domain("acme", "old.example").await.ok(201);
        world.store.domain_verified(acme, "old.example", "tester").await.unwrap().unwrap();
        let age = "WITH old AS (UPDATE tenant_domains SET created_at = created_at - interval '8 days' \
                   WHERE domain = 'new.example' RETURNING 1) SELECT count(*) FROM old";
        assert_eq!(world.number(age).await, 1);
        world.tenant("globex").await;
        world.claim_domain("globex", "new.example").await.ok(201);
        world.claim_domain("acme", "late.example").await.ok(201);
        assert_eq!(primary().await, ["old.example"]);
    })
    .await;
}
