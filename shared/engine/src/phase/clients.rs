//! What a phase makes its clients from.

use std::sync::Arc;

use model::platform::Platform;

use crate::store::{Plain, Store, StoreResult};

/// What a phase makes its clients from, once for each cluster that it works in.
pub trait Clients: Sync {
    /// The platform as the region of its tenants sees it: addresses, secrets by reference, and the cluster. A phase that does
    /// not ask works in the control plane's own cluster, wherever its tenants are, and is connected once.
    fn platform(&self) -> &Platform;

    /// The control plane's database, for a phase whose effect is a row there. Of a function it is the connection of the
    /// runtime, so that a sandbox holds one. Fails when `DATABASE_URL` is missing or wrong.
    fn store(&self) -> StoreResult<Store>;
}

/// Without a runtime: a store has a connection of its own, and what there is to know of the tenants it knows not.
impl Clients for Platform {
    fn platform(&self) -> &Platform {
        self
    }

    fn store(&self) -> StoreResult<Store> {
        Store::connect(1, Arc::new(Plain))
    }
}

/// Beside a store that is there already.
impl Clients for (&Platform, &Store) {
    fn platform(&self) -> &Platform {
        self.0
    }

    fn store(&self) -> StoreResult<Store> {
        Ok(self.1.clone())
    }
}
