//! CREATE_DNS_ZONE in the hands of the engine: parked runs, waits that are remembered in Postgres, a server that is down.

use std::sync::Arc;

use async_trait::async_trait;
use create_dns_zone::CreateDnsZone;
use engine::decide::verbs::Verb;
use engine::phase::{Checkpoints, Phase as _, Progress, Result, Step};
use engine::runtime::{DynPhase, Loaded};
use model::platform::Platform;
use model::{PhaseName, Tenant};
use serde_json::{Value, json};
use tests::{Failpoints, Proxy, World, dns, eventually, required, slug};

/// Stands for the ingress controller: it only knows the address.
struct Address;

#[async_trait]
impl DynPhase for Address {
    fn name(&self) -> PhaseName {
        PhaseName::new("DEPLOY_INGRESS_CONTROLLER")
    }

    fn plan(&self, _: &Tenant, _: &Platform, _: &Checkpoints) -> Result<Value> {
        Ok(json!({}))
    }

    async fn apply(&self, _: &Value, _: &Step) -> Result<Progress<Value>> {
        Ok(Progress::Done(json!({ "address": "192.0.2.9" })))
    }

    async fn revert(&self, _: &Value, _: Option<&Value>, _: &Step) -> Result<Progress<()>> {
        Ok(Progress::Done(()))
    }
}

async fn holds(slug: &str) -> bool {
    let url = format!("{}/api/v1/servers/localhost/zones/{slug}.matih.ai.", required("PDNS_URL"));
    let asked = reqwest::Client::new().get(url).header("X-API-Key", required("PDNS_API_KEY"));
    asked.send().await.unwrap().status().is_success()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dns_server_that_is_down_parks_the_run_and_the_undo_waits_without_charge() {
    World::run(|mut world| async move {
        let way = Proxy::to(required("PARENT_PDNS_URL").trim_start_matches("http://")).await;
        world.platform.dns = dns();
        world.platform.dns.powerdns.as_mut().unwrap().parent_url = Some(format!("http://{}", way.address()));
        let names = CreateDnsZone::connect(&world.platform).await.unwrap();
        let dispatcher = world.dispatch(vec![Arc::new(Address), Arc::new(Loaded(names))]);
        let failpoints = Failpoints::of_this_process();
        let slug = slug("names");
        failpoints.set(&slug, ["CREATE_DNS_ZONE", "apply", "delegation", "before"], "hold");
        let tenant = world.tenant(&slug, &["DEPLOY_INGRESS_CONTROLLER", "CREATE_DNS_ZONE"]).await;
        eventually("the zone is made", || holds(&slug)).await;
        way.cut().await;
        failpoints.lift(&slug, &[]);
        let log = || async { world.store.audit(tenant, 0, 10_000).await.unwrap() };
        let count = |action: &'static str| async move {
            let rows = log().await;
            rows.iter()
                .filter(|row| row.action == action && row.phase.as_deref() == Some("CREATE_DNS_ZONE"))
                .count()
        };
        eventually("it parks", || async { count("PHASE_UNAVAILABLE").await >= 2 }).await;
        assert_eq!(world.status(tenant).await.run.direction, "forward");
        way.open().await;
        world.until(tenant, "ACTIVE").await;

        world.ask(tenant, Verb::Delete).await.unwrap();
        world.until(tenant, "DELETED").await;
        assert!(!holds(&slug).await);
        // One wait for the delegation and one for the addresses, each remembered over the attempts between.
        assert!(count("PHASE_WAITING").await >= 2);
        for action in ["PHASE_RETRYING", "PHASE_FAILED", "RUN_ROLLING_BACK"] {
            assert_eq!(count(action).await, 0, "{action}");
        }
        dispatcher.stop().await.unwrap();
    })
    .await;
}
