//! The tenant's credentials: in the Secret, and nowhere else.

use cluster::Owned;
use engine::phase::{Error, Result};
use model::Namespace;
use tenant_api_client::Credentials;

use crate::{Plan, SecretMade, SetupDatabase, objects};

impl SetupDatabase {
    /// Makes sure that the Secret is there. One of the tenant's that is there already is kept with its password.
    pub(crate) async fn keep_credentials(
        &self,
        plan: &Plan,
        namespace: &Namespace,
        cluster: &Owned,
    ) -> Result<SecretMade> {
        let admin = &plan.server.admin;
        let fresh = Credentials::new(&plan.place, &admin.host, admin.port, objects::password());
        let kept = cluster.ensure_kept(&objects::secret(plan, namespace, &fresh)).await?;
        self.credentials(plan, namespace).await?;
        Ok(SecretMade { name: plan.secret.clone(), uid: kept.uid, created_by: kept.created_by })
    }

    /// The Secret's own values, which hold from the moment that it is there.
    pub(crate) async fn credentials(&self, plan: &Plan, namespace: &Namespace) -> Result<Credentials> {
        let name = format!("Secret {namespace}/{}", plan.secret);
        let Some(mut values) = self.cluster.read_secret(namespace.as_str(), &plan.secret).await? else {
            return Err(Error::retryable("secret_missing", format!("{name} is not there"))
                .next("It was removed by hand; retry makes a new one."));
        };
        let credentials = Credentials::read(&name, |key| values.remove(key))?;
        let (user, database) = (&credentials.user, &credentials.database);
        if (user, database) == (&plan.place.role, &plan.place.database) {
            return Ok(credentials);
        }
        let message = format!(
            "{name} is for role {user} in database {database}, not for {} in {}",
            plan.place.role, plan.place.database
        );
        Err(Error::fatal("credentials_mismatch", message)
            .next("Delete the Secret if nothing uses it, and start the tenant again: a new one is made."))
    }
}
