//! Azure DNS by the resource manager's REST API, version 2018-05-01.

mod token;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use engine::phase::{Error, Result};
use model::TenantId;
use model::platform::AzureDnsSettings;
use reqwest::header::{
    AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, LOCATION, RETRY_AFTER,
};
use reqwest::{Method, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use token::TokenSource;

use super::{Deletion, DnsEntry, DnsProvider, Mark, Name, RecordSet, Written, Zone, error};

const API_VERSION: &str = "2018-05-01";

/// Where a long-running deletion can be asked about.
const OPERATION: HeaderName = HeaderName::from_static("azure-asyncoperation");

/// When to ask about a deletion that does not say when; Azure's own default for pollers is longer.
const ASK_AGAIN: u64 = 5;

/// The longest that one refusal makes us wait.
const LONGEST_REST: u64 = 300;

/// Types of record sets that a name in a parent zone may have.
const KINDS: [&str; 8] = ["NS", "A", "AAAA", "CNAME", "TXT", "MX", "SRV", "CAA"];

/// The zones of one resource group; cheap to clone.
#[derive(Clone, Debug)]
pub struct AzureDns {
    http: reqwest::Client,
    /// `…/providers/Microsoft.Network/dnsZones`
    zones: Url,
    tokens: TokenSource,
    prefix: String,
}

impl AzureDns {
    /// The zones of a resource group.
    pub fn new(
        http: reqwest::Client,
        settings: &AzureDnsSettings,
        resource_group: &str,
        tokens: TokenSource,
        label_prefix: &str,
    ) -> Result<Self> {
        let whole = format!(
            "{}/subscriptions/{}/resourceGroups/{resource_group}/providers/Microsoft.Network/dnsZones",
            settings.endpoint.trim_end_matches('/'),
            settings.subscription,
        );
        let zones = Url::parse(&whole)
            .map_err(|why| error::config(format!("dns.azure.endpoint cannot be used: {why}")))?;
        Ok(Self { http, zones, tokens, prefix: label_prefix.to_owned() })
    }

    /// The address of a zone or of something in it.
    fn url(&self, parts: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.zones.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(parts);
        }
        url.query_pairs_mut().append_pair("api-version", API_VERSION).extend_pairs(query);
        url
    }

    fn set_url(&self, zone: &Name, kind: &str, name: &Name) -> Url {
        self.url(&[zone.as_str(), kind, &name.relative_to(zone)], &[])
    }

    async fn call(
        &self,
        method: Method,
        url: Url,
        expected: Option<(HeaderName, &str)>,
        body: Option<Value>,
    ) -> Result<(String, Response)> {
        let doing = format!("{method} {} at {}", url.path(), url.origin().ascii_serialization());
        // A link that an answer names goes to the same place, or the token goes to somebody else's.
        if url.origin() != self.zones.origin() {
            return Err(error::unreadable(&doing, "a link to another server"));
        }
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, self.tokens.header().await?);
        if let Some((name, value)) = expected {
            let value = HeaderValue::from_str(value).map_err(|why| error::unreadable(&doing, why))?;
            headers.insert(name, value);
        }
        let mut request = self.http.request(method, url).headers(headers);
        request = request.header("accept", "application/json");
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|why| error::lost(&doing, why))?;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS
            && let Some(after) = seconds(answer.headers())
        {
            let on = format!("{doing}: throttled for {after} s");
            return Err(Error::parked(Duration::from_secs(after), on));
        }
        Ok((doing, answer))
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<Option<T>> {
        let (doing, answer) = self.call(Method::GET, url, None, None).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let text = text(&doing, answer).await?;
        serde_json::from_str(&text).map(Some).map_err(|why| error::unreadable(&doing, why))
    }

    /// All pages of a list; empty when what is listed is not there.
    async fn list<T: DeserializeOwned>(&self, url: Url) -> Result<Vec<T>> {
        let mut all = Vec::new();
        let mut next = Some(url);
        while let Some(url) = next {
            let Some(page) = self.get::<wire::Page<T>>(url).await? else { break };
            all.extend(page.value);
            next = match page.next_link {
                Some(link) => {
                    Some(Url::parse(&link).map_err(|why| error::unreadable("a list's next page", why))?)
                }
                None => None,
            };
        }
        Ok(all)
    }

    /// A write that expects something to be as it was looked at.
    async fn put(&self, url: Url, expected: (HeaderName, &str), body: Value) -> Result<Written> {
        let (doing, answer) = self.call(Method::PUT, url, Some(expected), Some(body)).await?;
        if answer.status() == StatusCode::PRECONDITION_FAILED {
            return Ok(Written::Otherwise);
        }
        text(&doing, answer).await?;
        Ok(Written::Done)
    }

    fn read(&self, zone: &Name, set: wire::Set) -> RecordSet {
        let mark = set.mark(&self.prefix);
        set.read(zone, mark)
    }
}

