//! A way to a server that can be cut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A TCP proxy on a port of its own. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: String,
    serving: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Proxy {
    /// A way to `target` (`host:port`), open.
    pub async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let proxy = Self { address, target: target.to_owned(), serving: Arc::default() };
        proxy.serve(listener);
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
        self.cut().await;
        self.serve(TcpListener::bind(self.address).await.expect("the same port again"));
    }

    fn serve(&self, listener: TcpListener) {
        let target = self.target.clone();
        let serving = tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut connections = JoinSet::new();
            while let Ok((mut from, _)) = listener.accept().await {
                let target = target.clone();
                connections.spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(target).await {
                        drop(tokio::io::copy_bidirectional(&mut from, &mut to).await);
                    }
                });
            }
        });
        *self.serving.lock().unwrap() = Some(serving);
    }
}
