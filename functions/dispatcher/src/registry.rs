//! The one list of phases: a phase that is not in it does not exist for the embedded invoker or the generic tests.

use std::sync::Arc;

use shared::platform::Platform;
use shared::runtime::Runner;
use shared::store::Store;

/// A runner that knows every phase, each connected to what it needs.
pub async fn runner(store: Store, platform: Arc<Platform>) -> shared::phase::Result<Runner> {
    Ok(Runner::new(store, platform))
}
