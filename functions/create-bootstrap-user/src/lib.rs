//! CREATE_BOOTSTRAP_USER: the tenant's administrator, and the invitation by which they come in.
//!
//! In: the tenant's address for notices, its region's tenant-api, the platform's keys. Out: who was made, and which
//! invitation waits. Fails with `license_key` when the key that seals is missing or wrong (nothing is stored then),
//! `bootstrap_user_exists` when the tenant has another administrator, and `tenant_api_…`. Rollback: takes the invitation
//! away and the administrator whom this run made.
//!
//! Nobody chooses a password here, and none is sent. The token of the invitation is made up here and is from then on in one
//! place only, sealed, in the outbox. The data plane is not told of it: whoever sends the e-mail first makes the hash of the
//! very token that it sends the one that holds (`event-relay`). So there is no moment, and no order of crashes, in which an
//! e-mail goes out whose link is not the one that is known; and nothing goes out before the tenant is ACTIVE.

use cluster::{Cluster, Secrets};
use engine::phase::{Checkpoints, Clients, Error, Kind, Phase, Progress, Result, Scope, Step};
use engine::store::StoreError;
use license::invitation::Token;
use license::seal::{Purpose, Seals};
use model::platform::{License, Platform};
use model::{PhaseName, Tenant, TenantId};
use serde::{Deserialize, Serialize};
use tenant_api_client::{BootstrapUser, Server, TenantApi};
use tenants::{InvitationStored, Store, StoredInvitation, reads};
use uuid::Uuid;

/// The phase.
#[derive(Debug)]
pub struct CreateBootstrapUser {
    store: Store,
    cluster: Cluster,
    tenant_api: TenantApi,
    /// Where the keys are. Read anew for every step: they may change while a plan waits.
    keys: License,
}

/// Who will be made, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Whose administrator.
    pub tenant_id: TenantId,
    /// Their address.
    pub email: String,
    /// Who is asked to make them.
    pub server: Server,
}

/// Who is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The administrator.
    #[serde(flatten)]
    pub user: BootstrapUser,
    /// The invitation, without its token.
    pub invitation_id: Uuid,
}

/// The invitation that waits, or was sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invitation {
    invitation_id: Uuid,
}

engine::runtime_phase!(CreateBootstrapUser);

impl Phase for CreateBootstrapUser {
    const NAME: PhaseName = PhaseName::new("CREATE_BOOTSTRAP_USER");
    type Plan = Plan;
    type Checkpoint = Checkpoint;

    async fn connect(clients: &impl Clients) -> Result<Self> {
        let platform = clients.platform();
        let (cluster, tenant_api) = (Cluster::of(platform).await?, TenantApi::connect()?);
        Ok(Self {
            store: Store::beside(&clients.store().map_err(of_store)?),
            cluster,
            tenant_api,
            keys: platform.license.clone(),
        })
    }

    fn plan(&self, tenant: &Tenant, platform: &Platform, earlier: &Checkpoints) -> Result<Plan> {
        // An instance of the tenant's own works in its tables.
        let endpoint = earlier.read::<reads::Deployment>()?.map(|own| own.endpoint);
        let server = Server::serving(platform, &tenant.region, tenant.id, endpoint)?;
        Ok(Plan { tenant_id: tenant.id, email: tenant.admin_email.clone(), server })
    }

    async fn apply(&self, plan: &Plan, step: &Step) -> Result<Progress<Checkpoint>> {
        // First, so that a wrong key leaves nothing.
        let waits = step.operation("seal invitation", self.invite(plan, step)).await?;
        let user = step.operation("create administrator", self.create(plan, step)).await?;
        Ok(Progress::Done(Checkpoint { user, invitation_id: waits.invitation_id }))
    }

