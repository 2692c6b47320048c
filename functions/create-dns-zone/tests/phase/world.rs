//! Two real PowerDNS servers, and a tenant whose names are gone when the test ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use create_dns_zone::{Checkpoint, CreateDnsZone, Plan};
use dns::Dns;
use engine::phase::{
    Checkpoints, Error, Fence, Interrupt, Kind, Operation, Phase, Progress, Result, Scope, Step,
};
use model::platform::{DnsProviderKind, Platform, PowerDnsSettings, Seconds};
use model::secret::SecretRef;
use model::{RunId, Tenant, Tier};
use reqwest::Method;
use serde_json::{Value, json};
use testing::{ClaimedStep, required};

pub const ADDRESS: &str = "192.0.2.7";

/// What the store keeps of a phase; may be told to lose the worker at one of its writes.
#[derive(Default)]
pub struct Stored {
    operations: Mutex<Vec<Operation>>,
    /// Writes until the worker is lost.
    left: Mutex<Option<usize>>,
    lost: Mutex<bool>,
}

#[async_trait]
impl Fence for Stored {
    async fn record(&self, operations: &[Operation]) -> std::result::Result<(), Interrupt> {
        let mut left = self.left.lock().unwrap();
        match left.as_mut() {
            Some(0) => {
                *self.lost.lock().unwrap() = true;
                return Err(Interrupt::Fenced);
            }
            Some(left) => *left -= 1,
            None => {}
        }
        *self.operations.lock().unwrap() = operations.to_vec();
        Ok(())
    }
}

/// One tenant, in one run.
#[derive(Clone)]
pub struct World {
    pub platform: Platform,
    pub tenant: Tenant,
    pub run: RunId,
    pub address: String,
    stored: Arc<Stored>,
}

impl World {
    pub fn new() -> Self {
        let mut platform = Platform::default();
        let dns = &mut platform.dns;
        dns.provider = DnsProviderKind::PowerDns;
        dns.name_servers = vec!["ns1.matih.ai".into(), "ns2.matih.ai".into()];
        // Short, so that the tests do not wait long.
        dns.ttl = 1;
        dns.propagation = Seconds(0.3);
        required("PDNS_API_KEY");
        dns.powerdns = Some(PowerDnsSettings {
            url: required("PDNS_URL"),
            parent_url: Some(required("PARENT_PDNS_URL")),
            api_key: SecretRef::Env("PDNS_API_KEY".into()),
            update_key: Some("tenantry-acme".into()),
            kind: "Native".into(),
        });
        Self {
            platform,
            tenant: Tenant { tier: Tier::Professional, ..testing::tenant("dns") },
            run: RunId::generate(),
            address: ADDRESS.into(),
            stored: Arc::default(),
        }
    }

    /// The same tenant in a later run, which knows nothing of the earlier one's attempts.
    pub fn later_run(&self) -> Self {
        Self { run: RunId::generate(), stored: Arc::default(), ..self.clone() }
    }

    pub fn zone(&self) -> String {
        format!("{}.matih.ai", self.tenant.slug)
    }

    pub async fn plan(&self) -> Plan {
        let earlier = [("DEPLOY_INGRESS_CONTROLLER".to_owned(), json!({ "address": self.address }))];
        let phase = CreateDnsZone::connect(&self.platform).await.unwrap();
        phase.plan(&self.tenant, &self.platform, &Checkpoints::new(earlier.into())).unwrap()
    }

    /// A step as a new worker gets it.
    fn step(&self, backward: bool, scope: Scope) -> Step {
        let step = ClaimedStep::new(CreateDnsZone::NAME, &self.tenant, self.run).backward(backward);
        let step = step.scope(scope).fence(self.stored.clone()).step();
        step.after(self.stored.operations.lock().unwrap().clone(), Utc::now())
    }

    /// The next worker is lost at its n-th write.
    pub fn lose_worker_at(&self, write: usize) {
        *self.stored.left.lock().unwrap() = Some(write);
    }

    /// Whether a worker was lost; the next one is not.
    pub fn was_lost(&self) -> bool {
        *self.stored.left.lock().unwrap() = None;
        std::mem::take(&mut *self.stored.lost.lock().unwrap())
    }

    /// Attempts until the servers have answered: a PowerDNS that keeps its zones in one file refuses some of many calls, and
    /// the engine would try again.
    pub async fn apply(&self) -> Result<Checkpoint> {
        for _ in 0..200 {
            match self.try_apply().await {
                Err(Error { kind: Kind::Unavailable { .. }, .. }) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                ended => return ended,
            }
        }
        panic!("the servers are down");
    }

