//! The platform as it is seen in each tenant's region.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use model::platform::Platform;

use crate::store::{Store, StoreResult};

/// The platform as it was last seen in each region.
#[derive(Debug)]
pub(super) struct SeenPlatform {
    store: Store,
    file: Arc<Platform>,
    /// By the region's key.
    seen: RwLock<HashMap<String, View>>,
}

/// The platform as it is seen in one region.
#[derive(Clone, Debug)]
struct View {
    /// The region's version; none: it is the platform file's.
    version: Option<i64>,
    platform: Arc<Platform>,
}

impl SeenPlatform {
    /// Reads nothing yet.
    pub(super) fn new(store: Store, file: Arc<Platform>) -> Self {
        Self { store, file, seen: RwLock::default() }
    }

    /// The platform as it is seen in a region of this version, or of a newer one; no version: of the platform file. None:
    /// there is no such region.
    pub(super) async fn seen_in(
        &self,
        key: &str,
        version: Option<i64>,
    ) -> StoreResult<Option<Arc<Platform>>> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(view) = seen
            && view.version == version
        {
            return Ok(Some(view.platform));
        }
        let (version, seen) = if version.is_none() {
            (None, self.file.seen_in(key))
        } else {
            let mut connection = self.store.connection().await?;
            let region = self.store.tenancy().region(&mut connection, key).await?;
            let Some((version, region)) = region else { return Ok(None) };
            let mut platform = Platform::clone(&self.file);
            platform.regions.insert(key.to_owned(), region);
            (Some(version), platform.seen_in(key))
        };
        let Some(seen) = seen.map(Arc::new) else { return Ok(None) };
        let mut held = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        held.insert(key.to_owned(), View { version, platform: seen.clone() });
        Ok(Some(seen))
    }
}
