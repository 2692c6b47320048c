//! What a plan stores of the platform's settings.

use std::collections::BTreeMap;

use engine::phase::{Error, Result};
use model::Tenant;
use model::platform::{Platform, Seconds, Supervised, TerraformJob};
use model::secret::SecretRef;
use serde::{Deserialize, Serialize};

/// Where and how a tenant's infrastructure is made, so that an undo reaches the same after the platform file has changed.
/// Holds references to secrets, never a secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Site {
    /// The folder of the module.
    pub module: String,
    /// The program `tofu`.
    pub program: String,
    /// Where the address of the state's database is.
    pub state_database: SecretRef,
    /// Where the passphrase of the state is.
    pub state_key: SecretRef,
    /// Seconds that one run may take.
    pub deadline: Seconds,
    /// The module's variables, none of them secret.
    pub variables: BTreeMap<String, String>,
    /// The control plane's namespace.
    pub namespace: String,
    /// Runs it under a supervisord.
    pub supervised: Option<Supervised>,
    /// Runs it as a Job.
    pub job: Option<TerraformJob>,
}

impl Site {
    /// Of a tenant. Fatal `infrastructure_not_set` where the platform has no infrastructure.
    pub fn of(platform: &Platform, tenant: &Tenant) -> Result<Self> {
        let Some(settings) = &platform.infrastructure else {
            let message = "the platform file has no [infrastructure], which enterprise tenants need";
            return Err(Error::fatal("infrastructure_not_set", message)
                .next("Set [infrastructure] in the platform file, then start the tenant again."));
        };
        let own = settings.region_variables.get(&tenant.region).cloned().unwrap_or_default();
        let always = [
            ("tenant_id".to_owned(), tenant.id.to_string()),
            ("admin_user".to_owned(), settings.admin_user.clone()),
        ];
        Ok(Self {
            module: settings.module.clone(),
            program: settings.program.clone(),
            state_database: settings.state_database.clone(),
            state_key: settings.state_key.clone(),
            deadline: settings.deadline,
            variables: settings.variables.clone().into_iter().chain(own).chain(always).collect(),
            namespace: platform.control_plane_namespace.clone(),
            supervised: settings.supervised.clone(),
            job: settings.job.clone(),
        })
    }
}
