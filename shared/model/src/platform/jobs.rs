//! The RabbitMQ of a region's background jobs.

use serde::{Deserialize, Serialize};

use crate::secret::SecretRef;

/// A broker with a vhost for the jobs of all the region's tenants, each of whom may use only its own queues in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobBroker {
    /// Where the management API's address is, with an administrator's login: `http://user:password@host:port`.
    pub management: SecretRef,
    /// The vhost; made if it is not there.
    #[serde(default = "vhost")]
    pub vhost: String,
    /// The broker as the tenants' pods reach it.
    pub host: String,
    /// Its port for AMQP.
    pub port: u16,
    /// AMQP over TLS.
    #[serde(default)]
    pub tls: bool,
    /// Its addresses, for network policies. Empty where it is in the control plane's namespace.
    #[serde(default)]
    pub cidrs: Vec<String>,
}

impl JobBroker {
    /// Whether this is the same vhost of the same broker: where its users and queues are. By what it is administered, whether
    /// over TLS, and by which addresses, are ways to it only.
    pub fn is_where(&self, other: &Self) -> bool {
        (&self.host, self.port, &self.vhost) == (&other.host, other.port, &other.vhost)
    }
}

fn vhost() -> String {
    "tenant-jobs".into()
}
