//! The DNS servers as their operator sees them.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::environment::required;

/// The server of the tenants' zones, and that of their parent.
const CHILD: &str = "PDNS_URL";
const PARENT: &str = "PARENT_PDNS_URL";

/// A client reads all of the machine's root certificates when it is made, so that a process has one.
static HTTP: LazyLock<Client> = LazyLock::new(Client::new);

async fn call(server: &str, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
    let url = format!("{}/api/v1/servers/localhost/{path}", required(server));
    let began = Instant::now();
    loop {
        let mut request = HTTP.request(method.clone(), &url).header("X-API-Key", required("PDNS_API_KEY"));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.expect("the DNS server's API");
        let status = answer.status();
        let text = answer.text().await.expect("an answer");
        // A server that keeps its zones in one file refuses some of many calls.
        if !status.is_server_error() || began.elapsed() > Duration::from_mins(1) {
            return (status, serde_json::from_str(&text).unwrap_or(Value::Null));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn must(server: &str, method: Method, path: &str, body: Option<&Value>) -> Value {
    let (status, answer) = call(server, method, path, body).await;
    assert!(status.is_success() || status == StatusCode::NOT_FOUND, "{path}: {status} {answer}");
    if status == StatusCode::NOT_FOUND { Value::Null } else { answer }
}

/// A call to the server of the tenants' zones, below its root; null where there is nothing of the name.
pub async fn child(method: Method, path: &str, body: Option<&Value>) -> Value {
    must(CHILD, method, path, body).await
}

/// As [`child`], to the server of the parent zone.
pub async fn parent(method: Method, path: &str, body: Option<&Value>) -> Value {
    must(PARENT, method, path, body).await
}

fn list(found: &Value) -> &[Value] {
    found.as_array().expect("a list")
}

fn text(found: &Value, key: &str) -> String {
    found[key].as_str().unwrap_or_default().to_owned()
}

/// Every zone, record and comment of both servers: what it is, its name, and all that is said of it.
pub(crate) async fn all() -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for server in [CHILD, PARENT] {
        let found = must(server, Method::GET, "search-data?q=*&max=100000", None).await;
        for hit in list(&found) {
            let kind = format!("DNS {} {}", text(hit, "object_type"), text(hit, "type"));
            all.push((kind, text(hit, "name"), hit.to_string()));
        }
    }
    all
}

/// What both servers hold beside records, in the same way: whose each zone is, who may update it, and the keys.
pub(crate) async fn settings() -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for server in [CHILD, PARENT] {
        for zone in list(&must(server, Method::GET, "zones", None).await) {
            let name = text(zone, "name");
            let metadata = must(server, Method::GET, &format!("zones/{name}/metadata"), None).await;
            let said = format!("{server} {} {} {metadata}", zone["account"], zone["kind"]);
            all.push(("DNS settings".to_owned(), name, said));
        }
        for key in list(&must(server, Method::GET, "tsigkeys", None).await) {
            all.push(("DNS key".to_owned(), text(key, "name"), format!("{server} {}", key["algorithm"])));
        }
    }
    all
}

/// Takes away a tenant's zone and delegation, as far as they are there.
pub(crate) async fn take_away(slug: &str) {
    let name = format!("{slug}.matih.ai.");
    for server in [CHILD, PARENT] {
        call(server, Method::DELETE, &format!("zones/{name}"), None).await;
    }
    let delegation = json!({ "rrsets": [{ "name": name, "type": "NS", "changetype": "DELETE" }] });
    call(PARENT, Method::PATCH, "zones/matih.ai.", Some(&delegation)).await;
}
