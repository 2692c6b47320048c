//! A phase in the cluster of the tenant's region.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use super::{DynPhase, Loaded};
use crate::phase::{Error, Kind, Phase, Result};
use crate::platform::{Platform, RegionCluster};
use crate::store::Store;

/// How long a phase stays connected to a region's cluster. A kubeconfig that was replaced is read again after this.
const CONNECTED: Duration = Duration::from_secs(5);

type Connect = fn(Arc<Platform>, Store) -> BoxFuture<'static, Result<Arc<dyn DynPhase>>>;

/// A phase, and how it is connected where a region has a cluster of its own.
pub(super) struct Known {
    /// In the process's own cluster.
    pub(super) here: Arc<dyn DynPhase>,
    /// See [`Phase::AT_HOME`].
    at_home: bool,
    connect: Option<Connect>,
    elsewhere: Mutex<HashMap<String, Connected>>,
}

struct Connected {
    to: RegionCluster,
    at: Instant,
    phase: Arc<dyn DynPhase>,
}

impl Known {
    /// A phase that is the same everywhere.
    pub(super) fn everywhere(phase: Arc<dyn DynPhase>) -> Self {
        Self { here: phase, at_home: false, connect: None, elsewhere: Mutex::default() }
    }

    /// A phase that is connected, here and wherever its tenants are.
    pub(super) async fn connected<P: Phase>(platform: &Platform, store: &Store) -> Result<Self> {
        let connect: Connect = |platform, store| {
            Box::pin(async move {
                let phase = P::connect_beside(&platform, &store).await?;
                Ok(Arc::new(Loaded(phase)) as Arc<dyn DynPhase>)
            })
        };
        let here = Arc::new(Loaded(P::connect_beside(platform, store).await?));
        Ok(Self { here, at_home: P::AT_HOME, connect: Some(connect), elsewhere: Mutex::default() })
    }

    /// Whether it must know where its tenant is.
    pub(super) fn is_regional(&self) -> bool {
        self.connect.is_some()
    }

    /// The phase in the cluster that `seen` says.
    pub(super) async fn at(&self, seen: &Arc<Platform>, store: &Store) -> Result<Arc<dyn DynPhase>> {
        let connect = self.connect.filter(|_| !self.at_home);
        let (Some(connect), Some(to)) = (connect, &seen.cluster) else { return Ok(self.here.clone()) };
        {
            let elsewhere = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = elsewhere.get(&to.region)
                && found.to == *to
                && found.at.elapsed() < CONNECTED
            {
                return Ok(found.phase.clone());
            }
        }
        let phase = connect(seen.clone(), store.clone()).await?;
        let connected = Connected { to: to.clone(), at: Instant::now(), phase: phase.clone() };
        let mut elsewhere = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        elsewhere.insert(to.region.clone(), connected);
        Ok(phase)
    }

    /// A region's own systems are told apart from those of the others, in words and in the dependency's name.
    pub(super) fn of_region(&self, mut error: Error, region: &str, seen: &Platform) -> Error {
        let Kind::Unavailable { dependency } = &mut error.kind else { return error };
        let its_own = match dependency.as_str() {
            "cluster" => seen.cluster.is_some() && !self.at_home,
            "tenant-api" => true,
            _ => false,
        };
        if its_own {
            *dependency = format!("{dependency}:{region}");
            error.message = format!("region {region}: {}", error.message);
        }
        error
    }
}

/// Nobody knows where the tenant is: neither the API nor the platform file has its region.
pub(super) fn unknown(region: &str) -> Error {
    Error::fatal(
        "region_unknown",
        format!("there is no region '{region}', by the API or in the platform file"),
    )
    .next(format!("Add [regions.{region}] to the platform file as it was, then retry."))
}
