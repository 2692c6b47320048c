//! Whoever runs tofu for us, and how it is waited for.

use cluster::Cluster;
use engine::phase::{Error, Owner, Progress, Result};

use super::job::Jobs;
use super::outcome::{LOOK_AGAIN, Outcome, State};
use super::site::Site;
use super::supervised::Programs;
use super::work::Work;

/// Runs tofu beside us: a Job, or a process under a supervisord.
#[derive(Clone, Debug)]
pub struct Detached(Runner);

#[derive(Clone, Debug)]
enum Runner {
    Supervised(Programs),
    Job(Box<Jobs>),
}

impl Detached {
    /// As a plan says. The owner is who a Job and its Secret are labelled for.
    pub fn of(site: &Site, cluster: &Cluster, owner: &Owner, label_prefix: &str) -> Result<Self> {
        match (&site.supervised, &site.job) {
            (Some(settings), _) => Ok(Self(Runner::Supervised(Programs::new(settings)?))),
            (None, Some(settings)) => {
                let jobs = Jobs::new(cluster, owner, label_prefix, &site.namespace, settings, site.deadline);
                Ok(Self(Runner::Job(Box::new(jobs))))
            }
            (None, None) => Err(Error::fatal(
                "infrastructure_not_set",
                "neither infrastructure.job nor .supervised is set",
            )
            .next("Set one of them in the platform file, then retry.")),
        }
    }

    async fn look(&self, name: &str) -> Result<State> {
        match &self.0 {
            Runner::Supervised(programs) => programs.look(name).await,
            Runner::Job(jobs) => jobs.look(name).await,
        }
    }

    /// Brings the work `id` to its end, one look at a time: waits while anything runs under the name, whatever it is, and
    /// begins it only then. `work` is asked for it when it is to begin. A failed one is forgotten with its error, so that the
    /// next call begins it again; one that succeeded is known until another begins.
    pub async fn advance(
        &self,
        name: &str,
        id: &str,
        work: impl Future<Output = Result<Work>>,
    ) -> Result<Progress<Outcome>> {
        match self.look(name).await? {
            State::Running(progress) => {
                return Ok(Progress::wait(LOOK_AGAIN, format!("{name} ({progress})")));
            }
            State::Ended(outcome) if outcome.id == id => {
                let Some(failure) = &outcome.failure else {
                    // Known until another begins is what it made, not the secrets that it was given.
                    if let Runner::Job(jobs) = &self.0 {
                        jobs.forget_secret(name).await?.or_park()?;
                    }
                    return Ok(Progress::Done(*outcome));
                };
                self.forget(name).await?.or_park()?;
                return Err(failure.error(name));
            }
            State::Killed(killed) if killed == id => {
                self.forget(name).await?.or_park()?;
                return Err(Error::retryable("terraform_killed", format!("{name} was killed"))
                    .next("Nothing needs to be done: it is begun again and takes over what is there."));
            }
            State::Nothing | State::Killed(_) | State::Ended(_) => {}
        }
        // What ended under the name, and what it was given, goes before something else begins.
        self.forget(name).await?.or_park()?;
        let work = work.await?;
        work.check()?;
        match &self.0 {
            Runner::Supervised(programs) => programs.start(name, &work).await?,
            Runner::Job(jobs) => jobs.start(name, &work).await?,
        }
        Ok(Progress::wait(LOOK_AGAIN, format!("{name} (begins)")))
    }

    /// Waits until nothing runs under the name, and forgets what has.
    pub async fn forget(&self, name: &str) -> Result<Progress<()>> {
        match &self.0 {
            Runner::Supervised(programs) => programs.forget(name).await,
            Runner::Job(jobs) => jobs.forget(name).await,
        }
    }
}
