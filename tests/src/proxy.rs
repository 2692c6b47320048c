//! A way to a server that can be cut, or misbehave.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A TCP proxy on a port of its own. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: String,
    serving: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What becomes of a connection.
#[derive(Clone, Debug)]
enum Way {
    /// To the server at `host:port`.
    To(String),
    /// Nowhere, and the caller is left waiting.
    Nowhere,
    /// Answered by the way itself, as a gateway in trouble does.
    Answered(&'static str),
}

impl Proxy {
    /// A way to `target` (`host:port`), open.
    pub async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let proxy = Self { address, target: target.to_owned(), serving: Arc::default() };
        proxy.serve(listener, Way::To(proxy.target.clone()));
        proxy
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection, and refuses new ones.
    pub async fn cut(&self) {
        let serving = self.serving.lock().unwrap().take();
        if let Some(serving) = serving {
            serving.abort();
            drop(serving.await);
        }
    }

    /// Opens it again.
    pub async fn open(&self) {
        self.become_so(Way::To(self.target.clone())).await;
    }

    /// Leads elsewhere from now on.
    pub async fn lead_to(&self, target: &str) {
        self.become_so(Way::To(target.to_owned())).await;
    }

    /// Takes every connection and never says anything.
    pub async fn hang(&self) {
        self.become_so(Way::Nowhere).await;
    }

    /// Answers every request by itself, with this status line.
    pub async fn answer(&self, status: &'static str) {
        self.become_so(Way::Answered(status)).await;
    }

    async fn become_so(&self, way: Way) {
        self.cut().await;
        self.serve(TcpListener::bind(self.address).await.expect("the same port again"), way);
    }

    fn serve(&self, listener: TcpListener, way: Way) {
        let serving = tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut connections = JoinSet::new();
            while let Ok((from, _)) = listener.accept().await {
                connections.spawn(lead(from, way.clone()));
            }
        });
        *self.serving.lock().unwrap() = Some(serving);
    }
}

async fn lead(mut from: TcpStream, way: Way) {
    match way {
        Way::To(target) => {
            if let Ok(mut to) = TcpStream::connect(target).await {
                drop(tokio::io::copy_bidirectional(&mut from, &mut to).await);
            }
        }
        Way::Nowhere => drop(tokio::io::copy(&mut from, &mut tokio::io::sink()).await),
        Way::Answered(status) => {
            let mut begun = [0; 1024];
            drop(from.read(&mut begun).await);
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            drop(from.write_all(answer.as_bytes()).await);
            // What is still to come is taken in: a reset would reach the caller before the answer.
            drop(from.shutdown().await);
            drop(tokio::io::copy(&mut from, &mut tokio::io::sink()).await);
        }
    }
}
