//! The DNS servers as their operator sees them.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::environment::required;

/// The server of the tenants' zones, and that of their parent.
const SERVERS: [&str; 2] = ["PDNS_URL", "PARENT_PDNS_URL"];

async fn call(server: &str, method: Method, path: &str, body: Option<Value>) -> Value {
    let url = format!("{}/api/v1/servers/localhost/{path}", required(server));
    let mut request = Client::new().request(method, url).header("X-API-Key", required("PDNS_API_KEY"));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.expect("the DNS server's API");
    serde_json::from_str(&answer.text().await.expect("an answer")).unwrap_or(Value::Null)
}

/// Every zone, record and comment of both servers: what it is, its name, and all that is said of it.
pub(crate) async fn all() -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for server in SERVERS {
        let found = call(server, Method::GET, "search-data?q=*&max=100000", None).await;
        for hit in found.as_array().expect("a list") {
            let text = |key: &str| hit[key].as_str().unwrap_or_default().to_owned();
            all.push((
                format!("DNS {} {}", text("object_type"), text("type")),
                text("name"),
                hit.to_string(),
            ));
        }
    }
    all
}

/// Takes away a tenant's zone and delegation, as far as they are there.
pub(crate) async fn take_away(slug: &str) {
    let name = format!("{slug}.matih.ai.");
    call("PDNS_URL", Method::DELETE, &format!("zones/{name}"), None).await;
    let delegation = json!({ "rrsets": [{ "name": name, "type": "NS", "changetype": "DELETE" }] });
    call("PARENT_PDNS_URL", Method::PATCH, "zones/matih.ai.", Some(delegation)).await;
}
