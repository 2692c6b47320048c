//! What every request can reach.

use std::sync::Arc;

use axum::extract::FromRef;
use cluster::Cluster;
use model::platform::Platform;
use tenants::Regions;
use tenants::Store;

use crate::auth::Tokens;
use crate::challenge::ChallengeResolver;
use crate::compute::Compute;
use crate::history::History;
use crate::measure::Measures;
use crate::problem::{self, Failure};

/// What every request can reach. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    /// The control plane's database.
    pub store: Store,
    /// The platform's configuration, as its file has it.
    pub platform: Arc<Platform>,
    /// The same with all its regions.
    pub regions: Regions,
    /// How long phases typically take.
    pub history: History,
    /// Counts and times of requests.
    pub measures: Measures,
    /// The tenants' cluster.
    pub compute: Compute,
    /// The DNS, where domains are shown to be a tenant's.
    pub challenges: ChallengeResolver,
    /// Who may call.
    pub(crate) tokens: Tokens,
}

impl App {
    /// Resolves the platform's tokens. Fails in words that name what is wrong.
    pub fn new(store: Store, platform: Platform) -> Result<Self, String> {
        let tokens = Tokens::of(&platform)?;
        let challenges = ChallengeResolver::new(&platform.domains)?;
        let platform = Arc::new(platform);
        Ok(Self {
            regions: Regions::new(store.clone(), platform.clone()),
            store,
            platform,
            history: History::default(),
            measures: Measures::default(),
            compute: Compute::default(),
            challenges,
            tokens,
        })
    }

    /// The same, reading the tenants' cluster by this connection instead of the environment's.
    #[must_use]
    pub fn reading(self, cluster: Cluster) -> Self {
        Self { compute: Compute::of(cluster), ..self }
    }

    /// The platform as it is seen in a region. Fails where nobody knows the region any more.
    pub async fn place_of(&self, region: &str) -> Result<Platform, Failure> {
        let platform = self.regions.knowing(region).await?;
        platform.seen_in(region).ok_or_else(|| {
            let why =
                format!("region '{region}' is neither in the platform file nor was it created by the API");
            problem::region_unknown(why).into()
        })
    }

    /// Tells the dispatchers that something is due. Only a hint: without it their sweeper finds it a moment later, so its
    /// failure fails nothing.
    pub async fn announce(&self) {
        if let Err(error) = self.store.notify().await {
            tracing::warn!(%error, "the dispatchers were not told; their sweeper will find it");
        }
    }
}

impl FromRef<App> for Store {
    fn from_ref(app: &App) -> Self {
        app.store.clone()
    }
}
