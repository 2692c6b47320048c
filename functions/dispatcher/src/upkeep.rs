//! Begins what becomes due by itself: see [`Store::upkeep`].

use std::sync::Arc;
use std::time::Duration;

use model::platform::Platform;
use tenants::Store;

/// How often it is looked. Nothing that becomes due by itself is in a hurry.
const EVERY: Duration = Duration::from_secs(5);

/// Looks until it is aborted. While dispatching is paused nothing is begun.
pub async fn run(store: Store, platform: Arc<Platform>) {
    loop {
        tokio::time::sleep(EVERY.mul_f64(0.75 + rand::random::<f64>() / 2.0)).await;
        match look(&store, &platform).await {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "upkeep failed; tried again"),
        }
    }
}

async fn look(store: &Store, platform: &Platform) -> Result<(), engine::store::StoreError> {
    if store.dispatching_paused().await? {
        return Ok(());
    }
    let begun = store.upkeep(platform).await?;
    for begun in &begun {
        tracing::info!(tenant.id = %begun.tenant, run.id = %begun.run, duty = %begun.duty, "begun by itself");
    }
    if !begun.is_empty() {
        store.notify().await?;
    }
    Ok(())
}
