//! The keys that a licence is signed and sealed with.

use chrono::{DateTime, Utc};
use engine::phase::{Error, Result};
use engine::store::Sealed;
use license::seal::{Purpose, Seals};
use license::{Claims, Signer};
use model::RunId;
use tenants::StoredLicense;

use crate::Plan;

/// The keys, for as long as one operation takes.
pub(crate) struct Keys {
    pub(crate) signer: Signer,
    pub(crate) seals: Seals,
}

impl Keys {
    pub(crate) fn make(&self, plan: &Plan, run: RunId, now: DateTime<Utc>) -> Result<StoredLicense> {
        let fault = |why: String| {
            Error::retryable("license_unmade", why).next("This is a fault in the phase's code; report it.")
        };
        let time = |seconds| {
            DateTime::from_timestamp(seconds, 0)
                .ok_or_else(|| fault(format!("{seconds} s is not a valid time")))
        };
        let issued = now.timestamp();
        let validity = i64::try_from(plan.validity.duration().as_secs()).unwrap_or(i64::MAX);
        let expires = issued.saturating_add(validity);
        let (issued_at, expires_at) = (time(issued)?, time(expires)?);
        let signed = self
            .signer
            .issue(plan.tenant_id, plan.terms(), issued, expires)
            .ok_or_else(|| fault("no key to sign with".into()))?;
        let sealed = self.seals.seal(Purpose::License, plan.tenant_id, &signed.text);
        let sealed = sealed.map_err(|error| fault(error.to_string()))?;
        Ok(StoredLicense {
            id: signed.claims.id,
            tenant_id: plan.tenant_id,
            sealed: sealed.text,
            wrapped_key: sealed.data_key,
            kek_id: sealed.key_id,
            signing_key_id: signed.claims.key_id.clone(),
            issued_at,
            expires_at,
            created_by_run: run,
        })
    }

    /// What a stored licence says, if it opens, is the tenant's, and holds now.
    pub(crate) fn open(
        &self,
        stored: &StoredLicense,
        now: DateTime<Utc>,
    ) -> std::result::Result<Claims, String> {
        let text = self.seals.open(Purpose::License, stored.tenant_id, &Sealed::from(stored));
        let text = text.map_err(|error| error.to_string())?;
        let public = self.signer.public_keys();
        public.verify(&text, stored.tenant_id, now.timestamp()).map_err(|refused| refused.to_string())
    }

    pub(crate) fn valid(&self, stored: &StoredLicense, now: DateTime<Utc>) -> Option<Claims> {
        self.open(stored, now)
            .inspect_err(|why| tracing::info!(license.id = %stored.id, %why, "another licence is issued"))
            .ok()
    }
}
