//! The platform with all its regions: those of its file, and those that the API has made.
//!
//! Where both have one key, the API's holds: its tenants are where it says, and that cannot be changed behind their backs by
//! a line in a file.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use model::platform::Platform;

use crate::store::{Store, StoreResult};

/// How long the list of all regions is taken for fresh.
const FRESH: Duration = Duration::from_secs(2);

/// The platform and its regions, as they are now. Cheap to clone.
#[derive(Clone)]
pub struct Regions {
    store: Store,
    file: Arc<Platform>,
    held: Arc<RwLock<Held>>,
}

/// What was read last.
#[derive(Default)]
struct Held {
    all: Option<(Instant, Arc<Platform>)>,
    /// By key: the platform as it is seen in the region, and the region's version.
    seen: HashMap<String, (Option<i64>, Arc<Platform>)>,
}

impl std::fmt::Debug for Regions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Regions")
    }
}

impl Regions {
    /// Reads nothing yet.
    pub fn new(store: Store, file: Arc<Platform>) -> Self {
        Self { store, file, held: Arc::default() }
    }

    /// The platform with all regions, as they were at most two seconds ago.
    pub async fn all(&self) -> StoreResult<Arc<Platform>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner).all.clone();
        match held {
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
        self.held.write().unwrap_or_else(PoisonError::into_inner).all = Some((read, platform.clone()));
        Ok(platform)
    }

    /// The platform with all regions, this one among them if there is one: what was read lately may not know a region that
    /// was made since.
    pub async fn knowing(&self, region: &str) -> StoreResult<Arc<Platform>> {
        let platform = self.all().await?;
        if platform.regions.contains_key(region) { Ok(platform) } else { self.now().await }
    }

    /// The platform as it is seen in a region of this version, or of a newer one; no version: of the platform file. None:
    /// there is no such region.
    pub async fn seen_in(&self, key: &str, version: Option<i64>) -> StoreResult<Option<Arc<Platform>>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner).seen.get(key).cloned();
        if let Some((of, platform)) = held
            && of == version
        {
            return Ok(Some(platform));
        }
        let (version, seen) = if version.is_none() {
            (None, self.file.seen_in(key))
        } else {
            let Some(row) = self.store.region(key).await? else { return Ok(None) };
            let mut platform = Platform::clone(&self.file);
            platform.regions.insert(row.key, row.region.0);
            (Some(row.version), platform.seen_in(key))
        };
        let Some(seen) = seen.map(Arc::new) else { return Ok(None) };
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.seen.insert(key.to_owned(), (version, seen.clone()));
        Ok(Some(seen))
    }
}
