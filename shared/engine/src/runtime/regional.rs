//! A phase in the cluster of the tenant's region.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use model::PhaseName;
use model::platform::{Platform, RegionCluster};

use super::{DynPhase, Loaded};
use crate::phase::{Clients, Error, Kind, Phase, Result};
use crate::store::{Store, StoreResult};

/// How long a phase stays connected to a region's cluster. A kubeconfig that was replaced is read again after this.
const CONNECTED: Duration = Duration::from_secs(5);

type Connect = fn(Arc<Platform>, Store) -> BoxFuture<'static, Result<Connection>>;

/// A phase with its clients.
struct Connection {
    phase: Arc<dyn DynPhase>,
    /// It has asked for the platform as its region sees it: in another region it has other clients.
    follows_region: bool,
}

/// What the runtime gives a phase to connect with.
struct RuntimeClients {
    platform: Arc<Platform>,
    store: Store,
    asked_for_platform: AtomicBool,
}

impl Clients for RuntimeClients {
    fn platform(&self) -> &Platform {
        self.asked_for_platform.store(true, Ordering::Relaxed);
        &self.platform
    }

    fn store(&self) -> StoreResult<Store> {
        Ok(self.store.clone())
    }
}

/// A phase as the runtime and the registry know it: its name, and how it is connected. [`runtime_phase!`](crate::runtime_phase)
/// makes the one of a phase's crate.
#[derive(Debug)]
pub struct PhaseEntry {
    name: PhaseName,
    connect: Connect,
}

impl PhaseEntry {
    /// The entry of phase `P`.
    pub const fn of<P: Phase>() -> Self {
        Self {
            name: P::NAME,
            connect: |platform, store| {
                Box::pin(async move {
                    let clients =
                        RuntimeClients { platform, store, asked_for_platform: AtomicBool::new(false) };
                    let phase = Arc::new(Loaded(P::connect(&clients).await?));
                    Ok(Connection { phase, follows_region: clients.asked_for_platform.into_inner() })
                })
            },
        }
    }

    /// The phase's name.
    pub fn name(&self) -> &PhaseName {
        &self.name
    }
}

/// Exports a phase from its crate as `PHASE`, a [`PhaseEntry`].
///
/// A `static` is what makes the compiler generate the phase's code there, once, and not again in every program that runs it:
/// the bodies of async functions are generated where they are polled. The crate's own unit tests poll none of it.
#[macro_export]
macro_rules! runtime_phase {
    ($phase:ty) => {
        /// What the runtime runs.
        #[cfg(not(test))]
        pub static PHASE: $crate::runtime::PhaseEntry = $crate::runtime::PhaseEntry::of::<$phase>();
    };
}

/// A phase, and how it is connected where a region has a cluster of its own.
pub(super) struct RegisteredPhase {
    /// In the process's own cluster.
    pub(super) here: Arc<dyn DynPhase>,
    /// It works where its tenants are, and not in the control plane's own cluster for all of them.
    follows_region: bool,
    connect: Option<Connect>,
    elsewhere: Mutex<HashMap<String, Connected>>,
}

struct Connected {
    to: RegionCluster,
    at: Instant,
    phase: Arc<dyn DynPhase>,
}

impl RegisteredPhase {
    /// A phase that is the same everywhere.
    pub(super) fn everywhere(phase: Arc<dyn DynPhase>) -> Self {
        Self { here: phase, follows_region: true, connect: None, elsewhere: Mutex::default() }
    }

    /// A phase that is connected, here and wherever its tenants are.
    pub(super) async fn connected(
        entry: &PhaseEntry,
        platform: &Arc<Platform>,
        store: &Store,
    ) -> Result<Self> {
        let Connection { phase: here, follows_region } =
            (entry.connect)(platform.clone(), store.clone()).await?;
        Ok(Self { here, follows_region, connect: Some(entry.connect), elsewhere: Mutex::default() })
    }

    /// Whether it must know where its tenant is.
    pub(super) fn is_regional(&self) -> bool {
        self.connect.is_some()
    }

    /// The phase in the cluster that `seen` says.
    pub(super) async fn at(&self, seen: &Arc<Platform>, store: &Store) -> Result<Arc<dyn DynPhase>> {
        let connect = self.connect.filter(|_| self.follows_region);
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
        let Connection { phase, .. } = connect(seen.clone(), store.clone()).await?;
        let connected = Connected { to: to.clone(), at: Instant::now(), phase: phase.clone() };
        let mut elsewhere = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        elsewhere.insert(to.region.clone(), connected);
        Ok(phase)
    }

    /// A region's own systems are told apart from those of the others, in words and in the dependency's name.
    pub(super) fn of_region(&self, mut error: Error, region: &str, seen: &Platform) -> Error {
        let Kind::Unavailable { dependency } = &mut error.kind else { return error };
        let its_own = match dependency.as_str() {
            "cluster" => seen.cluster.is_some() && self.follows_region,
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
        format!("region '{region}' is neither in the platform file nor was it created by the API"),
    )
    .next(format!("Add [regions.{region}] back to the platform file, then retry."))
}