    async fn revert(&self, plan: &Plan, _: Option<&Checkpoint>, step: &Step) -> Result<Progress<()>> {
        let withdraw = async {
            let withdrawn = self.store.withdraw_invitations(step.owner()).await.map_err(of_store)?;
            withdrawn.ok_or_else(overtaken)
        };
        step.operation("withdraw invitation", withdraw).await?;
        // A deprovisioning drops the tables with everybody in them, by now among them whom the tenant has let in.
        if step.owner().scope == Scope::Run {
            step.operation("remove administrator", self.remove(plan, step)).await?;
        }
        Ok(Progress::Done(()))
    }
}

impl CreateBootstrapUser {
    /// Keeps the tenant's invitation if it was sent or still opens, and makes another otherwise.
    async fn invite(&self, plan: &Plan, step: &Step) -> Result<Invitation> {
        let seals =
            license::read_seals(&self.keys, &Secrets).await.map_err(license::KeyError::into_failure)?;
        let found = self.store.invitation(plan.tenant_id).await.map_err(of_store)?;
        if let Some(found) = &found
            && keeps(&seals, plan.tenant_id, found)
        {
            return Ok(Invitation { invitation_id: found.id });
        }
        let fault = |why: String| {
            Error::retryable("invitation_unmade", why)
                .next("This is a fault in the phase's code or of the machine; look at the function's log.")
        };
        let token = Token::generate(plan.tenant_id).map_err(|error| fault(error.to_string()))?;
        let sealed = seals
            .seal(Purpose::Invitation, plan.tenant_id, token.expose())
            .map_err(|error| fault(error.to_string()))?;
        let invitation_id = Uuid::now_v7();
        let instead_of = found.map(|found| found.id);
        let stored = self.store.store_invitation(step.owner(), invitation_id, &sealed, instead_of).await;
        match stored.map_err(of_store)? {
            InvitationStored::Waiting => Ok(Invitation { invitation_id }),
            InvitationStored::Overtaken | InvitationStored::Fenced => Err(overtaken()),
        }
    }

    async fn create(&self, plan: &Plan, step: &Step) -> Result<BootstrapUser> {
        let (server, owner) = (&plan.server.as_now(step), step.owner());
        let secret = server.presented(self.cluster.resolve(&server.internal_secret).await?);
        self.tenant_api.bootstrap_user(server, &secret, owner.tenant_id, owner.run_id, &plan.email).await
    }

    async fn remove(&self, plan: &Plan, step: &Step) -> Result<bool> {
        let (server, owner) = (&plan.server.as_now(step), step.owner());
        let secret = server.presented(self.cluster.resolve(&server.internal_secret).await?);
        let removed =
            self.tenant_api.remove_bootstrap_user(server, &secret, owner.tenant_id, owner.run_id).await;
        match removed {
            // An instance of the tenant's own that does not run, which may be why all is undone, must not hold that up: what
            // this run has made of the database is dropped next, and in one that was there before the same address finds
            // the same administrator again.
            Err(Error { kind: Kind::Unavailable { .. }, message, .. }) if server.own.is_some() => {
                tracing::warn!(
                    message,
                    "the tenant's own instance was not asked to remove the administrator"
                );
                Ok(false)
            }
            removed => removed,
        }
    }
}

/// Whether an invitation that is there will do: it was sent, or can be.
fn keeps(seals: &Seals, tenant: TenantId, found: &StoredInvitation) -> bool {
    let Some(sealed) = &found.sealed else { return true };
    seals
        .open(Purpose::Invitation, tenant, sealed)
        .inspect_err(|why| tracing::info!(invitation.id = %found.id, %why, "another invitation is made"))
        .is_ok_and(|text| Token::parse(&text).is_some_and(|token| token.tenant() == tenant))
}

fn of_store(error: impl Into<StoreError>) -> Error {
    Error::retryable("invitation_store", error.into().to_string())
        .next("See that the control plane's database is up; it is tried again.")
}

fn overtaken() -> Error {
    Error::retryable("invitation_overtaken", "another worker has changed the tenant's invitation meanwhile")
        .next("Nothing needs to be done: it is tried again.")
}
