//! What tofu does for the phase, by whoever runs it, and when its end is the end.

use std::time::Duration;

use engine::phase::{Error, Progress, Result, Step};
use terraform::{Action, Detached, Outcome, Work, workspaces};

use crate::password::{self, PASSWORD, secret_target, version_of};
use crate::{Checkpoint, Plan, ProvisioningInfrastructure};

impl ProvisioningInfrastructure {
    /// Has tofu run, and waits for its end.
    pub(crate) async fn run(&self, plan: &Plan, step: &Step, action: Action) -> Result<Progress<Outcome>> {
        let id = match action {
            Action::Apply => format!("{}-apply", step.owner().run_id),
            Action::Destroy => format!("{}-destroy", step.owner().run_id),
        };
        let detached = Detached::of(&plan.site, &self.cluster, step.owner(), &plan.label_prefix)?;
        detached.advance(&plan.name, &id, self.work(plan, step, action, &id)).await
    }

    async fn work(&self, plan: &Plan, step: &Step, action: Action, id: &str) -> Result<Work> {
        let site = &plan.site;
        let known = self.cluster.read_secret(&site.namespace, &plan.secret).await?;
        let password = known.and_then(|mut values| values.remove(PASSWORD));
        let password = match (password, action) {
            (Some(password), _) => password,
            // The module asks for one, and a destroy does not look at it.
            (None, Action::Destroy) => password::password(),
            (None, Action::Apply) => {
                let message = format!("Secret {}/{} is not there", site.namespace, plan.secret);
                return Err(Error::retryable("secret_missing", message)
                    .next("It was removed by hand; retry makes a new one."));
            }
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, by its check")]
        let deadline = site.deadline.0 as u64;
        Ok(Work {
            id: id.to_owned(),
            tenant: step.owner().tenant_id,
            action,
            module: site.module.clone(),
            program: site.program.clone(),
            deadline,
            variables: site.variables.clone().into_iter().chain([version_of(&password)]).collect(),
            secrets: [("admin_password".to_owned(), password)].into(),
            state_database: self.cluster.resolve(&site.state_database).await?,
            state_key: self.cluster.resolve(&site.state_key).await?,
        })
    }

    /// Destroys what there is, if this step may, and waits for its end; whether it may.
    pub(crate) async fn destroy(
        &self,
        plan: &Plan,
        done: Option<&Checkpoint>,
        step: &Step,
    ) -> Result<Progress<bool>> {
        let owner = step.owner();
        let cluster = self.cluster.owned_by(owner, &plan.label_prefix);
        let created_by = match cluster.creator(&secret_target(plan)).await? {
            None => done.and_then(|done| done.created_by),
            some => some,
        };
        let detached = Detached::of(&plan.site, &self.cluster, owner, &plan.label_prefix)?;
        if !owner.may_delete(created_by) {
            // Nothing, or another run's; but an apply of this run may still be at work on it.
            return Ok(match detached.forget(&plan.name).await? {
                Progress::Done(()) => Progress::Done(false),
                Progress::Wait(wait) => Progress::Wait(wait),
            });
        }
        let state_database = self.cluster.resolve(&plan.site.state_database).await?;
        if !workspaces(&state_database, owner.tenant_id).await?.is_empty() {
            match self.run(plan, step, Action::Destroy).await? {
                Progress::Done(_) => {}
                Progress::Wait(wait) => return Ok(Progress::Wait(wait)),
            }
        }
        // An apply that has made no workspace yet may still be about to.
        if let Progress::Wait(wait) = detached.forget(&plan.name).await? {
            return Ok(Progress::Wait(wait));
        }
        if workspaces(&state_database, owner.tenant_id).await?.is_empty() {
            return Ok(Progress::Done(true));
        }
        Ok(Progress::wait(Duration::from_secs(1), format!("{} has made a workspace", plan.name)))
    }
}
