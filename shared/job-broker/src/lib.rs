//! The broker of the tenants' background jobs: one RabbitMQ user for each tenant's own instance, over the management API.
//!
//! A user is `tenant-<id>` and may configure, write and read only what is named `jobs.<id>.…`: not the default exchange, by
//! which any queue could be written to. Whose it is, is told by a tag, and by which run it was made, by another: a user of that
//! name without the tag is somebody else's. Only the hash of a password is ever sent.

mod calls;
mod password;

use engine::phase::{Error, Owner, Result, Step};
use model::platform::{Platform, Region};
use model::secret::{Secret, SecretRef};
use model::{RunId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use calls::Calls;

/// Before the tenant's id in the tag that ownership is read from.
const TENANT_TAG: &str = "tenantry-tenant-";
/// Before the run's id in the tag beside it.
const RUN_TAG: &str = "tenantry-run-";

/// Where a region's tenants have their jobs: what a plan stores. Holds a reference to a secret, never a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Where the management API's address is, with an administrator's login: `http://user:password@host:port`.
    pub management: SecretRef,
    /// The vhost of all the tenants' jobs.
    pub vhost: String,
}

impl Site {
    /// Of a region; none where its tenants have no jobs.
    pub fn of(platform: &Platform, region: &str) -> Option<Self> {
        let jobs = platform.regions.get(region).and_then(|region: &Region| region.jobs.as_ref())?;
        Some(Self { management: jobs.management.clone(), vhost: jobs.vhost.clone() })
    }

    /// The same vhost, administered as the step's region says now: the reference changes while a plan is kept. A region that
    /// has another vhost, or none, does not count.
    #[must_use]
    pub fn as_now(&self, step: &Step) -> Self {
        let now = step.region().and_then(|region| region.jobs.as_ref());
        match now.filter(|jobs| jobs.vhost == self.vhost) {
            Some(jobs) => Self { management: jobs.management.clone(), ..self.clone() },
            None => self.clone(),
        }
    }
}

/// The name of a tenant's user.
pub fn user_of(tenant: TenantId) -> String {
    format!("tenant-{tenant}")
}

/// What the names of a tenant's queues and exchanges begin with.
pub fn prefix_of(tenant: TenantId) -> String {
    format!("jobs.{tenant}")
}

/// A user that is there, and ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserMade {
    /// Its name.
    pub user: String,
    /// The vhost that it may log in to.
    pub vhost: String,
    /// The run that made it.
    pub created_by: Option<RunId>,
}

/// The broker, as its administrator.
#[derive(Clone, Debug)]
pub struct JobBroker {
    calls: Calls,
    vhost: String,
}

impl JobBroker {
    /// By what [`Site::management`] holds. Sends nothing.
    pub fn connect(management: &Secret, vhost: &str) -> Result<Self> {
        Ok(Self { calls: Calls::new(management)?, vhost: vhost.to_owned() })
    }

    /// Makes sure that the tenant's user is there, logs in with this password, and may do with its own and nothing else. A
    /// second call changes nothing. A foreign user of that name is fatal and left as it is.
    pub async fn ensure_user(&self, owner: &Owner, password: &Secret) -> Result<UserMade> {
        let user = user_of(owner.tenant_id);
        if self.calls.get(&["vhosts", &self.vhost]).await?.is_none() {
            self.calls.put(&["vhosts", &self.vhost], &json!({})).await?;
        }
        let found = self.user(&user).await?;
        let created_by = match &found {
            Some(found) if !found.is_of(owner.tenant_id) => {
                return Err(Error::foreign(format!("RabbitMQ user {user}")));
            }
            Some(found) => found.run(),
            None => Some(owner.run_id),
        };
        if found.is_none_or(|found| !password::fits(&found.hash, password)) {
            let run = created_by.map(|run| format!(",{RUN_TAG}{run}")).unwrap_or_default();
            let body = json!({
                "password_hash": password::hash(password),
                "hashing_algorithm": password::ALGORITHM,
                "tags": format!("{TENANT_TAG}{}{run}", owner.tenant_id),
            });
            self.calls.put(&["users", &user], &body).await?;
        }
        let own = format!("^{}\\..*", prefix_of(owner.tenant_id).replace('.', "\\."));
        let rights = json!({ "configure": own, "write": own, "read": own });
        self.calls.put(&["permissions", &self.vhost, &user], &rights).await?;
        Ok(UserMade { user, vhost: self.vhost.clone(), created_by })
    }

