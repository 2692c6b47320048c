//! Changing the key-encryption key of what is stored.

use engine::store::{Sealed, StoreResult};
use model::TenantId;
use tenants::{SealedRow, Store, StoredLicense};
use uuid::Uuid;

use crate::seal::{Purpose, Seals};

/// Rows read at once.
const BATCH: i64 = 200;

/// What a rewrap came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Data keys that are now under the key that seals.
    pub rewrapped: u64,
    /// Those that changed, or went, in the meantime. Looked at again before the rewrap ends.
    pub changed: u64,
    /// What has a data key that did not open. It stays as it is.
    pub unopened: Vec<Unopened>,
}

/// A licence or a waiting invitation that does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unopened {
    /// `licence` or `invitation`.
    pub what: &'static str,
    /// Its id.
    pub id: Uuid,
    /// Whose.
    pub tenant_id: TenantId,
    /// Why not.
    pub why: String,
}

/// Wraps every data key, of licences and of invitations that wait, with the key that seals now. May be ended at any time and
/// called again, beside other rewraps and beside runs that store and delete; each row changes by itself, and only if it is as
/// it was read. Looks until it finds nothing more to do: what a process with an older configuration seals later is left for
/// another call.
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
                license(store, seals, &stored, &mut all).await?;
            }
        }
        let mut after = Uuid::nil();
        loop {
            let batch = store.invitations_not_under(seals.key_id(), after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = last.id;
            for row in batch {
                invitation(store, seals, &row, &mut all).await?;
            }
        }
        if (all.rewrapped, all.changed) == before {
            return Ok(all);
        }
    }
}

async fn license(
    store: &Store,
    seals: &Seals,
    stored: &StoredLicense,
    all: &mut Rewrapped,
) -> StoreResult<()> {
    match seals.rewrap(Purpose::License, stored.tenant_id, &Sealed::from(stored)) {
        Ok(fresh) => all.count(store.rewrap_license(stored, &fresh.data_key, &fresh.key_id).await?),
        Err(why) => all.unopened("licence", stored.id, stored.tenant_id, &why),
    }
    Ok(())
}

async fn invitation(store: &Store, seals: &Seals, row: &SealedRow, all: &mut Rewrapped) -> StoreResult<()> {
    match seals.rewrap(Purpose::Invitation, row.tenant_id, &row.sealed) {
        Ok(fresh) => all.count(store.rewrap_invitation(row, &fresh).await?),
        Err(why) => all.unopened("invitation", row.id, row.tenant_id, &why),
    }
    Ok(())
}

impl Rewrapped {
    fn count(&mut self, rewrapped: bool) {
        *(if rewrapped { &mut self.rewrapped } else { &mut self.changed }) += 1;
    }

    fn unopened(&mut self, what: &'static str, id: Uuid, tenant_id: TenantId, why: &dyn std::fmt::Display) {
        self.unopened.push(Unopened { what, id, tenant_id, why: why.to_string() });
    }
}
