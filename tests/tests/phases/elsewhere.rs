//! A platform with names of its own: domain, chart repository, issuer, namespaces and labels, by configuration alone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use model::Tier;
use model::platform::Seconds;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{RegionWorld, kubectl, kubectl_with, names, required, slug};
use tokio::net::TcpListener;

/// A chart repository of the platform's own: what the stack's holds, at another address, and what was fetched of it.
#[derive(Clone)]
struct Repository {
    url: String,
    fetched: Arc<Mutex<BTreeSet<String>>>,
}

impl Repository {
    async fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/own", listener.local_addr().unwrap());
        let repository = Self { url, fetched: Arc::default() };
        let routes =
            Router::new().route("/own/{file}", axum::routing::get(Self::file)).with_state(repository.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        repository
    }

    async fn file(State(own): State<Self>, Path(file): Path<String>) -> Result<Vec<u8>, StatusCode> {
        let stacks = required("CHART_REPOSITORY_URL");
        let answer = reqwest::get(format!("{stacks}/{file}")).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
        if !answer.status().is_success() {
            return Err(StatusCode::NOT_FOUND);
        }
        let body = answer.bytes().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
        own.fetched.lock().unwrap().insert(file.clone());
        if file == "index.yaml" {
            return Ok(String::from_utf8_lossy(&body).replace(&stacks, &own.url).into_bytes());
        }
        Ok(body.to_vec())
    }
}

async fn make_parent_zone(domain: &str) {
    let zone = json!({
        "name": format!("{domain}."), "kind": "Native", "nameservers": [format!("ns0.{domain}.")],
        "rrsets": [{ "name": format!("ns1.{domain}."), "type": "A", "ttl": 60,
                     "records": [{ "content": "127.0.0.3", "disabled": false }] }],
    });
    names::parent(Method::POST, "zones", Some(&zone)).await;
}

/// The records of a name and type in a zone as its server holds it.
fn records(zone: &Value, name: &str, kind: &str) -> Vec<String> {
    let sets = zone["rrsets"].as_array().into_iter().flatten();
    let wanted = sets.filter(|set| set["name"] == name && set["type"] == kind);
    let records = wanted.flat_map(|set| set["records"].as_array().into_iter().flatten());
    records.map(|record| record["content"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_of_other_names_differs_in_its_configuration_only() {
    let repository = Repository::serve().await;
    let (domain, issuer) = (format!("{}.example", slug("elsewhere")), slug("elsewhere"));
    make_parent_zone(&domain).await;
    let own = json!({ "apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": { "name": issuer },
                      "spec": { "selfSigned": {} } });
    kubectl_with(&["apply", "--server-side", "-f", "-"], &own.to_string()).await;
    let adjust = |platform: &mut model::platform::Platform| {
        platform.domain.clone_from(&domain);
        platform.namespace_prefix = "elsewhere-".into();
        platform.label_prefix = "elsewhere.example".into();
        platform.managed_by = "elsewhere".into();
        platform.charts.repository_url.clone_from(&repository.url);
        platform.certificates.issuer.clone_from(&issuer);
        platform.dns.name_servers = vec![format!("ns1.{domain}")];
        platform.slug_rest = Seconds(0.0);
    };
    RegionWorld::run(adjust, |world| {
        let (domain, issuer, repository) = (domain.clone(), issuer.clone(), repository.clone());
        async move {
            let dispatcher = world.dispatch_all().await;
            let slug = slug("own");
            let (namespace, host) = (format!("elsewhere-{slug}"), format!("{slug}.{domain}"));
            let tenant = world.provision(&slug, Tier::Free, false).await;
            world.settled(tenant, "ACTIVE").await;

            let labels = kubectl(&["get", "namespace", &namespace, "-o=jsonpath={.metadata.labels}"]).await;
            let labels: Value = serde_json::from_str(&labels).unwrap();
            assert_eq!(labels["elsewhere.example/tenant-id"], json!(tenant), "{labels}");
            let kinds =
                "deployments,statefulsets,services,ingresses,networkpolicies,configmaps,secrets,certificates";
            let all = kubectl(&["get", kinds, "-n", &namespace, "-o=json"]).await;
            let all: Value = serde_json::from_str(&all).unwrap();
            for object in all["items"].as_array().unwrap() {
                let metadata = object["metadata"].to_string();
                assert!(!metadata.contains("matih"), "nothing has the reference's names: {metadata}");
            }
            let issued = ["get", "certificate", "-n", &namespace, "-o=jsonpath={.items[0].spec}"];
            let issued: Value = serde_json::from_str(&kubectl(&issued).await).unwrap();
            assert_eq!(issued["issuerRef"]["name"], json!(issuer), "{issued}");
            assert_eq!(issued["dnsNames"], json!([host, format!("*.{host}")]), "{issued}");
            let rules = ["get", "ingresses", "-n", &namespace, "-o=jsonpath={.items[*].spec.rules[*].host}"];
            let rules = kubectl(&rules).await;
            assert!(rules.split(' ').all(|rule| rule.ends_with(&host)) && !rules.is_empty(), "{rules}");

            let parent = names::parent(Method::GET, &format!("zones/{domain}."), None).await;
            assert_eq!(records(&parent, &format!("{host}."), "NS"), [format!("ns1.{domain}.")]);
            let child = names::child(Method::GET, &format!("zones/{host}."), None).await;
            assert_eq!(records(&child, &format!("{host}."), "A").len(), 1, "{child}");

            let fetched = repository.fetched.lock().unwrap().clone();
            // Nine services, the ingress controller, Grafana, the collector; and the index.
            assert!(fetched.contains("index.yaml") && fetched.len() >= 13, "{fetched:?}");

            world.take_out(&slug, tenant).await;
            assert_eq!(names::child(Method::GET, &format!("zones/{host}."), None).await, Value::Null);
            let parent = names::parent(Method::GET, &format!("zones/{domain}."), None).await;
            assert_eq!(records(&parent, &format!("{host}."), "NS"), [""; 0]);
            dispatcher.stop().await.unwrap();
        }
    })
    .await;
    names::parent(Method::DELETE, &format!("zones/{domain}."), None).await;
    kubectl(&["delete", "clusterissuer", &issuer]).await;
}
