//! What stands in for Loki and Tempo where the nodes are simulated: a receiver of OTLP over HTTP that keeps what it is
//! sent in memory, for as long as one attempt lasts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use engine::phase::{Error, Result};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::config::TENANT_HEADER;

/// One request's content.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Such as `/otlp/v1/logs`.
    pub(crate) path: String,
    /// Whose it is said to be.
    pub(crate) tenant: String,
    /// OTLP as JSON.
    pub(crate) content: Value,
}

#[derive(Default)]
struct Kept {
    all: Mutex<Vec<Received>>,
    more: Notify,
}

/// A receiver that listens; gone when it is dropped.
pub(crate) struct StandIn {
    pub(crate) url: String,
    kept: Arc<Kept>,
    server: JoinHandle<()>,
}

impl StandIn {
    pub(crate) async fn start() -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::retryable("no_port", format!("no port for a stand-in: {error}"))
                .next("Free some ports of this machine, then retry.")
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let kept = Arc::<Kept>::default();
        let router = Router::new().fallback(receive).with_state(kept.clone());
        let server = tokio::spawn(async move {
            // It has nobody to tell an error to: what it did not receive is missed below.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self { url, kept, server })
    }

    /// The first content that `read` finds something in, with what it found. None when there was none in time.
    pub(crate) async fn find<T>(
        &self,
        within: Duration,
        read: impl Fn(&Received) -> Option<T>,
    ) -> Option<(Received, T)> {
        let looked = async {
            loop {
                let more = self.kept.more.notified();
                let all = self.kept.all.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(found) = all.into_iter().find_map(|one| read(&one).map(|it| (one, it))) {
                    return found;
                }
                more.await;
            }
        };
        tokio::time::timeout(within, looked).await.ok()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    State(kept): State<Arc<Kept>>,
    headers: HeaderMap,
    uri: Uri,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let Ok(content) = serde_json::from_slice(&body) else { return (StatusCode::BAD_REQUEST, "{}") };
    let tenant = headers.get(TENANT_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let received = Received { path: uri.path().to_owned(), tenant: tenant.to_owned(), content };
    kept.all.lock().unwrap_or_else(PoisonError::into_inner).push(received);
    kept.more.notify_waiters();
    (StatusCode::OK, "{}")
}
