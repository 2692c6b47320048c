//! The kind itself, as much of it as is read and written here.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use kube::core::{NamespaceResourceScope, ObjectMeta, Resource};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const API_VERSION: &str = "cert-manager.io/v1";
const KIND: &str = "Certificate";

/// A `cert-manager.io/v1` Certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    api_version: String,
    kind: String,
    /// Name, namespace, labels.
    pub metadata: ObjectMeta,
    /// What is wanted, by cert-manager's reference.
    pub spec: Value,
    /// What cert-manager says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// What cert-manager says of a Certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// By type.
    pub conditions: Vec<Condition>,
    /// When what the Secret holds ends.
    pub not_after: Option<DateTime<Utc>>,
    /// When the last attempt failed; none when it did not.
    pub last_failure_time: Option<DateTime<Utc>>,
    /// Failed attempts in a row.
    pub failed_issuance_attempts: Option<u32>,
}

/// One condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Such as `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    pub reason: Option<String>,
    /// A sentence.
    pub message: Option<String>,
    /// Of which generation it is said.
    pub observed_generation: Option<i64>,
}

impl Certificate {
    /// One that is wanted.
    pub fn new(metadata: ObjectMeta, spec: Value) -> Self {
        Self { api_version: API_VERSION.into(), kind: KIND.into(), metadata, spec, status: None }
    }
}

impl Resource for Certificate {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "cert-manager.io".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "certificates".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
