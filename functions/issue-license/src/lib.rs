//! ISSUE_LICENSE: the tenant's licence, signed, sealed and stored, the notice that tells the data plane of it, and the Secret
//! that the pods of a tenant's own instance read it from.
//!
//! In: the tenant's tier, the platform's keys. Out: which licence holds, until when. Fails with `license_key` when a key is
//! missing or wrong (nothing is stored then), `license_unreadable` when what was stored does not open or is not what was
//! signed, `foreign_object` when somebody else's Secret has the name. A valid licence of the tenant that is there is kept until
//! it ends soon. Rollback: deletes the licence that this run made; one that it has taken the place of is current again, and in
//! the Secret; without one the Secret goes.

mod secret;

use chrono::{DateTime, Utc};
use cluster::{Cluster, Ensured, Secrets};
use engine::phase::{Checkpoints, Clients, Error, Phase, Progress, Result, Step};
use engine::store::{LicenseStored, Sealed, Store, StoreError, StoredLicense};
use license::seal::{Purpose, Seals};
use license::{Claims, KeyError, Signer, Terms};
use model::platform::{License, Limits, Platform, Seconds};
use model::{PhaseName, RunId, Tenant, TenantId, Tier};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use secret::{KEY, Place, SECRET};

/// The phase.
#[derive(Debug)]
pub struct IssueLicense {
    store: Store,
    cluster: Cluster,
    /// Read anew for every step: keys may change while a plan waits.
    settings: License,
}

/// What will be issued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Whose.
    pub tenant_id: TenantId,
    /// What the tenant pays for.
    pub plan: Tier,
    /// What that allows.
    pub limits: Limits,
    /// Whether it is one of a suspended tenant, which is refused.
    pub suspended: bool,
    /// How long it holds, in seconds.
    pub validity: Seconds,
    /// One that ends within this many seconds is issued anew.
    pub renew_before: Seconds,
    /// Where the Secret goes; none without a Secret, for a tenant of the pooled tenant-api.
    pub secret: Option<Place>,
}

/// The licence that holds, without what it opens with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// Its id.
    pub license_id: Uuid,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
    /// Id of the key that signed it.
    pub signing_key: String,
    /// Id of the key-encryption key that it was sealed with; a rewrap changes that.
    pub key_encryption_key: String,
    /// The run that made it.
    pub created_by_run: RunId,
    /// What it has taken the place of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<Uuid>,
}

/// The keys, for as long as one operation takes.
struct Keys {
    signer: Signer,
    seals: Seals,
}

engine::runtime_phase!(IssueLicense);

impl Phase for IssueLicense {
    const NAME: PhaseName = PhaseName::new("ISSUE_LICENSE");
    type Plan = Plan;
    type Checkpoint = Checkpoint;

    async fn connect(clients: &impl Clients) -> Result<Self> {
        Ok(Self {
            store: clients.store().map_err(of_store)?,
            cluster: Cluster::of(clients.platform()).await?,
            settings: clients.platform().license.clone(),
        })
    }

    fn plan(&self, tenant: &Tenant, platform: &Platform, _: &Checkpoints) -> Result<Plan> {
        Ok(Plan {
            tenant_id: tenant.id,
            plan: tenant.tier,
            limits: platform.license.limits(tenant.tier),
            suspended: tenant.suspended,
            validity: platform.license.validity,
            renew_before: platform.license.renew_before,
            secret: Place::of(tenant, platform),
        })
    }

    async fn apply(&self, plan: &Plan, step: &Step) -> Result<Progress<Checkpoint>> {
        let held = step.operation("issue license", self.issue(plan, step)).await?;
        step.operation("verify license", self.check(step)).await?;
        if let Some(place) = &plan.secret {
            step.operation("license secret", self.publish(place, step)).await?;
        }
        Ok(Progress::Done(held))
    }

    async fn revert(&self, plan: &Plan, _: Option<&Checkpoint>, step: &Step) -> Result<Progress<()>> {
        let removed = async {
            let removed = self.store.remove_license(step.owner()).await.map_err(of_store)?;
            removed.ok_or_else(overtaken)
        };
        step.operation("delete license", removed).await?;
        if let Some(place) = &plan.secret {
            if self.current(step).await?.is_some() {
                step.operation("license secret", self.publish(place, step)).await?;
            } else {
                let cleared = place.clear(&self.cluster, step);
                step.wait_for("delete license secret", cleared).await?;
            }
        }
        Ok(Progress::Done(()))
    }
}

