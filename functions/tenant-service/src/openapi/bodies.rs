//! The bodies that are read field by field, so that everything wrong with them is said at once, and the body of a problem.

#![expect(dead_code, reason = "these say how something looks that is read or made elsewhere")]

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::lists::{DeploymentType, Isolation, OnFailure, SecretReference, Tier};

/// RFC 9457.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Problem {
    /// urn:tenantry:problem:<code>
    r#type: String,
    /// The same for every problem of this code.
    title: String,
    status: i64,
    /// Stable, in snake case.
    code: String,
    /// What was wrong with this request.
    detail: String,
    /// What the caller can do.
    #[schema(nullable = false)]
    next_action: Option<String>,
    /// Every field or parameter that is wrong.
    #[schema(nullable = false)]
    errors: Option<Vec<FieldError>>,
    /// Of stale_seq: the run's seq now.
    #[schema(nullable = false)]
    current_seq: Option<i64>,
    /// Of request_pending: the verb that has not taken effect yet.
    #[schema(nullable = false)]
    pending: Option<String>,
    /// Of slug_taken: when the slug is free again.
    #[schema(nullable = false)]
    free_at: Option<DateTime<Utc>>,
    /// Of slug_taken: the path of the tenant that has it.
    #[schema(nullable = false)]
    tenant: Option<String>,
    /// Of region_has_tenants: how many.
    #[schema(nullable = false)]
    tenants: Option<i64>,
    /// Of domain_not_verified: the record that is looked for.
    #[schema(nullable = false, value_type = Option<crate::challenge::Record>)]
    challenge: Option<Value>,
    /// Of domain_not_verified: what is there instead.
    #[schema(nullable = false)]
    found: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct FieldError {
    /// Its name, with dots into objects: `alerting.email`.
    field: String,
    /// Stable, in snake case.
    code: String,
    /// For people.
    message: String,
}

/// Nothing is said.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmptyBody {}

/// A tenant that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewTenant {
    /// A DNS label of 3 to 30 characters that begins with a letter; not shaped like a UUID and not reserved (api, bi, www, admin,
    /// mail, default, system, ns*, kube-*). The name that comes of it is not a region's domain, nor above one (reserved_slug in
    /// errors).
    #[schema(min_length = 3, max_length = 30, pattern = "^[a-z]([a-z0-9-]*[a-z0-9])$")]
    slug: String,
    #[schema(min_length = 1, max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    name: String,
    /// Required, unless planType is given.
    #[schema(value_type = Option<Tier>)]
    tier: Value,
    /// A synonym of tier; must not contradict it.
    #[schema(value_type = Option<Tier>)]
    plan_type: Value,
    /// Key of a region of the platform.
    region: String,
    #[schema(format = Email, max_length = 254)]
    admin_email: String,
    /// A domain of the tenant's own, not within the platform's.
    #[schema(format = Hostname, max_length = 253)]
    domain: Option<String>,
    /// Default false.
    compliance_required: Option<bool>,
    /// Default 0.
    #[schema(minimum = 0)]
    member_count: Option<i64>,
    /// Default 0.
    #[schema(minimum = 0)]
    monthly_api_calls: Option<i64>,
    /// Left out, the platform's rules decide. An explicit shared that they forbid is refused.
    #[schema(value_type = Option<DeploymentType>)]
    deployment_type: Value,
    /// Default true with container_per_tenant; must not be true with shared.
    has_dedicated_database: Option<bool>,
    #[schema(min_length = 1, max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    cost_center: Option<String>,
    alerting: Option<Alerting>,
    /// What a spent budget leads to; default rollback.
    #[schema(value_type = Option<OnFailure>)]
    on_failure: Value,
}

/// Where a tenant's alerts go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Alerting {
    #[schema(format = Email)]
    email: Option<String>,
    /// Where the webhook's URL is kept: env:NAME, file:PATH or k8s:namespace/name#key. Never the URL itself. Which references a
    /// tenant may name is the platform's decision.
    slack_webhook_ref: Option<String>,
}

/// A domain that is claimed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDomain {
    /// Not within the platform's own.
    #[schema(max_length = 253)]
    domain: String,
}

/// A merge patch of an instance: at least one of both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploymentChange {
    /// An image with its tag or digest; null: the platform's.
    #[schema(max_length = 512)]
    image: Option<String>,
    /// A size of the platform's table; null: that of the tenant's tier.
    size: Option<String>,
}

