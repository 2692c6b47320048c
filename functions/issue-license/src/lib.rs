//! ISSUE_LICENSE: the tenant's licence, signed, sealed and stored, the notice that tells the data plane of it, and the Secret
//! that the pods of a tenant's own instance read it from.
//!
//! In: the tenant's tier, the platform's keys. Out: which licence holds, until when. Fails with `license_key` when a key is
//! missing or wrong (nothing is stored then), `license_unreadable` when what was stored does not open or is not what was
//! signed, `foreign_object` when somebody else's Secret has the name. A valid licence of the tenant that is there is kept until
//! it ends soon. Rollback: deletes the licence that this run made; one that it has taken the place of is current again, and in
//! the Secret; without one the Secret goes.

mod failures;
mod keys;
mod secret;
mod terms;

use chrono::{DateTime, Utc};
use cluster::{Cluster, Ensured, Secrets};
use engine::phase::{Checkpoints, Clients, Phase, Progress, Result, Step};
use engine::store::Sealed;
use license::seal::Purpose;
use license::{Claims, KeyError};
use model::platform::{License, Limits, Platform, Seconds};
use model::{PhaseName, RunId, Tenant, TenantId, Tier};
use serde::{Deserialize, Serialize};
use tenants::{LicenseStored, Store, StoredLicense};
use uuid::Uuid;

use failures::{missing, of_store, overtaken, unreadable};
use keys::Keys;

pub use secret::{KEY, SECRET, SecretTarget};

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
    pub secret: Option<SecretTarget>,
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

engine::runtime_phase!(IssueLicense);

impl Phase for IssueLicense {
    const NAME: PhaseName = PhaseName::new("ISSUE_LICENSE");
    type Plan = Plan;
    type Checkpoint = Checkpoint;

    async fn connect(clients: &impl Clients) -> Result<Self> {
        Ok(Self {
            store: Store::beside(&clients.store().map_err(of_store)?),
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
            secret: SecretTarget::of(tenant, platform),
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
    async fn publish(&self, place: &SecretTarget, step: &Step) -> Result<Option<Ensured>> {
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
