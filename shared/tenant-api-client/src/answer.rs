//! What the tenant-api answers. Fields that are not known here are passed over: a newer tenant-api may say more.

use model::RunId;
use serde::{Deserialize, Serialize};

/// What is there after an initialisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Initialized {
    /// What of it this call made.
    pub created: Created,
    /// The run that made the role, and with it everything else.
    pub created_by_run: RunId,
    /// Every migration, in order.
    pub migrations: Vec<Migration>,
    /// Starting rows that this call added.
    pub seeded: Seeded,
    /// Databases of the server that everybody may connect to and the administrator cannot close.
    #[serde(default)]
    pub unprotected: Vec<String>,
}

/// What a call made, or dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// The login role.
    pub role: bool,
    /// The database.
    pub database: bool,
    /// The schema.
    pub schema: bool,
}

/// One versioned file of migrations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// What it is for.
    pub description: String,
    /// Whether it was this call that ran it.
    pub applied: bool,
}

/// Rows that a call added, by table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seeded {
    /// Default dashboard templates.
    pub dashboard_templates: u64,
    /// System roles.
    pub system_roles: u64,
    /// Settings.
    pub configuration: u64,
}

/// What a drop took away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// What of it this call dropped; nothing when it was gone already.
    pub dropped: Created,
    /// Why something was left as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// Something of a tenant's that a Postgres server holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Item {
    /// `role`, `database` or `schema`.
    pub kind: String,
    /// Its name.
    pub name: String,
}
