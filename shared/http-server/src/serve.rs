//! Accepting connections and serving them, within bounds. `axum::serve` has none: a client that sends half a header keeps its
//! connection, and a process its memory, for as long as the client likes.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Between two tries to accept, while the process has no file descriptor left (as axum and hyper do it).
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// What one server takes on at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Open connections; further ones wait in the kernel's queue until one ends. Must be at least 1.
    pub connections: usize,
    /// From the end of one request, or from the start of the connection, until all headers of the next have come. An idle
    /// connection is closed after it too.
    pub headers_within: Duration,
    /// After the stop: how long requests under way may go on.
    pub stop_within: Duration,
}

impl Default for Bounds {
    /// 1,024 connections (the usual soft limit of open files), 30 s for headers (hyper's own default), 35 s to stop (a request
    /// of tenant-service may take 30 s).
    fn default() -> Self {
        Self {
            connections: 1024,
            headers_within: Duration::from_secs(30),
            stop_within: Duration::from_secs(35),
        }
    }
}

/// Serves on `listener` until `stop` resolves. Then nothing more is accepted, idle connections are closed, and requests under
/// way are finished within [`Bounds::stop_within`]; what is left after that is dropped.
pub async fn serve(listener: TcpListener, router: Router, bounds: Bounds, stop: impl Future<Output = ()>) {
    let slots = Arc::new(Semaphore::new(bounds.connections));
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(bounds.headers_within);
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let next = async {
            // A connection that could not be served yet costs nothing while it waits in the kernel.
            let slot = slots.clone().acquire_owned().await;
            (slot, accept(&listener).await)
        };
        let (slot, stream) = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = protocol.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                // The client's doing: it hung up, was too slow, or does not speak HTTP.
                tracing::debug!(%error, "a connection ended early");
            }
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(bounds.stop_within, graceful.shutdown()).await.is_err() {
        tracing::warn!(within = ?bounds.stop_within, "requests under way were dropped at the stop");
    }
}

/// The next connection. What goes wrong with a single one is no concern of the others.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
                ) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted; trying again");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}
