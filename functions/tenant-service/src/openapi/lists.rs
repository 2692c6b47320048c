//! The closed lists of names that answers and requests hold, and what they hand on from other crates and from the records of
//! runs.

#![expect(dead_code, reason = "these say how something looks that is made elsewhere")]

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use engine::decide::{run, verbs};
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Texts: of a list, or of a form.
macro_rules! texts {
    ($($(#[doc = $doc:literal])* $name:ident = $of:expr;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String);
                let of: fn(ObjectBuilder) -> ObjectBuilder = $of;
                RefOr::T(Schema::Object(of(text).description(Some(concat!($($doc),*).trim())).build()))
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )*};
}

texts! {
    /// What the tenant pays for.
    Tier = |text| text.enum_values(Some(model::Tier::NAMES.iter().copied()));
    /// Where a tenant's compute runs.
    DeploymentType = |text| text.enum_values(Some(model::DeploymentType::NAMES.iter().copied()));
    /// What a spent budget leads to.
    OnFailure = |text| text.enum_values(Some(model::OnFailure::NAMES.iter().copied()));
    /// How far a tenant is.
    TenantStatus = |text| text.enum_values(Some(model::TenantStatus::NAMES.iter().copied()));
    /// What a run is for.
    RunKind = |text| text.enum_values(Some(run::RunKind::NAMES.iter().copied()));
    /// How a run is.
    RunStatus = |text| text.enum_values(Some(run::RunStatus::NAMES.iter().copied()));
    /// Whether a run makes or takes back.
    Direction = |text| text.enum_values(Some(run::Direction::NAMES.iter().copied()));
    /// How a phase of a run is.
    PhaseState = |text| text.enum_values(Some(run::PhaseState::NAMES.iter().copied()));
    /// What an operator may ask for.
    Action = |text| text.enum_values(Some(verbs::Verb::NAMES.iter().copied()));
    /// dedicated: every tenant has compute of its own.
    Isolation = |text| text.enum_values(Some(["shared", "dedicated"]));
    /// An alias.
    Cname = |text| text.enum_values(Some(["CNAME"]));
    /// A text.
    Txt = |text| text.enum_values(Some(["TXT"]));
    /// file: of the platform file, and read only here.
    RegionSource = |text| text.enum_values(Some(["file", "api"]));
    /// Whether the cluster answered.
    Reachability = |text| text.enum_values(Some(["reachable", "unreachable"]));
    /// Where a secret is kept: env:NAME, file:/PATH or k8s:namespace/name#key. Never the secret itself.
    SecretReference = |text| text.pattern(Some("^(env:.+|file:/.+|k8s:.+/.+#.+)$"));
}

/// An error of a run, as it is recorded.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Error {
    /// Stable, in snake case.
    code: String,
    /// For people.
    message: String,
    /// What an operator can do.
    next_action: String,
    /// retryable, fatal, unavailable, lost or paused.
    kind: String,
}

/// One step of a phase, as it is recorded.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    name: String,
    #[schema(inline)]
    state: OperationState,
    started_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    finished_at: Option<DateTime<Utc>>,
    /// What it came to.
    #[serde(skip_serializing_if = "Value::is_null")]
    #[schema(required = false)]
    result: Value,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum OperationState {
    Running,
    Done,
    Waiting,
    Failed,
}

/// How many replicas the cluster counts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replicas {
    /// Wanted.
    desired: i32,
    /// Of the newest template.
    updated: i32,
    /// Ready.
    ready: i32,
    /// Ready for long enough.
    available: i32,
}

/// What the cluster has noted of an object.
#[derive(Debug, Serialize, ToSchema)]
pub struct Event {
    /// When it last happened.
    #[schema(required)]
    at: Option<DateTime<Utc>>,
    /// `Normal` or `Warning`.
    r#type: String,
    /// One word.
    reason: String,
    /// For people.
    message: String,
    /// Kind and name of the object.
    object: String,
    /// How often.
    count: i32,
}

/// How safe a commit is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Durability {
    /// Commits reach the disk.
    fsync: bool,
    /// Commits wait for it.
    synchronous_commit: bool,
    /// Commits wait for a standby too.
    standby: bool,
}
