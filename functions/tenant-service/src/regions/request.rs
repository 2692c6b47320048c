//! What a request for a region says, checked as a whole. Pure.

use std::net::IpAddr;

use axum::http::Uri;
use http_server::FieldError;
use model::platform::{Isolation, JobBroker, Platform, Region, RegionDatabase};
use model::secret::SecretRef;
use serde_json::{Map, Value, json};

use super::references::{self, Guard};
use super::view;
use crate::fields::Fields;
use crate::names;

/// The longest of Postgres's names, and of host names.
const NAME: usize = 63;
const HOST: usize = 253;

/// The region that `body` asks for, with its key, or everything that is wrong with it; `there` is the region of that key.
pub fn new(
    mut body: Map<String, Value>,
    platform: &Platform,
    there: Option<&Region>,
) -> Result<(String, Region), Vec<FieldError>> {
    let alone = body.remove("key").map(|key| ("key".to_owned(), key)).into_iter().collect();
    let found = Fields::read(alone, |fields| {
        let found = fields.parsed("key", "invalid_key", key);
        fields.required("key", found)
    });
    let own = found.as_deref().unwrap_or_default();
    match (parse(body, &Guard::of(platform, own, there)), found) {
        (Ok(region), Ok(key)) => Ok((key, region)),
        (region, key) => {
            let mut errors = key.err().unwrap_or_default();
            errors.extend(region.err().unwrap_or_default());
            Err(errors)
        }
    }
}