    /// Makes sure that the tenant's user, its queues and its exchanges are gone, as far as the owner may; a foreign user, or
    /// one of another run in a rollback, is left with all it has. How many things went.
    pub async fn remove_user(&self, owner: &Owner) -> Result<usize> {
        let user = user_of(owner.tenant_id);
        let mut gone = 0;
        if let Some(found) = self.user(&user).await? {
            if !found.is_of(owner.tenant_id) || !owner.may_delete(found.run()) {
                tracing::info!(
                    user,
                    "the broker's user is left as it is: it is another's, or another run made it"
                );
                return Ok(0);
            }
            // First, so that nobody makes the queues again. The broker closes its connections.
            gone += usize::from(self.calls.delete(&["users", &user]).await?);
        }
        for (kind, name) in self.named(owner.tenant_id).await? {
            gone += usize::from(self.calls.delete(&[kind, &self.vhost, &name]).await?);
        }
        Ok(gone)
    }

    /// What is there of the tenant: kind and name of its user, by its tag, and of its queues and exchanges.
    pub async fn inventory(&self, tenant: TenantId) -> Result<Vec<(&'static str, String)>> {
        let user = user_of(tenant);
        let mut left = Vec::new();
        if self.user(&user).await?.is_some_and(|found| found.is_of(tenant)) {
            left.push(("user", user));
        }
        let named = self.named(tenant).await?.into_iter();
        left.extend(named.map(|(kind, name)| (kind.trim_end_matches('s'), name)));
        Ok(left)
    }

    async fn user(&self, name: &str) -> Result<Option<User>> {
        Ok(self.calls.get(&["users", name]).await?.map(|found| User::read(&found)))
    }

    /// Queues and exchanges with the tenant's prefix.
    async fn named(&self, tenant: TenantId) -> Result<Vec<(&'static str, String)>> {
        let prefix = format!("{}.", prefix_of(tenant));
        let mut found = Vec::new();
        for kind in ["queues", "exchanges"] {
            for name in self.calls.names(kind, &self.vhost, &prefix).await? {
                found.push((kind, name));
            }
        }
        Ok(found)
    }
}

/// What is read of a user.
struct User {
    tags: Vec<String>,
    hash: String,
}

impl User {
    fn read(found: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        // A list from 3.9 on, a text with commas before.
        let tags = match &found["tags"] {
            Value::Array(tags) => tags.iter().map(text).collect(),
            tags => text(tags).split(',').map(|tag| tag.trim().to_owned()).collect(),
        };
        Self { tags, hash: text(&found["password_hash"]) }
    }

    fn is_of(&self, tenant: TenantId) -> bool {
        self.tags.iter().any(|tag| *tag == format!("{TENANT_TAG}{tenant}"))
    }

    fn run(&self) -> Option<RunId> {
        self.tags.iter().find_map(|tag| tag.strip_prefix(RUN_TAG)?.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_owner_and_run_are_read_from_its_tags_in_either_form() {
        let (tenant, run) = (TenantId::generate(), RunId::generate());
        let tags = [format!("{TENANT_TAG}{tenant}"), format!("{RUN_TAG}{run}")];
        for form in [json!(tags), json!(tags.join(",")), json!(tags.join(", "))] {
            let user = User::read(&json!({ "tags": form, "password_hash": "x" }));
            assert!(user.is_of(tenant) && !user.is_of(TenantId::generate()));
            assert_eq!(user.run(), Some(run));
        }
        let foreign = User::read(&json!({ "tags": ["administrator"] }));
        assert!(!foreign.is_of(tenant) && foreign.run().is_none());
    }
}
