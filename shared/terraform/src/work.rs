//! What is handed over to be run detached.

use std::collections::BTreeMap;

use engine::phase::{Error, Result};
use model::TenantId;
use model::secret::Secret;
use serde::{Deserialize, Serialize};

/// Shortest passphrase that OpenTofu takes.
const KEY_LENGTH: usize = 16;

/// The name of whatever runs a tenant's tofu: the lock that keeps two of them apart.
pub fn name_of(tenant: TenantId) -> String {
    format!("tf-{tenant}")
}

/// A tenant's workspace.
pub fn workspace_of(tenant: TenantId) -> String {
    format!("tenant-{tenant}")
}

/// What tofu is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Make what the module says.
    Apply,
    /// Take it away, and the workspace with it.
    Destroy,
}

/// One run of tofu, with its secrets. Has no `Serialize`: [`Work::to_text`] gives it away as one secret.
#[derive(Clone, Debug)]
pub struct Work {
    /// Told apart by this from what ran under the same name before.
    pub id: String,
    /// Whose.
    pub tenant: TenantId,
    /// What.
    pub action: Action,
    /// The folder of the module.
    pub module: String,
    /// The program `tofu`.
    pub program: String,
    /// Seconds that it may take.
    pub deadline: u64,
    /// Variables that are no secret.
    pub variables: BTreeMap<String, String>,
    /// Variables that are.
    pub secrets: BTreeMap<String, Secret>,
    /// Address of the state's database.
    pub state_database: Secret,
    /// Passphrase of the state.
    pub state_key: Secret,
}

#[derive(Serialize, Deserialize)]
struct Text {
    id: String,
    tenant: TenantId,
    action: Action,
    module: String,
    program: String,
    deadline: u64,
    variables: BTreeMap<String, String>,
    secrets: BTreeMap<String, String>,
    state_database: String,
    state_key: String,
}

impl Work {
    /// Refuses a passphrase that tofu would refuse, naming the setting.
    pub fn check(&self) -> Result<()> {
        if self.state_key.expose().len() < KEY_LENGTH {
            let message = format!("infrastructure.state_key has less than {KEY_LENGTH} characters");
            return Err(Error::fatal("infrastructure_key", message)
                .next("Give it a longer passphrase (`openssl rand -hex 32`), then retry."));
        }
        Ok(())
    }

    /// All of it, for the private file that [`Work::parse`] reads.
    pub fn to_text(&self) -> Secret {
        let plain = |secret: &Secret| secret.expose().to_owned();
        let text = Text {
            id: self.id.clone(),
            tenant: self.tenant,
            action: self.action,
            module: self.module.clone(),
            program: self.program.clone(),
            deadline: self.deadline,
            variables: self.variables.clone(),
            secrets: self.secrets.iter().map(|(name, secret)| (name.clone(), plain(secret))).collect(),
            state_database: plain(&self.state_database),
            state_key: plain(&self.state_key),
        };
        // Texts and numbers only, which always serialise.
        Secret::new(serde_json::to_string(&text).unwrap_or_default())
    }

    /// Reads it back; none when that is no such text.
    pub fn parse(text: &Secret) -> Option<Self> {
        let text: Text = serde_json::from_str(text.expose()).ok()?;
        Some(Self {
            id: text.id,
            tenant: text.tenant,
            action: text.action,
            module: text.module,
            program: text.program,
            deadline: text.deadline,
            variables: text.variables,
            secrets: text.secrets.into_iter().map(|(name, secret)| (name, Secret::new(secret))).collect(),
            state_database: Secret::new(text.state_database),
            state_key: Secret::new(text.state_key),
        })
    }

    /// A text of others without any of our secrets in it.
    pub(super) fn redacted(&self, text: &str) -> String {
        let secrets = self.secrets.values().chain([&self.state_database, &self.state_key]);
        secrets.filter(|secret| !secret.expose().is_empty()).fold(text.to_owned(), |text, secret| {
            if text.contains(secret.expose()) { text.replace(secret.expose(), "***") } else { text }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_as_it_was_written_and_shows_no_secret() {
        let work = Work {
            id: "a-apply".into(),
            tenant: "550e8400-e29b-41d4-a716-446655440000".parse().unwrap(),
            action: Action::Apply,
            module: "/m".into(),
            program: "tofu".into(),
            deadline: 5,
            variables: [("a".to_owned(), "b".to_owned())].into(),
            secrets: [("admin_password".to_owned(), Secret::new("hunter2"))].into(),
            state_database: Secret::new("postgres://u:geheim@h/d"),
            state_key: Secret::new("0123456789abcdef"),
        };
        let again = Work::parse(&work.to_text()).unwrap();
        assert_eq!(again.to_text().expose(), work.to_text().expose());
        assert_eq!(again.redacted("x hunter2 postgres://u:geheim@h/d y"), "x *** *** y");
        assert!(!format!("{work:?}").contains("hunter2"));
        assert!(work.check().is_ok());
        let short = Work { state_key: Secret::new("0123456789abcde"), ..work };
        let error = short.check().unwrap_err();
        assert!(error.code == "infrastructure_key" && error.message.contains("infrastructure.state_key"));
    }
}
