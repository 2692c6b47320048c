//! What an enterprise tenant's own infrastructure is made of, and who makes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Seconds;
use crate::secret::SecretRef;

/// How the infrastructure of enterprise tenants is made: by OpenTofu, from one module, detached from the phase. A platform
/// without it makes no enterprise tenants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Infrastructure {
    /// The folder of the module, as the one who runs it finds it. `infra/terraform` has two.
    pub module: String,
    /// The program `tofu`: a path, or a name to look for.
    #[serde(default = "tofu")]
    pub program: String,
    /// Where the address of the state's database is: `postgres://user:password@host/database`. A database of its own, and no
    /// transaction pooler: locks are held by sessions.
    pub state_database: SecretRef,
    /// Where the passphrase is that the state is encrypted with; 16 characters at least.
    pub state_key: SecretRef,
    /// The administrator of the tenants' instances.
    #[serde(default = "admin_user")]
    pub admin_user: String,
    /// Seconds that one run of it may take. The slowest thing of the Azure module is the server: 5 to 15 minutes.
    #[serde(default = "deadline")]
    pub deadline: Seconds,
    /// Variables of the module, beside `tenant_id`, `admin_user` and `admin_password`, which it is always given.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// More of them by region; they go before the others.
    #[serde(default)]
    pub region_variables: BTreeMap<String, BTreeMap<String, String>>,
    /// Runs it as a process under a supervisord on this machine.
    #[serde(default)]
    pub supervised: Option<Supervised>,
    /// Runs it as a Kubernetes Job in the control plane's namespace.
    #[serde(default)]
    pub job: Option<TerraformJob>,
}

/// A supervisord to run it under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supervised {
    /// Its socket.
    pub socket: String,
    /// A folder of ours, whose `programs/*.conf` it includes.
    pub folder: String,
    /// The program `run-terraform`.
    pub program: String,
}

/// The Job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerraformJob {
    /// An image with `run-terraform`, `tofu`, the module and its providers.
    pub image: String,
    /// The account that it runs as, which the cloud knows.
    pub service_account: String,
    /// Labels of its pods, such as those that a cloud's workload identity asks for.
    #[serde(default)]
    pub pod_labels: BTreeMap<String, String>,
    /// More of its environment, none of it secret: which subscription or account of a cloud it works in.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

fn tofu() -> String {
    "tofu".into()
}

fn admin_user() -> String {
    "tenantry_admin".into()
}

fn deadline() -> Seconds {
    Seconds(2700.0)
}

impl Infrastructure {
    /// Checks what types cannot: the key that is wrong, and why.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |key: &str, why: &str| Err((key.to_owned(), why.to_owned()));
        if self.module.is_empty() {
            return wrong("module", "is empty; set it to the folder of the module");
        }
        if self.admin_user.is_empty() {
            return wrong("admin_user", "is empty");
        }
        if !(self.deadline.0.is_finite() && self.deadline.0 >= 1.0) {
            return wrong("deadline", "must be a number of seconds, at least 1");
        }
        match (&self.supervised, &self.job) {
            (None, Some(job)) if job.image.is_empty() => wrong("job.image", "is empty"),
            (Some(_), None) | (None, Some(_)) => Ok(()),
            (None, None) => wrong("job", "is missing: set infrastructure.job or infrastructure.supervised"),
            (Some(_), Some(_)) => {
                wrong("job", "cannot go with infrastructure.supervised: one of both runs it")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_both_runs_it_and_a_wrong_value_names_its_key() {
        let read = |text: &str| {
            let base = "module = '/m'\nstate_database = 'env:A'\nstate_key = 'env:B'\n";
            toml::from_str::<Infrastructure>(&format!("{base}{text}"))
                .unwrap()
                .check()
                .map_err(|wrong| wrong.0)
        };
        let supervised = "[supervised]\nsocket = '/s'\nfolder = '/f'\nprogram = '/p'\n";
        let job = "[job]\nimage = 'i'\nservice_account = 's'\n";
        assert_eq!(read(supervised), Ok(()));
        assert_eq!(read(job), Ok(()));
        assert_eq!(read(""), Err("job".into()));
        assert_eq!(read(&format!("{supervised}{job}")), Err("job".into()));
        assert_eq!(read(&format!("deadline = 0\n{job}")), Err("deadline".into()));
        assert_eq!(read(&job.replace("'i'", "''")), Err("job.image".into()));
    }
}
