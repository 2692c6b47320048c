//! PowerDNS by its HTTP API, version 4.7 and later.

mod wire;

use async_trait::async_trait;
use engine::phase::Result;
use model::TenantId;
use model::secret::Secret;
use reqwest::header::HeaderValue;
use reqwest::{Method, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Deletion, DnsEntry, DnsProvider, Mark, Name, RecordSet, Written, Zone, error};

/// Hits that a search may have. A tenant has fewer record sets, and one is enough to be left over.
const HITS: u32 = 1000;

/// The metadata that names the keys by which a zone may be updated (RFC 2136).
const UPDATES: &str = "TSIG-ALLOW-DNSUPDATE";

/// One server; cheap to clone.
#[derive(Clone, Debug)]
pub struct PowerDns {
    http: reqwest::Client,
    /// `…/api/v1/servers/localhost/`
    base: Url,
    key: HeaderValue,
    prefix: String,
    kind: String,
    name_servers: Vec<Name>,
    update_key: Option<String>,
}

impl PowerDns {
    /// A server by the base URL of its HTTP API.
    pub fn new(http: reqwest::Client, url: &str, key: &Secret, label_prefix: &str) -> Result<Self> {
        let whole = format!("{}/api/v1/servers/localhost/", url.trim_end_matches('/'));
        let base = Url::parse(&whole)
            .map_err(|why| error::config(format!("a URL of dns.powerdns cannot be used: {why}")))?;
        let mut key = HeaderValue::from_str(key.expose())
            .map_err(|_| error::config("dns.powerdns.api_key cannot be sent in a header"))?;
        key.set_sensitive(true);
        Ok(Self {
            http,
            base,
            key,
            prefix: label_prefix.to_owned(),
            kind: "Native".into(),
            name_servers: Vec::new(),
            update_key: None,
        })
    }

    /// What new zones are like.
    #[must_use]
    pub fn making(self, kind: &str, name_servers: &[Name], update_key: Option<&str>) -> Self {
        let update_key = update_key.map(str::to_owned);
        Self { kind: kind.to_owned(), name_servers: name_servers.to_vec(), update_key, ..self }
    }

    fn zone_path(zone: &Name) -> String {
        format!("zones/{}", zone.absolute())
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<(String, Response)> {
        let url = self.base.join(path).map_err(|why| error::config(format!("{path}: {why}")))?;
        let doing = format!("{method} {} at {}", url.path(), url.origin().ascii_serialization());
        let mut request = self.http.request(method, url).header("X-API-Key", self.key.clone());
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|why| error::lost(&doing, why))?;
        Ok((doing, answer))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        let (doing, answer) = self.call(Method::GET, path, None).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let text = text(&doing, answer).await?;
        serde_json::from_str(&text).map(Some).map_err(|why| error::unreadable(&doing, why))
    }

    async fn change(&self, zone: &Name, set: Value) -> Result<()> {
        let body = json!({ "rrsets": [set] });
        let (doing, answer) = self.call(Method::PATCH, &Self::zone_path(zone), Some(body)).await?;
        text(&doing, answer).await.map(drop)
    }

    async fn find(&self, kind: &str, pattern: &str) -> Result<Vec<wire::Hit>> {
        let path = format!("search-data?q={pattern}&max={HITS}&object_type={kind}");
        Ok(self.get(&path).await?.unwrap_or_default())
    }

    fn mark(&self, comments: &[wire::Comment]) -> Option<Mark> {
        comments.iter().find_map(|comment| Mark::from_line(&self.prefix, &comment.content))
    }
}

/// The body of a success, or what the refusal means.
async fn text(doing: &str, answer: Response) -> Result<String> {
    let status = answer.status();
    let text = answer.text().await.map_err(|why| error::lost(doing, why))?;
    if status.is_success() { Ok(text) } else { Err(error::refused(doing, status.as_u16(), &text)) }
}

#[async_trait]
impl DnsProvider for PowerDns {
    async fn zone(&self, zone: &Name) -> Result<Option<Zone>> {
        let path = format!("{}?rrset_name={}&rrset_type=NS", Self::zone_path(zone), zone.absolute());
        let Some(found) = self.get::<wire::Zone>(&path).await? else { return Ok(None) };
        let account = found.account.clone();
        let servers = found.sets().find(|set| set.is(zone, "NS"));
        let written = servers.as_ref().and_then(|set| self.mark(&set.comments));
        // The account decides; the comment adds the run.
        let mark = account.parse::<TenantId>().ok().map(|tenant_id| match written {
            Some(mark) if mark.tenant_id == tenant_id => mark,
            _ => Mark { tenant_id, run_id: None, epoch: None },
        });
        let name_servers = servers.as_ref().map(wire::Set::names).unwrap_or_default();
        Ok(Some(Zone { name: zone.clone(), name_servers, mark, version: None }))
    }