/// A region that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRegion {
    #[schema(pattern = "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")]
    key: String,
    /// The region's pooled tenant-api; http or https, without user, query and fragment.
    tenant_api_url: String,
    /// A reference to the header secret of the tenant-api's internal interface.
    #[schema(value_type = SecretReference)]
    internal_secret: Value,
    database: NewRegionDatabase,
    /// Networks that the tenants' pods may reach their database at.
    #[schema(default = json!([]))]
    database_cidrs: Option<Vec<String>>,
    /// A reference to a kubeconfig of the region's cluster; none: the cluster of the processes themselves.
    #[schema(value_type = Option<SecretReference>)]
    cluster: Value,
    /// Parent of its tenants' names, and the DNS zone that delegates to theirs; none: the platform's.
    domain: Option<String>,
    /// dedicated: every tenant has compute of its own.
    #[schema(value_type = Option<Isolation>, default = "shared")]
    isolation: Value,
    /// false: no new tenants; those that are there live on.
    #[schema(default = true)]
    accepts_tenants: Option<bool>,
    /// Where its tenants' own instances have their background jobs; none: they have none.
    jobs: Option<NewRegionJobs>,
}

/// The Postgres server of a region.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewRegionDatabase {
    host: String,
    #[schema(minimum = 1, maximum = 65535)]
    port: u16,
    /// Holds the schemas of tenants without a database of their own.
    #[schema(pattern = "^[A-Za-z_][A-Za-z0-9_-]{0,62}$")]
    shared_database: String,
    /// A role that may create databases and roles.
    #[schema(pattern = "^[A-Za-z_][A-Za-z0-9_-]{0,62}$")]
    admin_user: String,
    /// A reference to its password.
    #[schema(value_type = SecretReference)]
    admin_password: Value,
}

/// The broker of a region's background jobs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRegionJobs {
    /// A reference to the management API's address with an administrator's login.
    #[schema(value_type = SecretReference)]
    management: Value,
    #[schema(default = "tenant-jobs", min_length = 1, max_length = 253)]
    vhost: Option<String>,
    host: String,
    #[schema(minimum = 1, maximum = 65535)]
    port: u16,
    #[schema(default = false)]
    tls: Option<bool>,
    #[schema(default = json!([]))]
    cidrs: Option<Vec<String>>,
}

/// The broker of a region's background jobs.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RegionJobs {
    /// A reference to the management API's address with an administrator's login.
    #[schema(value_type = SecretReference)]
    management: Value,
    vhost: String,
    host: String,
    #[schema(minimum = 1, maximum = 65535)]
    port: u16,
    tls: bool,
    cidrs: Vec<String>,
}

/// A merge patch of a region.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegionChange {
    /// The region's pooled tenant-api; http or https, without user, query and fragment.
    #[schema(required = false)]
    tenant_api_url: String,
    /// A reference to the header secret of the tenant-api's internal interface.
    #[schema(value_type = SecretReference, required = false)]
    internal_secret: Value,
    #[schema(required = false)]
    database: RegionDatabaseChange,
    /// Networks that the tenants' pods may reach their database at.
    database_cidrs: Option<Vec<String>>,
    /// A reference to a kubeconfig of the region's cluster; null: the cluster of the processes themselves.
    #[schema(value_type = Option<SecretReference>)]
    cluster: Value,
    /// Parent of its tenants' names, and the DNS zone that delegates to theirs; null: the platform's.
    domain: Option<String>,
    /// dedicated: every tenant has compute of its own; null: shared.
    #[schema(value_type = Option<Isolation>, default = "shared")]
    isolation: Value,
    /// false: no new tenants; those that are there live on; null: true.
    #[schema(default = true)]
    accepts_tenants: Option<bool>,
    /// Where its tenants' own instances have their background jobs; null: they have none.
    jobs: Option<RegionJobsChange>,
}

/// A merge patch of a region's Postgres server.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RegionDatabaseChange {
    #[schema(required = false)]
    host: String,
    #[schema(minimum = 1, maximum = 65535, required = false)]
    port: u16,
    /// Holds the schemas of tenants without a database of their own.
    #[schema(pattern = "^[A-Za-z_][A-Za-z0-9_-]{0,62}$", required = false)]
    shared_database: String,
    /// A role that may create databases and roles.
    #[schema(pattern = "^[A-Za-z_][A-Za-z0-9_-]{0,62}$", required = false)]
    admin_user: String,
    /// A reference to its password.
    #[schema(value_type = SecretReference, required = false)]
    admin_password: Value,
}

/// A merge patch of a region's broker.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RegionJobsChange {
    /// A reference to the management API's address with an administrator's login.
    #[schema(value_type = SecretReference, required = false)]
    management: Value,
    #[schema(default = "tenant-jobs", min_length = 1, max_length = 253)]
    vhost: Option<String>,
    #[schema(required = false)]
    host: String,
    #[schema(minimum = 1, maximum = 65535, required = false)]
    port: u16,
    #[schema(default = false)]
    tls: Option<bool>,
    #[schema(default = json!([]))]
    cidrs: Option<Vec<String>>,
}
