//! Loki's and Tempo's HTTP APIs, which cannot be had here, as a listener that answers what it is told to.

use axum::Router;
use axum::http::{HeaderMap, Uri};
use engine::phase::Kind;
use tokio::net::TcpListener;

use super::*;
use crate::tests::planned;

/// Answers with this status and content, and a log line only to the tenant that is known by its id.
async fn answering(status: u16, content: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = move |headers: HeaderMap, uri: Uri| async move {
        let asked_as = headers[TENANT_HEADER].to_str().unwrap().to_owned();
        assert_eq!(asked_as, planned().tenant_id.to_string(), "{uri}");
        (axum::http::StatusCode::from_u16(status).unwrap(), content)
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    url
}

async fn looks(at: &str) -> [(&'static str, Result<bool>); 2] {
    let (plan, marks) = (planned(), Marks::fresh().unwrap());
    [("loki", has_line(&plan, at, &marks).await), ("tempo", has_span(&plan, at, &marks).await)]
}

#[tokio::test]
async fn an_outage_of_loki_or_tempo_is_charged_to_no_tenant() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let mut away = vec![nowhere];
    for status in [429, 500, 502, 503, 504] {
        away.push(answering(status, "away").await);
    }
    for url in away {
        for (system, looked) in looks(&url).await {
            let error = looked.unwrap_err();
            assert_eq!(error.kind, Kind::Unavailable { dependency: system.into() }, "{error}");
            assert!(error.message.contains(&url) && error.next_action.contains(system), "{error}");
        }
    }
}

#[tokio::test]
async fn the_tenants_own_collector_is_charged_to_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let collector = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = send(&collector, "logs", &Marks::fresh().unwrap().logs()).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Retryable, "not_connected"));
}

#[tokio::test]
async fn what_is_not_there_yet_is_looked_for_again_and_a_refusal_is_the_tenants() {
    for (system, looked) in looks(&answering(404, "").await).await {
        assert!(!looked.unwrap(), "{system}");
    }
    let found = answering(200, r#"{ "data": { "result": [{}] } }"#).await;
    for (system, looked) in looks(&found).await {
        assert!(looked.unwrap(), "{system}");
    }
    for refused in [answering(400, "no").await, answering(401, "no").await, answering(200, "no JSON").await] {
        for (system, looked) in looks(&refused).await {
            let error = looked.unwrap_err();
            assert_eq!((error.kind, error.code), (Kind::Retryable, "query_refused"), "{system}");
        }
    }
}

/// A collector whose configuration was changed by hand hands on what the sender claims.
#[tokio::test]
async fn a_span_that_does_not_say_whose_it_is_fails() {
    const UNSTAMPED: &str = r#"{ "batches": [{ "resource": { "attributes": [
        { "key": "tenant_id", "value": { "stringValue": "unknown" } }] } }] }"#;
    let [_, (_, looked)] = looks(&answering(200, UNSTAMPED).await).await;
    let error = looked.unwrap_err();
    assert!(error.message.contains("tenant_id=unknown, not acme"), "{error}");
    assert_eq!((error.kind, error.code), (Kind::Retryable, "not_stamped"));
}
