//! The platform with all its regions: those of its file, and those that the API has made.
//!
//! Where both have one key, the API's holds: its tenants are where it says, and that cannot be changed behind their backs by
//! a line in a file.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use engine::store::StoreResult;
use model::platform::Platform;

use crate::store::Store;

/// How long the list of all regions is taken for fresh.
const FRESH: Duration = Duration::from_secs(2);

/// The platform with all regions, and when it was read; none before the first time.
type LastRead = Option<(Instant, Arc<Platform>)>;

/// The platform and its regions, as they are now. Cheap to clone.
#[derive(Clone)]
pub struct Regions {
    store: Store,
    file: Arc<Platform>,
    read: Arc<RwLock<LastRead>>,
}

impl std::fmt::Debug for Regions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Regions")
    }
}

impl Regions {
    /// Reads nothing yet.
    pub fn new(store: Store, file: Arc<Platform>) -> Self {
        Self { store, file, read: Arc::default() }
    }

    /// The platform with all regions, as they were at most two seconds ago.
    pub async fn all(&self) -> StoreResult<Arc<Platform>> {
        let last = self.read.read().unwrap_or_else(PoisonError::into_inner).clone();
        match last {
            Some((read, platform)) if read.elapsed() < FRESH => Ok(platform),
            _ => self.now().await,
        }
    }

    /// The platform with all regions, as they are now.
    pub async fn now(&self) -> StoreResult<Arc<Platform>> {
        let read = Instant::now();
        let rows = self.store.regions().await?;
        let platform = if rows.is_empty() {
            self.file.clone()
        } else {
            let mut platform = Platform::clone(&self.file);
            platform.regions.extend(rows.into_iter().map(|row| (row.key, row.region.0)));
            Arc::new(platform)
        };
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = Some((read, platform.clone()));
        Ok(platform)
    }

    /// The platform with all regions, this one among them if there is one: what was read lately may not know a region that
    /// was made since.
    pub async fn knowing(&self, region: &str) -> StoreResult<Arc<Platform>> {
        let platform = self.all().await?;
        if platform.regions.contains_key(region) { Ok(platform) } else { self.now().await }
    }
}
