//! What phases read of the checkpoints of earlier ones: for each use the names of the fields that it needs, and no more, so
//! that a checkpoint may grow without anybody noticing.
//!
//! A phase that writes such a checkpoint takes its name from here, and keeps the fields' names.

use model::platform::Retention;
use model::secret::SecretRef;
use serde::Deserialize;

use engine::phase::{CheckpointPart, Checkpoints, Result};

/// Its checkpoint says where a tenant's own Postgres instance is.
pub const PROVISIONING_INFRASTRUCTURE: &str = "PROVISIONING_INFRASTRUCTURE";
/// Its checkpoint says where a tenant's own tenant-api is.
pub const PROVISION_DEPLOYMENT: &str = "PROVISION_DEPLOYMENT";
/// Its checkpoint says that the tenant's database is there.
pub const SETUP_DATABASE: &str = "SETUP_DATABASE";
/// Its checkpoint has the address that the tenant's names point at.
pub const DEPLOY_INGRESS_CONTROLLER: &str = "DEPLOY_INGRESS_CONTROLLER";
/// Its checkpoint says what is kept when the tenant goes.
pub const SETUP_OBSERVABILITY: &str = "SETUP_OBSERVABILITY";

macro_rules! parts {
    ($($part:ident of $phase:ident;)+) => {$(
        impl CheckpointPart for $part {
            const PHASE: &'static str = $phase;
        }
    )+};
}

parts! {
    OwnPostgres of PROVISIONING_INFRASTRUCTURE;
    OwnPostgresNetwork of PROVISIONING_INFRASTRUCTURE;
    Deployment of PROVISION_DEPLOYMENT;
    DeploymentName of PROVISION_DEPLOYMENT;
    Database of SETUP_DATABASE;
    LoadBalancer of DEPLOY_INGRESS_CONTROLLER;
    History of SETUP_OBSERVABILITY;
}

/// A tenant's own Postgres instance, which only an enterprise tenant has; the data of any other is on its region's server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnPostgres {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Its administrator.
    pub admin_user: String,
    /// Where their password is.
    pub admin_password: SecretRef,
    /// The database that they log in to.
    pub admin_database: String,
}

impl OwnPostgres {
    /// The tenant's, if it has one.
    pub fn of(earlier: &Checkpoints) -> Result<Option<Self>> {
        earlier.read()
    }
}

/// How a tenant's own Postgres instance is reached.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct OwnPostgresNetwork {
    /// Port.
    pub port: u16,
    /// Of the subnet that it is in: its host is a name, and its address may change within that.
    pub cidrs: Vec<String>,
}

/// A tenant's own tenant-api.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Deployment {
    /// How the control plane reaches it, ready or not.
    pub endpoint: String,
}

/// The Deployment of a tenant's own tenant-api.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DeploymentName {
    /// Its name in the tenant's namespace.
    pub deployment: String,
}

/// The tenant's database is there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Database {}

/// The load balancer of the tenant's ingress controller.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LoadBalancer {
    /// Its IP address.
    pub address: String,
}

/// A tenant's logs and traces.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct History {
    /// What stays when the tenant goes, and for how long.
    pub kept: Vec<Retention>,
}
