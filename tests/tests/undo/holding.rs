//! Which addresses a tenant's load balancers hold, and until when, as the cluster tells it.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// What was held: by which Service, which address, and when it was known to be held no longer.
#[derive(Debug, Default)]
pub struct HeldAddresses(HashMap<(String, Ipv4Addr), Option<Instant>>);

/// A watch of the Services of a namespace, which need not be there yet.
pub struct Holding {
    kubectl: Child,
    following: JoinHandle<HeldAddresses>,
}

impl Holding {
    pub fn watch(namespace: &str) -> Self {
        let path = format!("/api/v1/namespaces/{namespace}/services?watch=true");
        let mut kubectl = Command::new("kubectl")
            .args(["get", "--raw", &path])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(kubectl.stdout.take().unwrap()).lines();
        let following = tokio::spawn(async move {
            let mut held = HeldAddresses::default();
            // An event comes a little after what it tells of, so an address is taken to be held a little too long.
            while let Some(line) = lines.next_line().await.unwrap() {
                held.note(&serde_json::from_str(&line).expect("an event"));
            }
            held
        });
        Self { kubectl, following }
    }

    /// Ends it.
    pub async fn stop(mut self) -> HeldAddresses {
        assert_eq!(self.kubectl.try_wait().unwrap(), None, "the watch has ended early");
        self.kubectl.kill().await.unwrap();
        self.following.await.unwrap()
    }
}

impl HeldAddresses {
    fn note(&mut self, event: &Value) {
        let service = &event["object"];
        let uid = service["metadata"]["uid"].as_str().expect("a Service's uid");
        let ingress =
            service["status"]["loadBalancer"]["ingress"].as_array().filter(|_| event["type"] != "DELETED");
        let shown: Vec<Ipv4Addr> =
            ingress.into_iter().flatten().map(|one| one["ip"].as_str().unwrap().parse().unwrap()).collect();
        for address in &shown {
            self.0.insert((uid.to_owned(), *address), None);
        }
        for ((of, address), until) in &mut self.0 {
            if of == uid && !shown.contains(address) {
                until.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Whether the address was the tenant's at this moment, or became it later.
    pub fn at(&self, address: Ipv4Addr, moment: Instant) -> bool {
        let mut of_it = self.0.iter().filter(|((_, held), _)| *held == address);
        of_it.any(|(_, until)| until.is_none_or(|until| moment <= until))
    }

    /// When the last of them was released.
    pub fn released(&self) -> Instant {
        let ends: Option<Vec<Instant>> = self.0.values().copied().collect();
        ends.expect("all are released").into_iter().max().expect("there were some")
    }
}