async fn text(doing: &str, answer: Response) -> Result<String> {
    let status = answer.status();
    let text = answer.text().await.map_err(|why| error::lost(doing, why))?;
    if status.is_success() { Ok(text) } else { Err(error::refused(doing, status.as_u16(), &text)) }
}

fn seconds(headers: &HeaderMap) -> Option<u64> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse::<u64>().ok()?;
    Some(seconds.clamp(1, LONGEST_REST))
}

/// What an answer says about a deletion that goes on.
fn begun(headers: &HeaderMap, ticket: Option<&str>) -> Option<Deletion> {
    let link = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let ticket = link(&OPERATION).or_else(|| link(&LOCATION)).or(ticket)?.to_owned();
    Some(Deletion::Begun { ticket, after: seconds(headers).unwrap_or(ASK_AGAIN) })
}

#[async_trait]
impl DnsProvider for AzureDns {
    async fn zone(&self, zone: &Name) -> Result<Option<Zone>> {
        let found = self.get::<wire::Zone>(self.url(&[zone.as_str()], &[])).await?;
        Ok(found.map(|found| Zone {
            name: zone.clone(),
            name_servers: found.properties.name_servers.iter().map(|name| Name::new(name)).collect(),
            mark: wire::mark(&found.tags, &self.prefix),
            version: found.etag,
        }))
    }

    async fn create_zone(&self, zone: &Name, _: u32, mark: &Mark) -> Result<Written> {
        let url = self.url(&[zone.as_str()], &[]);
        self.put(url, (IF_NONE_MATCH, "*"), wire::new_zone(mark, &self.prefix)).await
    }

    /// Azure gives a zone's own NS records two days, and takes no other TTL at the zone's creation. A resolver holds those
    /// rather than the parent's, and would ask the servers of a zone that is gone.
    async fn complete_zone(&self, zone: &Name, ttl: u32) -> Result<Written> {
        let url = self.set_url(zone, "NS", zone);
        let Some(found) = self.get::<wire::NameServers>(url.clone()).await? else {
            return Ok(Written::Otherwise);
        };
        if found.properties.ttl == ttl {
            return Ok(Written::Done);
        }
        let version = found.etag.clone().unwrap_or_default();
        self.put(url, (IF_MATCH, &version), wire::remembered_for(found, ttl)).await
    }

