//! What a server does with clients that are slow, many, or there when it stops.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http_server::{Bounds, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

/// Longest wait for what must happen.
const WITHIN: Duration = Duration::from_mins(1);

const REQUEST: &[u8] = b"GET /quick HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

struct Server {
    address: SocketAddr,
    /// Answers `/slow`.
    go: Arc<Notify>,
    /// Somebody waits at `/slow`.
    waits: Arc<Notify>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

async fn server(bounds: Bounds) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (go, waits) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (go, waits) = (go.clone(), waits.clone());
        move || async move {
            waits.notify_one();
            go.notified().await;
            "slow"
        }
    };
    let router = Router::new().route("/quick", get(|| async { "quick" })).route("/slow", get(slow));
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(serve(listener, router, bounds, async move { drop(stopped.await) }));
    Server { address, go, waits, stop, serving }
}

/// Everything that comes until the server closes the connection.
async fn rest(connection: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end too.
    let _ =
        tokio::time::timeout(WITHIN, connection.read_to_end(&mut text)).await.expect("the server closes it");
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_headers_is_let_go_and_so_is_an_idle_one() {
    let server = server(Bounds { headers_within: Duration::from_millis(100), ..Bounds::default() }).await;
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"GET /quick HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    assert!(!rest(&mut half).await.contains("200 OK"));
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /quick HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(rest(&mut idle).await.ends_with("quick"));
}

#[tokio::test]
async fn a_connection_too_many_waits_until_another_ends() {
    let server = server(Bounds { connections: 1, ..Bounds::default() }).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    server.waits.notified().await;
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(REQUEST).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), second.read_u8()).await;
    assert!(early.is_err(), "it is not served beside the first: {early:?}");
    server.go.notify_one();
    assert!(rest(&mut first).await.ends_with("slow"));
    assert!(rest(&mut second).await.ends_with("quick"));
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way_and_nothing_else() {
    let server = server(Bounds::default()).await;
    let mut under_way = TcpStream::connect(server.address).await.unwrap();
    under_way.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    server.waits.notified().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    server.stop.send(()).unwrap();
    assert_eq!(rest(&mut idle).await, "");
    assert!(!server.serving.is_finished());
    server.go.notify_one();
    assert!(rest(&mut under_way).await.ends_with("slow"));
    tokio::time::timeout(WITHIN, server.serving).await.expect("it ends").unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody is accepted any more");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let server = server(Bounds { stop_within: Duration::from_millis(100), ..Bounds::default() }).await;
    let mut hanging = TcpStream::connect(server.address).await.unwrap();
    hanging.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    server.waits.notified().await;
    server.stop.send(()).unwrap();
    tokio::time::timeout(WITHIN, server.serving).await.expect("it ends").unwrap();
}
