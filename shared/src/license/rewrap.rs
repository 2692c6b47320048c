//! Changing the key-encryption key of what is stored.

use uuid::Uuid;

use super::{Sealed, Seals};
use crate::store::{Store, StoreResult, StoredLicense};

/// Licences read at once.
const BATCH: i64 = 200;

/// What a rewrap came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Data keys that are now under the key that seals.
    pub rewrapped: u64,
    /// Those that changed, or went, in the meantime. Looked at again before the rewrap ends.
    pub changed: u64,
    /// Licences whose data key did not open, and why. They stay as they are.
    pub unopened: Vec<(StoredLicense, String)>,
}

/// Wraps every data key with the key that seals now. May be ended at any time and called again, beside other rewraps and
/// beside runs that store and delete licences; each row changes by itself, and only if it is as it was read. Looks until it
/// finds nothing more to do: what a process with an older configuration seals later is left for another call.
pub async fn rewrap(store: &Store, seals: &Seals) -> StoreResult<Rewrapped> {
    let mut all = Rewrapped::default();
    loop {
        let before = (all.rewrapped, all.changed);
        all.unopened.clear();
        let mut after = Uuid::nil();
        loop {
            let batch = store.licenses_not_under(seals.key_id(), after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = last.id;
            for stored in batch {
                one(store, seals, stored, &mut all).await?;
            }
        }
        if (all.rewrapped, all.changed) == before {
            return Ok(all);
        }
    }
}

async fn one(store: &Store, seals: &Seals, stored: StoredLicense, all: &mut Rewrapped) -> StoreResult<()> {
    match seals.rewrap(stored.tenant_id, &Sealed::from(&stored)) {
        Ok(sealed) if store.rewrap_license(&stored, &sealed.data_key, &sealed.key_id).await? => {
            all.rewrapped += 1;
        }
        Ok(_) => all.changed += 1,
        Err(why) => all.unopened.push((stored, why.to_string())),
    }
    Ok(())
}
