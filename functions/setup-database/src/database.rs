//! What is asked of the tenant-api, and what is seen of the database from here.

use engine::phase::{Result, Scope, Step};
use model::Namespace;
use serde_json::{Value, json};
use tenant_api_client::{Access, Dropped, Initialize, Initialized, Server, check};

use crate::{Plan, SetupDatabase};

impl SetupDatabase {
    pub(crate) async fn initialize(&self, plan: &Plan, step: &Step) -> Result<Initialized> {
        let credentials = match &plan.namespace {
            Some(namespace) => Some(self.credentials(plan, namespace).await?),
            None => None,
        };
        let owner = step.owner();
        let what = Initialize {
            tenant: owner.tenant_id,
            run: owner.run_id,
            place: &plan.place,
            password: credentials.as_ref().map(|credentials| &credentials.password),
            connection_limit: plan.connection_limit,
        };
        let asked = plan.instance.as_ref().unwrap_or(&plan.server);
        self.tenant_api.initialize(&self.access(asked, step).await?, what).await
    }

    /// Stands in for the Job where no container runs.
    pub(crate) async fn check_directly(&self, plan: &Plan, namespace: &Namespace) -> Result<Value> {
        // Read anew: what is checked is what the tenant's services will read.
        let found = check(&self.credentials(plan, namespace).await?).await?;
        Ok(json!({ "simulated": "connected directly: the nodes are simulated", "found": found }))
    }

    async fn access(&self, server: &Server, step: &Step) -> Result<Access> {
        let server = server.as_now(step);
        let internal_secret = server.presented(self.cluster.resolve(&server.internal_secret).await?);
        Ok(server.with(internal_secret, self.cluster.resolve(&server.admin.password).await?))
    }

    pub(crate) async fn drop(&self, plan: &Plan, step: &Step) -> Result<Dropped> {
        let owner = step.owner();
        let only_if_run = match owner.scope {
            Scope::Run => Some(owner.run_id),
            Scope::Tenant => None,
        };
        let access = self.access(&plan.server, step).await?;
        match self.tenant_api.drop(&access, owner.tenant_id, &plan.place, only_if_run).await {
            // Everything is owned through the role: when that is somebody else's, nothing here is the tenant's.
            Err(error) if error.code == "foreign_role" => {
                Ok(Dropped { kept: Some(error.message), ..Dropped::default() })
            }
            dropped => dropped,
        }
    }
}