    /// One attempt.
    pub async fn try_apply(&self) -> Result<Checkpoint> {
        let phase = CreateDnsZone::connect(&self.platform).await?;
        match phase.apply(&self.plan().await, &self.step(false, Scope::Run)).await? {
            Progress::Done(checkpoint) => Ok(checkpoint),
            Progress::Wait(wait) => panic!("nothing to wait for, but {wait:?}"),
        }
    }

    /// One attempt at the undo.
    pub async fn try_revert(&self, scope: Scope) -> Result<()> {
        let phase = CreateDnsZone::connect(&self.platform).await?;
        phase.revert(&self.plan().await, None, &self.step(true, scope)).await.map(drop)
    }

    /// Attempts until the undo is done; what it waited for.
    pub async fn revert(&self, scope: Scope) -> Result<Vec<String>> {
        let mut waits = Vec::new();
        for _ in 0..200 {
            match self.try_revert(scope).await {
                Ok(()) => return Ok(waits),
                Err(Error { kind: Kind::Parked(wait), .. }) => {
                    assert!(
                        wait.fixed,
                        "a TTL counts towards no bound on waiting, however long it is: {wait:?}"
                    );
                    tokio::time::sleep(wait.after).await;
                    waits.push(wait.on);
                }
                Err(Error { kind: Kind::Unavailable { .. }, .. }) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error),
            }
        }
        panic!("waits for ever: {waits:?}");
    }

    /// What the inventory lists.
    pub async fn inventory(&self) -> Vec<String> {
        let plan = self.plan().await;
        let secret = plan.server.secret().unwrap().read_local().unwrap();
        let dns = Dns::connect(&plan.server, Some(&secret), "matih.ai").unwrap();
        let held = dns.inventory(self.tenant.id, &plan.parent).await.unwrap();
        held.iter().map(ToString::to_string).collect()
    }

    /// The tenant's zone as its server has it; null when there is none.
    pub async fn zone_json(&self) -> Value {
        child(Method::GET, &format!("zones/{}.", self.zone()), None).await
    }

    /// What the parent's server has at the zone's name and below it.
    pub async fn parent_json(&self) -> Value {
        let found = parent(Method::GET, &format!("search-data?q=*{}&max=100", self.zone()), None).await;
        let set = parent(Method::GET, &format!("zones/matih.ai.?rrset_name={}.", self.zone()), None).await;
        // Asked for one name, the server shows the comments of all others too.
        let mut sets = set["rrsets"].as_array().cloned().unwrap_or_default();
        sets.retain(|set| set["name"] == format!("{}.", self.zone()));
        json!([found, sets])
    }

    /// Puts somebody else's record set somewhere.
    pub async fn put(&self, at_parent: bool, name: &str, kind: &str, content: &str) {
        let change = json!({ "rrsets": [{
            "name": format!("{name}."), "type": kind, "ttl": 60, "changetype": "REPLACE",
            "records": [{ "content": content, "disabled": false }],
        }] });
        if at_parent {
            parent(Method::PATCH, "zones/matih.ai.", Some(change)).await;
        } else {
            child(Method::PATCH, &format!("zones/{}.", self.zone()), Some(change)).await;
        }
    }

    /// Takes a record set of the parent's away.
    pub async fn take(&self, name: &str, kind: &str) {
        let change =
            json!({ "rrsets": [{ "name": format!("{name}."), "type": kind, "changetype": "DELETE" }] });
        parent(Method::PATCH, "zones/matih.ai.", Some(change)).await;
    }

    /// Takes the addresses out of the zone.
    pub async fn take_addresses(&self) {
        let names = ["", "api.", "bi.", "*."].map(|host| format!("{host}{}.", self.zone()));
        let gone = names.map(|name| json!({ "name": name, "type": "A", "changetype": "DELETE" }));
        child(Method::PATCH, &format!("zones/{}.", self.zone()), Some(json!({ "rrsets": gone }))).await;
    }

    /// Takes the zone away.
    pub async fn take_zone(&self) {
        child(Method::DELETE, &format!("zones/{}.", self.zone()), None).await;
    }
}

pub async fn child(method: Method, path: &str, body: Option<Value>) -> Value {
    call(&required("PDNS_URL"), method, path, body).await
}

pub async fn parent(method: Method, path: &str, body: Option<Value>) -> Value {
    call(&required("PARENT_PDNS_URL"), method, path, body).await
}

async fn call(url: &str, method: Method, path: &str, body: Option<Value>) -> Value {
    let url = format!("{url}/api/v1/servers/localhost/{path}");
    let request = reqwest::Client::new().request(method, url).header("X-API-Key", required("PDNS_API_KEY"));
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    let answer = request.send().await.unwrap();
    if answer.status().as_u16() == 404 {
        return Value::Null;
    }
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null)
}