    async fn delete_zone(&self, zone: &Zone) -> Result<Deletion> {
        let url = self.url(&[zone.name.as_str()], &[]);
        let expected = zone.version.as_deref().map(|version| (IF_MATCH, version));
        let (doing, answer) = self.call(Method::DELETE, url, expected, None).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(Deletion::Gone),
            StatusCode::PRECONDITION_FAILED => Ok(Deletion::Otherwise),
            StatusCode::ACCEPTED => begun(answer.headers(), None)
                .ok_or_else(|| error::unreadable(&doing, "202 without a link to the operation")),
            _ => text(&doing, answer).await.map(|_| Deletion::Gone),
        }
    }

    async fn deleting(&self, ticket: &str) -> Result<Deletion> {
        let url = Url::parse(ticket).map_err(|why| error::unreadable("a deletion's operation", why))?;
        let (doing, answer) = self.call(Method::GET, url, None, None).await?;
        let again = begun(answer.headers(), Some(ticket)).unwrap_or(Deletion::Gone);
        match answer.status() {
            StatusCode::ACCEPTED => return Ok(again),
            StatusCode::NOT_FOUND | StatusCode::NO_CONTENT => return Ok(Deletion::Gone),
            _ => {}
        }
        let text = text(&doing, answer).await?;
        let operation: wire::Operation = serde_json::from_str(&text).unwrap_or_default();
        match operation.status.as_str() {
            "" | "Succeeded" => Ok(Deletion::Gone),
            "Failed" | "Canceled" => {
                tracing::warn!("{doing}: {}; it is begun again", operation.status);
                Ok(Deletion::Gone)
            }
            _ => Ok(again),
        }
    }

    async fn record_sets(&self, zone: &Name, within: &Name) -> Result<Vec<RecordSet>> {
        let mut sets: Vec<wire::Set> = Vec::new();
        if within == zone {
            sets = self.list(self.url(&[zone.as_str(), "recordsets"], &[])).await?;
        } else {
            for kind in KINDS {
                sets.extend(self.get::<wire::Set>(self.set_url(zone, kind, within)).await?);
            }
            let suffix = within.relative_to(zone);
            let query = [("$recordsetnamesuffix", suffix.as_str())];
            let below: Vec<wire::Set> = self.list(self.url(&[zone.as_str(), "recordsets"], &query)).await?;
            sets.extend(below.into_iter().filter(|set| set.name.ends_with(&format!(".{suffix}"))));
        }
        Ok(sets.into_iter().map(|set| self.read(zone, set)).collect())
    }

    async fn write(&self, zone: &Name, set: &RecordSet, found: Option<&RecordSet>) -> Result<Written> {
        let url = self.set_url(zone, &set.kind, &set.name);
        let expected = match found {
            Some(found) => (IF_MATCH, found.version.as_deref().unwrap_or_default()),
            None => (IF_NONE_MATCH, "*"),
        };
        self.put(url, expected, wire::new_set(set, &self.prefix)).await
    }

    async fn delete(&self, zone: &Name, found: &RecordSet) -> Result<Written> {
        let url = self.set_url(zone, &found.kind, &found.name);
        let expected = found.version.as_deref().map(|version| (IF_MATCH, version));
        let (doing, answer) = self.call(Method::DELETE, url, expected, None).await?;
        match answer.status() {
            StatusCode::PRECONDITION_FAILED => Ok(Written::Otherwise),
            StatusCode::NOT_FOUND => Ok(Written::Done),
            _ => text(&doing, answer).await.map(|_| Written::Done),
        }
    }

    async fn held_by(&self, tenant: TenantId, within: Option<&Name>) -> Result<Vec<DnsEntry>> {
        let ours = |mark: Option<Mark>| mark.is_some_and(|mark| mark.tenant_id == tenant);
        if let Some(parent) = within {
            let sets: Vec<wire::Set> = self.list(self.url(&[parent.as_str(), "recordsets"], &[])).await?;
            let sets = sets.into_iter().map(|set| self.read(parent, set));
            let sets = sets.filter(|set| ours(set.mark.clone()));
            return Ok(sets.map(|set| DnsEntry { kind: set.kind, name: set.name }).collect());
        }
        let zones: Vec<wire::Zone> = self.list(self.url(&[], &[])).await?;
        let zones = zones.into_iter().filter(|zone| ours(wire::mark(&zone.tags, &self.prefix)));
        Ok(zones.map(|zone| DnsEntry { kind: "zone".into(), name: Name::new(&zone.name) }).collect())
    }
}
