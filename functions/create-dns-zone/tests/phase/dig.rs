//! Questions to one name server over UDP, as `dig +norecurse` asks them.

use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;

/// What a server answers.
#[derive(Clone, Debug)]
pub struct Answer {
    pub code: ResponseCode,
    pub authoritative: bool,
    /// Addresses with their TTL.
    pub addresses: Vec<(Ipv4Addr, u32)>,
    /// Name servers that the question is referred to, with their TTL.
    pub referral: Vec<(String, u32)>,
}

/// Asks for the addresses of a name. None when nothing came back in time.
pub async fn ask(server: &str, name: &str) -> Option<Answer> {
    let mut question = Message::query();
    question.metadata.recursion_desired = false;
    let name = Name::from_str(&format!("{}.", name.trim_end_matches('.'))).unwrap();
    question.add_query(Query::query(name, RecordType::A));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server).await.unwrap();
    socket.send(&question.to_vec().unwrap()).await.ok()?;
    let mut buffer = [0; 4096];
    let length = tokio::time::timeout(Duration::from_secs(2), socket.recv(&mut buffer)).await.ok()?.ok()?;
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(answer.metadata.id, question.metadata.id);
    let addresses = answer.answers.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some((address.0, record.ttl)),
        _ => None,
    });
    let referral = answer.authorities.iter().filter_map(|record| match &record.data {
        RData::NS(server) => Some((server.0.to_string(), record.ttl)),
        _ => None,
    });
    Some(Answer {
        code: answer.metadata.response_code,
        authoritative: answer.metadata.authoritative,
        addresses: addresses.collect(),
        referral: referral.collect(),
    })
}

/// As [`ask`], of a server that is up.
pub async fn answer(server: &str, name: &str) -> Answer {
    ask(server, name).await.expect("an answer")
}
