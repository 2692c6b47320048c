//! A tenant's zone and its delegation, made as CREATE_DNS_ZONE makes them.

use serde_json::{Value, json};
use testing::required;

/// The key that the issuer signs its updates with.
const UPDATE_KEY: &str = "tenantry-acme";
const PARENT: &str = "matih.ai.";

async fn call(server: &str, method: reqwest::Method, path: &str, body: &Value) {
    let url = format!("{}/api/v1/servers/localhost{path}", required(server));
    let request = reqwest::Client::new().request(method, &url).header("X-API-Key", required("PDNS_API_KEY"));
    let answer = request.json(body).send().await.unwrap();
    let status = answer.status();
    assert!(status.is_success(), "{url}: {status} {}", answer.text().await.unwrap());
}

pub async fn create(zone: &str) {
    create_at("PDNS_URL", zone).await;
    let kind = "TSIG-ALLOW-DNSUPDATE";
    let body = json!({ "kind": kind, "metadata": [UPDATE_KEY] });
    call("PDNS_URL", reqwest::Method::PUT, &format!("/zones/{zone}/metadata/{kind}"), &body).await;
}

/// A second, empty zone of the name on the parent's server, which everybody asks then instead of the tenant's own.
pub async fn eclipse(zone: &str) {
    create_at("PARENT_PDNS_URL", zone).await;
}

pub async fn end_eclipse(zone: &str) {
    call("PARENT_PDNS_URL", reqwest::Method::DELETE, &format!("/zones/{zone}"), &Value::Null).await;
}

async fn create_at(server: &str, zone: &str) {
    let servers = ["ns1.matih.ai.", "ns2.matih.ai."];
    let body = json!({ "name": zone, "kind": "Native", "nameservers": servers });
    call(server, reqwest::Method::POST, "/zones", &body).await;
}

pub async fn delegate(zone: &str) {
    let body = json!({ "rrsets": [{
        "name": zone, "type": "NS", "ttl": 1, "changetype": "REPLACE",
        "records": [{ "content": "ns1.matih.ai.", "disabled": false }, { "content": "ns2.matih.ai.", "disabled": false }],
    }] });
    call("PARENT_PDNS_URL", reqwest::Method::PATCH, &format!("/zones/{PARENT}"), &body).await;
}

pub async fn remove(zone: &str) {
    let body = json!({ "rrsets": [{ "name": zone, "type": "NS", "changetype": "DELETE", "records": [] }] });
    call("PARENT_PDNS_URL", reqwest::Method::PATCH, &format!("/zones/{PARENT}"), &body).await;
    call("PDNS_URL", reqwest::Method::DELETE, &format!("/zones/{zone}"), &Value::Null).await;
}
