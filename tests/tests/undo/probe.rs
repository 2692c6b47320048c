//! Somebody who asks for a tenant's names all the time.

use std::net::Ipv4Addr;
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use futures::future::join_all;
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use tests::required;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::holding::HeldAddresses;

/// Below the tenant's zone; nobody has made a record for the last two, which the wildcard answers for.
const HOSTS: [&str; 5] = ["", "api.", "bi.", "anything.", "deep.down."];

/// Between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// That of the tenants' zones, which says how long its answer may be kept.
    Child,
    /// A resolver, which follows the parent's delegation and keeps what it has found for as long as it may.
    Resolver,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub server: Server,
    pub name: String,
    /// When the question was sent.
    pub sent: Instant,
    /// With their TTL.
    pub addresses: Vec<(Ipv4Addr, Duration)>,
}

/// Everything that is asked in a round.
pub fn questions(slug: &str) -> Vec<(Server, String)> {
    let names = HOSTS.map(|host| format!("{host}{slug}.matih.ai."));
    [Server::Child, Server::Resolver].iter().flat_map(|of| names.clone().map(|name| (*of, name))).collect()
}

/// Asks until it is stopped.
pub struct Probe {
    stop: watch::Sender<bool>,
    asking: JoinHandle<Vec<Answer>>,
}

impl Probe {
    pub fn start(slug: &str) -> Self {
        let (stop, stopped) = watch::channel(false);
        let questions = questions(slug);
        let asking = tokio::spawn(async move {
            let mut answers = Vec::new();
            while !*stopped.borrow() {
                let round = join_all(questions.iter().map(|(server, name)| ask(*server, name))).await;
                answers.extend(round.into_iter().flatten());
                tokio::time::sleep(PAUSE).await;
            }
            answers
        });
        Self { stop, asking }
    }

    pub async fn stop(self) -> Vec<Answer> {
        self.stop.send_replace(true);
        self.asking.await.unwrap()
    }
}

/// Asks for the addresses of a name. None when nothing came back in time.
async fn ask(server: Server, name: &str) -> Option<Answer> {
    let mut question = Message::query();
    question.metadata.recursion_desired = server == Server::Resolver;
    question.add_query(Query::query(Name::from_str(name).unwrap(), RecordType::A));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = if server == Server::Child { "DNS_ADDR" } else { "RESOLVER_ADDR" };
    socket.connect(required(at)).await.unwrap();
    let sent = Instant::now();
    socket.send(&question.to_vec().unwrap()).await.ok()?;
    let mut buffer = [0; 4096];
    let length = tokio::time::timeout(Duration::from_secs(2), socket.recv(&mut buffer)).await.ok()?.ok()?;
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(answer.metadata.id, question.metadata.id);
    let addresses = answer.answers.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some((address.0, Duration::from_secs(record.ttl.into()))),
        _ => None,
    });
    Some(Answer { server, name: name.to_owned(), sent, addresses: addresses.collect() })
}

impl Answer {
    /// What is wrong with it: it holds an address that was not the tenant's when the question was sent. What the child
    /// answers, a resolver that asks at the same moment gives away until its TTL is over; ours does so by itself.
    pub fn against(&self, held: &HeldAddresses) -> Option<String> {
        let wrong = self.addresses.iter().find(|(address, ttl)| {
            let kept = if self.server == Server::Child { *ttl } else { Duration::ZERO };
            !held.at(*address, self.sent + kept)
        });
        wrong.map(|(address, ttl)| {
            format!(
                "{:?} gave {address} for {} ({ttl:?}), which was not the tenant's",
                self.server, self.name
            )
        })
    }
}
