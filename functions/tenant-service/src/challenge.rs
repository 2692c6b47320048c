//! The record by which a domain's owner shows that it is theirs, and looking for it.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use model::platform::Domains;
use serde::Serialize;
use tenants::DomainRow;
use utoipa::ToSchema;

use crate::openapi;

/// For one question and its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Values that an answer shows of what it found; others' records are none of its business.
const SHOWN: usize = 5;

/// What has to stand in the DNS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DomainChallenge)]
pub struct Record {
    #[serde(rename = "type")]
    #[schema(value_type = openapi::Txt, inline)]
    kind: &'static str,
    /// Its full name.
    pub name: String,
    /// Its text.
    pub value: String,
}

/// The record of a domain.
pub fn record(rules: &Domains, row: &DomainRow) -> Record {
    Record {
        kind: "TXT",
        name: format!("{}.{}", rules.challenge_label, row.domain),
        value: format!("tenantry-verification={}", row.challenge),
    }
}

/// What a look came to.
#[derive(Debug)]
pub enum Seen {
    /// The record is there.
    Shown,
    /// It is not; what is there instead.
    Missing(Vec<String>),
    /// Nobody knows: why.
    NoAnswer(String),
}

/// The resolver that is asked for it. Cheap to clone.
#[derive(Clone)]
pub struct ChallengeResolver(TokioResolver);

impl std::fmt::Debug for ChallengeResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChallengeResolver").finish_non_exhaustive()
    }
}

impl ChallengeResolver {
    /// The resolver that the platform names, or the machine's own.
    pub fn new(rules: &Domains) -> Result<Self, String> {
        let mut builder = match rules.resolver {
            Some(address) => {
                TokioResolver::builder_with_config(only(address), TokioRuntimeProvider::default())
            }
            None => TokioResolver::builder_tokio().map_err(|error| {
                format!("the machine's resolver cannot be used ({error}); set domains.resolver")
            })?,
        };
        let options = builder.options_mut();
        // What was asked a moment ago is asked anew: somebody has just changed it.
        options.cache_size = 0;
        options.timeout = ANSWER_WITHIN;
        options.attempts = 2;
        builder.build().map(Self).map_err(|error| format!("domains.resolver: {error}"))
    }

    /// Looks for a domain's record.
    pub async fn look(&self, rules: &Domains, row: &DomainRow) -> Seen {
        let wanted = record(rules, row);
        // With its last dot, so that no search list is tried.
        let found = match self.0.txt_lookup(format!("{}.", wanted.name)).await {
            Ok(answer) => answer,
            Err(error) if error.is_no_records_found() => return Seen::Missing(Vec::new()),
            Err(error) => return Seen::NoAnswer(error.to_string()),
        };
        let texts = found.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        });
        let texts: Vec<String> = texts.map(|text| String::from_utf8_lossy(&text).into_owned()).collect();
        if texts.iter().any(|text| text.trim() == wanted.value) {
            return Seen::Shown;
        }
        Seen::Missing(texts.into_iter().take(SHOWN).collect())
    }
}

/// One server, by UDP and, where an answer is too long for that, TCP.
fn only(address: SocketAddr) -> ResolverConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    ResolverConfig::from_name_servers(vec![server])
}