impl Plan {
    fn terms(&self) -> Terms {
        Terms { plan: self.plan, limits: self.limits, suspended: self.suspended }
    }

    fn ends_soon(&self, expires_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        (expires_at - now).as_seconds_f64() <= self.renew_before.0
    }
}

impl IssueLicense {
    /// Keeps the tenant's licence if it is as planned and still valid, and issues another otherwise.
    async fn issue(&self, plan: &Plan, step: &Step) -> Result<Checkpoint> {
        // First of all, so that a wrong key leaves nothing.
        let keys = self.keys().await?;
        let now = step.now();
        let found = self.store.license(plan.tenant_id).await.map_err(of_store)?;
        if let Some(found) = &found
            && let Some(claims) = keys.valid(found, now)
            && claims.terms() == plan.terms()
            && !plan.ends_soon(found.expires_at, now)
        {
            return Ok(checkpoint(found, None));
        }
        let made = keys.make(plan, step.owner().run_id, now)?;
        let instead_of = found.map(|found| found.id);
        match self.store.store_license(step.owner(), &made, instead_of).await.map_err(of_store)? {
            LicenseStored::Current => Ok(checkpoint(&made, instead_of)),
            LicenseStored::Overtaken | LicenseStored::Fenced => Err(overtaken()),
        }
    }

    /// Reads back what is stored: a licence that does not open is none.
    async fn check(&self, step: &Step) -> Result<Claims> {
        let keys = self.keys().await?;
        let found = self.current(step).await?.ok_or_else(missing)?;
        keys.open(&found, step.now()).map_err(|why| unreadable(&found, &why))
    }

    async fn current(&self, step: &Step) -> Result<Option<StoredLicense>> {
        self.store.license(step.owner().tenant_id).await.map_err(of_store)
    }

    /// Brings the Secret to the licence that is current now.
    async fn publish(&self, place: &Place, step: &Step) -> Result<Option<Ensured>> {
        let found = self.current(step).await?.ok_or_else(missing)?;
        let seals = license::read_seals(&self.settings, &Secrets).await.map_err(KeyError::into_failure)?;
        let text = seals.open(Purpose::License, found.tenant_id, &Sealed::from(&found));
        let text = text.map_err(|why| unreadable(&found, &why.to_string()))?;
        place.put(&self.cluster, step, &text).await
    }

    async fn keys(&self) -> Result<Keys> {
        Ok(Keys {
            signer: license::read_signer(&self.settings, &Secrets).await.map_err(KeyError::into_failure)?,
            seals: license::read_seals(&self.settings, &Secrets).await.map_err(KeyError::into_failure)?,
        })
    }
}

impl Keys {
    fn make(&self, plan: &Plan, run: RunId, now: DateTime<Utc>) -> Result<StoredLicense> {
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
    fn open(&self, stored: &StoredLicense, now: DateTime<Utc>) -> std::result::Result<Claims, String> {
        let text = self.seals.open(Purpose::License, stored.tenant_id, &Sealed::from(stored));
        let text = text.map_err(|error| error.to_string())?;
        let public = self.signer.public_keys();
        public.verify(&text, stored.tenant_id, now.timestamp()).map_err(|refused| refused.to_string())
    }

    fn valid(&self, stored: &StoredLicense, now: DateTime<Utc>) -> Option<Claims> {
        self.open(stored, now)
            .inspect_err(|why| tracing::info!(license.id = %stored.id, %why, "another licence is issued"))
            .ok()
    }
}

fn checkpoint(license: &StoredLicense, instead_of: Option<Uuid>) -> Checkpoint {
    Checkpoint {
        license_id: license.id,
        issued_at: license.issued_at,
        expires_at: license.expires_at,
        signing_key: license.signing_key_id.clone(),
        key_encryption_key: license.kek_id.clone(),
        created_by_run: license.created_by_run,
        instead_of,
    }
}

fn of_store(error: impl Into<StoreError>) -> Error {
    Error::retryable("license_store", error.into().to_string())
        .next("See that the control plane's database is up; it is tried again.")
}

fn missing() -> Error {
    Error::retryable("license_missing", "the licence that was stored is not there")
        .next("It was removed by hand; retry makes a new one.")
}

fn unreadable(license: &StoredLicense, why: &str) -> Error {
    Error::retryable("license_unreadable", format!("licence {}: {why}", license.id))
        .next("See that the keys under [license] are the ones it was made with; retry makes a new one.")
}

fn overtaken() -> Error {
    Error::retryable("license_overtaken", "another worker has changed the tenant's licence meanwhile")
        .next("Nothing needs to be done: it is tried again.")
}
