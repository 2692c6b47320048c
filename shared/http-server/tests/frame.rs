//! What a client gets and what is measured, whatever becomes of a handler.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use axum::routing::get;
use http_server::{Frame, Metrics, REQUEST_ID};
use tower::ServiceExt as _;

mod problem {
    http_server::problem_types! {
        INTERNAL_SERVER_ERROR internal "Internal server error";
        SERVICE_UNAVAILABLE timeout "The request took too long" => "Retry the request.";
    }
}

async fn call(path: &str, id: Option<&str>) -> (Response, Metrics) {
    let metrics = Metrics::of_requests(&[1.0]);
    let frame = Frame {
        metrics: metrics.clone(),
        timeout: Duration::from_millis(20),
        timed_out: |limit| problem::timeout(format!("{limit:?}")).retry_after(5),
        panicked: || problem::internal("logged"),
    };
    let router = frame.around(
        Router::new()
            .route("/panics", get(|| async { panic!("as asked") as () }))
            .route("/hangs", get(std::future::pending::<()>))
            .route("/answers", get(|| async { "ok" })),
    );
    let mut request = Request::builder().uri(path);
    if let Some(id) = id {
        request = request.header(REQUEST_ID, id);
    }
    (router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap(), metrics)
}

#[tokio::test]
async fn a_handler_that_panics_or_hangs_is_answered_and_counted_all_the_same() {
    for (path, status, code) in [("/panics", 500, "internal"), ("/hangs", 503, "timeout")] {
        let (response, metrics) = call(path, None).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert!(response.headers().contains_key(REQUEST_ID));
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], code);
        assert!(!body.to_string().contains("as asked"));
        assert!(metrics.render().contains(&format!("route=\"{path}\",status=\"{status}\"}} 1")));
    }
}

#[tokio::test]
async fn a_request_keeps_an_id_that_can_stand_in_a_log_line_and_gets_a_fresh_one_otherwise() {
    let longest = "x".repeat(64);
    for own in ["mine-1", &longest] {
        assert_eq!(call("/answers", Some(own)).await.0.headers()[REQUEST_ID], own);
    }
    let too_long = "x".repeat(65);
    for other in [None, Some(""), Some("two words"), Some(too_long.as_str())] {
        let (response, _) = call("/answers", other).await;
        let id = response.headers()[REQUEST_ID].to_str().unwrap();
        assert_eq!(id.len(), 36, "{id}");
    }
}

#[tokio::test]
async fn what_no_route_matches_is_one_series() {
    let (response, metrics) = call("/nowhere/42", None).await;
    assert_eq!(response.status(), 404);
    let text = metrics.render();
    assert!(text.contains("route=\"unmatched\",status=\"404\"} 1"), "{text}");
    assert!(!text.contains("nowhere"), "{text}");
}
