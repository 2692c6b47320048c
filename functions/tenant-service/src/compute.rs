//! The tenants' cluster, as this service may read it.

use std::sync::Arc;
use std::time::Duration;

use cluster::certificate::{Backoff, Issuance};
use cluster::{Cluster, Happened, Observed};
use engine::phase::Error;
use model::platform::Platform;
use tokio::sync::OnceCell;

/// The longest that the cluster is waited for: the answer is not worth more, and what is recorded is known without it.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Events that are shown.
const EVENTS: usize = 20;

/// A connection to the process's own cluster, made when it is first asked for: this service can do nearly everything without.
/// A region's cluster is connected to for each look, which people take now and then.
/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Compute(Arc<OnceCell<Cluster>>);

/// What the cluster says.
#[derive(Clone, Debug)]
pub enum Seen {
    /// The Deployment, if it is there, and what happened to it.
    There(Option<Observed>, Vec<Happened>),
    /// It does not answer, and why.
    Unreachable(String),
}

impl Compute {
    /// By this connection.
    pub fn of(cluster: Cluster) -> Self {
        Self(Arc::new(OnceCell::new_with(Some(cluster))))
    }

    /// A Deployment in the cluster that `place` is seen in, and the newest of what happened to it.
    pub async fn look(&self, place: &Platform, namespace: &str, name: &str) -> Seen {
        let asked = async {
            let cluster = self.at(place).await?;
            let (seen, events) =
                tokio::join!(cluster.observe(namespace, name), cluster.happened(namespace, name, EVENTS));
            Ok::<_, Error>(Seen::There(seen?, events?))
        };
        bounded(asked).await.unwrap_or_else(Seen::Unreachable)
    }

    /// How far a Certificate is in the cluster that `place` is seen in, and why no further; none when it is not there. Fails when the cluster does not answer,
    /// saying why.
    pub async fn certificate(
        &self,
        place: &Platform,
        namespace: &str,
        name: &str,
    ) -> Result<Option<(Issuance, Option<String>)>, String> {
        let rules = &place.certificates;
        let backoff = Backoff { first: rules.backoff.0, cap: rules.backoff_cap.0 };
        bounded(async { self.at(place).await?.certificate_now(namespace, name, backoff).await }).await
    }

    async fn at(&self, place: &Platform) -> Result<Cluster, Error> {
        if place.cluster.is_some() {
            return Cluster::of(place).await;
        }
        self.0.get_or_try_init(Cluster::connect).await.cloned()
    }
}

async fn bounded<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    let why = match tokio::time::timeout(ANSWER_WITHIN, Box::pin(asked)).await {
        Ok(Ok(seen)) => return Ok(seen),
        Ok(Err(error)) => error.message,
        Err(_) => format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
    };
    tracing::warn!(why, "the tenants' cluster cannot be read");
    Err(why)
}