    async fn create_zone(&self, zone: &Name, ttl: u32, mark: &Mark) -> Result<Written> {
        let first = self.name_servers.first().unwrap_or(zone).absolute();
        // The TTL is that of a "no such name" too. The other numbers are RIPE-203's.
        let soa = format!("{first} hostmaster.{} 1 86400 7200 3600000 {ttl}", zone.absolute());
        let servers: Vec<String> = self.name_servers.iter().map(Name::absolute).collect();
        let body = json!({
            "name": zone.absolute(),
            "kind": self.kind,
            "account": mark.tenant_id,
            "nameservers": [],
            "rrsets": [
                wire::set(zone, "SOA", ttl, &[soa], None),
                wire::set(zone, "NS", ttl, &servers, Some(wire::comment(mark, &self.prefix))),
            ],
        });
        let (doing, answer) = self.call(Method::POST, "zones", Some(body)).await?;
        if answer.status() == StatusCode::CONFLICT {
            return Ok(Written::Otherwise);
        }
        text(&doing, answer).await?;
        Ok(Written::Done)
    }

    async fn complete_zone(&self, zone: &Name, _: u32) -> Result<Written> {
        let Some(key) = &self.update_key else { return Ok(Written::Done) };
        let path = format!("{}/metadata/{UPDATES}", Self::zone_path(zone));
        let body = json!({ "kind": UPDATES, "metadata": [key] });
        let (doing, answer) = self.call(Method::PUT, &path, Some(body)).await?;
        text(&doing, answer).await.map(|_| Written::Done)
    }

    async fn delete_zone(&self, zone: &Zone) -> Result<Deletion> {
        let (doing, answer) = self.call(Method::DELETE, &Self::zone_path(&zone.name), None).await?;
        if answer.status() != StatusCode::NOT_FOUND {
            text(&doing, answer).await?;
        }
        Ok(Deletion::Gone)
    }

    async fn deleting(&self, _: &str) -> Result<Deletion> {
        Ok(Deletion::Gone)
    }

    async fn record_sets(&self, zone: &Name, within: &Name) -> Result<Vec<RecordSet>> {
        let mut path = Self::zone_path(zone);
        if within != zone {
            path = format!("{path}?rrset_name={}", within.absolute());
        }
        let Some(found) = self.get::<wire::Zone>(&path).await? else { return Ok(Vec::new()) };
        let sets = found.sets().map(|set| {
            let mark = self.mark(&set.comments);
            set.read(mark)
        });
        let mut sets: Vec<RecordSet> = sets.filter(|set| set.name.is_within(within)).collect();
        if within != zone {
            let below = self.find("record", &format!("*.{within}")).await?;
            let below = below.into_iter().filter(|hit| Name::new(&hit.zone) == *zone);
            sets.extend(below.map(wire::Hit::read));
        }
        Ok(sets)
    }

    async fn write(&self, zone: &Name, set: &RecordSet, _: Option<&RecordSet>) -> Result<Written> {
        let comment = set.mark.as_ref().map(|mark| wire::comment(mark, &self.prefix));
        let values = if set.kind == "NS" {
            set.values.iter().map(|name| Name::new(name).absolute()).collect()
        } else {
            set.values.clone()
        };
        let mut body = wire::set(&set.name, &set.kind, set.ttl, &values, comment);
        body["changetype"] = "REPLACE".into();
        self.change(zone, body).await?;
        Ok(Written::Done)
    }

    async fn delete(&self, zone: &Name, found: &RecordSet) -> Result<Written> {
        let set = json!({ "name": found.name.absolute(), "type": found.kind, "changetype": "DELETE" });
        self.change(zone, set).await?;
        Ok(Written::Done)
    }

    async fn held_by(&self, tenant: TenantId, within: Option<&Name>) -> Result<Vec<DnsEntry>> {
        let id = tenant.to_string();
        let mut held = Vec::new();
        for hit in self.find("comment", &format!("*{id}*")).await? {
            let (zone, name) = (Name::new(&hit.zone), Name::new(&hit.name));
            if within.is_some_and(|within| zone != *within) {
                continue;
            }
            let path =
                format!("{}?rrset_name={}&rrset_type={}", Self::zone_path(&zone), name.absolute(), hit.kind);
            let found = self.get::<wire::Zone>(&path).await?;
            // A comment outlives its records when somebody takes those away by an update (RFC 2136).
            if found.is_some_and(|found| found.sets().any(|set| set.is(&name, &hit.kind))) {
                held.push(DnsEntry { kind: hit.kind, name });
            }
        }
        // Zones are owned by their account, whatever became of the comments in them.
        let zones: Vec<wire::Zone> = self.get("zones?dnssec=false").await?.unwrap_or_default();
        let zones = zones.into_iter().filter(|zone| zone.account == id);
        held.extend(zones.map(|zone| DnsEntry { kind: "zone".into(), name: Name::new(&zone.name) }));
        Ok(held)
    }
}