/// What becomes of a region by a merge patch: as a request for it.
pub fn patched(region: &Region, patch: Map<String, Value>) -> Map<String, Value> {
    let mut now = json!(view::fields(region));
    merge(&mut now, Value::Object(patch));
    match now {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(target) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(&name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// The region that `body` asks for, or everything that is wrong with it.
pub fn parse(body: Map<String, Value>, guard: &Guard<'_>) -> Result<Region, Vec<FieldError>> {
    Fields::read(body, |fields| read(fields, guard))
}

fn read(fields: &mut Fields, guard: &Guard<'_>) -> Option<Region> {
    let tenant_api_url = fields.parsed("tenantApiUrl", "invalid_url", url);
    let tenant_api_url = fields.required("tenantApiUrl", tenant_api_url);
    let internal_secret = secret(fields, "internalSecret", guard);
    let internal_secret = fields.required("internalSecret", internal_secret);
    let database = fields.object("database", "database.", |fields| database(fields, guard));
    let database =
        if fields.wrong_within("database.") { None } else { fields.required("database", database) };
    let database_cidrs = fields.list("databaseCidrs", "invalid_cidr", cidr).unwrap_or_default();
    let cluster = secret(fields, "cluster", guard);
    let domain = fields.parsed("domain", "invalid_domain", names::domain);
    let isolation = fields.parsed("isolation", "unknown_value", isolation).unwrap_or_default();
    let accepts_tenants = fields.boolean("acceptsTenants").unwrap_or(true);
    let jobs = fields.object("jobs", "jobs.", |fields| jobs(fields, guard)).flatten();
    Some(Region {
        tenant_api_url: tenant_api_url?,
        internal_secret: internal_secret?,
        database: database.flatten()?,
        database_cidrs,
        cluster,
        domain,
        isolation,
        accepts_tenants,
        jobs,
    })
}

fn database(fields: &mut Fields, guard: &Guard<'_>) -> Option<RegionDatabase> {
    let at = host(fields, "host");
    let port = port(fields, "port");
    let shared_database = fields.parsed("sharedDatabase", "invalid_name", name);
    let shared_database = fields.required("sharedDatabase", shared_database);
    let admin_user = fields.parsed("adminUser", "invalid_name", name);
    let admin_user = fields.required("adminUser", admin_user);
    let admin_password = secret(fields, "adminPassword", guard);
    let admin_password = fields.required("adminPassword", admin_password);
    Some(RegionDatabase {
        host: at?,
        port: port?,
        shared_database: shared_database?,
        admin_user: admin_user?,
        admin_password: admin_password?,
    })
}

fn jobs(fields: &mut Fields, guard: &Guard<'_>) -> Option<JobBroker> {
    let management = secret(fields, "management", guard);
    let management = fields.required("management", management);
    let vhost = fields.short_text("vhost", HOST).unwrap_or_else(|| "tenant-jobs".into());
    let at = host(fields, "host");
    let port = port(fields, "port");
    let tls = fields.boolean("tls").unwrap_or(false);
    let cidrs = fields.list("cidrs", "invalid_cidr", cidr).unwrap_or_default();
    Some(JobBroker { management: management?, vhost, host: at?, port: port?, tls, cidrs })
}

/// A DNS label that begins with a letter.
pub fn key(text: &str) -> Result<String, &'static str> {
    let characters = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
    if characters && begins && !text.ends_with('-') && text.len() <= NAME {
        return Ok(text.to_owned());
    }
    Err(
        "must be a DNS label such as eu-west-1: 1 to 63 lower-case letters, digits and '-', from a letter on, not ending in '-'",
    )
}

fn secret(fields: &mut Fields, field: &str, guard: &Guard<'_>) -> Option<SecretRef> {
    let reference = fields.parsed(field, "invalid_secret_reference", references::parse)?;
    if guard.allows(&reference) {
        return Some(reference);
    }
    let why = "refers to a secret of the platform, of another region or of a tenant; give the region a separate secret";
    fields.error(field, "secret_reference_forbidden", why);
    None
}

/// The error does not quote what was given, which may hold a password.
fn url(text: &str) -> Result<String, &'static str> {
    const FORM: &str = "must be an http or https URL with a host, without user, query or fragment";
    let text = text.trim().trim_end_matches('/');
    let uri: Uri = text.parse().map_err(|_| FORM)?;
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority().is_some_and(|at| !at.host().is_empty() && !at.as_str().contains('@'));
    if scheme && authority && !text.contains(['?', '#']) { Ok(text.to_owned()) } else { Err(FORM) }
}

fn host(fields: &mut Fields, field: &str) -> Option<String> {
    let found = fields.parsed(field, "invalid_host", |text| {
        let name = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
        let name = name && !text.starts_with(['-', '.']) && !text.ends_with('-');
        let fits = (1..=HOST).contains(&text.len()) && (name || text.parse::<IpAddr>().is_ok());
        if fits { Ok(text.to_owned()) } else { Err("must be a host name or an IP address, without a port") }
    });
    fields.required(field, found)
}

fn port(fields: &mut Fields, field: &str) -> Option<u16> {
    let found = fields.integer(field);
    let found = fields.required(field, found)?;
    let port = u16::try_from(found).ok().filter(|port| *port > 0);
    if port.is_none() {
        fields.error(field, "out_of_range", "must be a port from 1 to 65535");
    }
    port
}

/// A name in Postgres that needs no quotes, but for case and hyphens.
fn name(text: &str) -> Result<String, &'static str> {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let characters = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if begins && characters && text.len() <= NAME {
        return Ok(text.to_owned());
    }
    Err("must have 1 to 63 letters, digits, '_' and '-', from a letter or '_' on")
}

fn cidr(text: &str) -> Result<String, &'static str> {
    const FORM: &str = "must be a network such as 10.42.0.0/16";
    let (address, length) = text.split_once('/').ok_or(FORM)?;
    let address: IpAddr = address.parse().map_err(|_| FORM)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    match length.parse::<u8>() {
        Ok(length) if length <= most && text.bytes().all(|b| b != b'+') => Ok(text.to_owned()),
        _ => Err(FORM),
    }
}

fn isolation(text: &str) -> Result<Isolation, &'static str> {
    match text {
        "shared" => Ok(Isolation::Shared),
        "dedicated" => Ok(Isolation::Dedicated),
        _ => Err("must be one of shared, dedicated"),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
