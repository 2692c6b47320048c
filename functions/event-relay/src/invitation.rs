//! The sink `invitation`: the link by which a tenant's administrator comes in.
//!
//! A lane of its own rather than the letters': it waits for the tenant to be ACTIVE, needs keys and a tenant-api, and while
//! those are away no other letter shall wait behind it. The hash of the token is made the one that holds, and only then the
//! e-mail is sent, both again as often as need be; when both are done the token is erased with the row's delivery. What the
//! e-mail says is therefore what the data plane knows, whoever died in between. One that a later invitation has overtaken is
//! not sent.

use std::sync::Arc;

use async_trait::async_trait;
use cluster::Secrets;
use engine::phase::Error;
use engine::store::Outgoing;
use lettre::Address;
use license::invitation::Token;
use license::read_seals;
use license::seal::Purpose;
use model::platform::Platform;
use serde::Deserialize;
use tenant_api_client::{Invitation, Invited, TenantApi};
use tenants::Regions;
use tenants::Store;

use crate::lane::{Deliver, Failure};
use crate::letter;
use crate::license::serving;
use crate::mail::Mail;

/// The tenant-apis of all regions, and the mail server.
pub(crate) struct Invitations {
    platform: Arc<Platform>,
    regions: Regions,
    store: Store,
    tenant_api: TenantApi,
    mail: Mail,
}

/// What of the payload says where to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct To {
    slug: String,
    region: String,
    admin_email: String,
}

impl Invitations {
    /// Sends nothing yet. Keys and secrets are read when they are needed, so that a relay without invitations needs none.
    pub(crate) fn new(platform: &Arc<Platform>, store: &Store, mail: Mail) -> anyhow::Result<Self> {
        let tenant_api = TenantApi::connect()?.answering_within(half(platform));
        let (platform, regions) = (platform.clone(), mail.regions.clone());
        Ok(Self { platform, regions, store: store.clone(), tenant_api, mail })
    }

    /// Makes this invitation the one that holds.
    async fn announce(&self, row: &Outgoing, to: &To, token: &Token) -> Result<Invited, Failure> {
        let (server, internal_secret) =
            serving(&self.regions, &self.store, &to.region, row.tenant_id).await?;
        let invitation = Invitation {
            tenant: row.tenant_id,
            email: &to.admin_email,
            number: row.number,
            token_hash: token.hash(),
            valid_for: self.platform.invitations.validity.duration(),
        };
        self.tenant_api.invite_user(&server, &internal_secret, invitation).await.map_err(failure)
    }
}

#[async_trait]
impl Deliver for Invitations {
    async fn deliver(&self, row: &Outgoing) -> Result<Option<String>, Failure> {
        let to: To = serde_json::from_value(row.payload.clone())
            .map_err(|error| Failure::Refused(format!("the payload is not an invitation: {error}")))?;
        let address = to.admin_email.trim().parse::<Address>().map_err(|error| {
            Failure::Refused(format!("'{}' is not a valid e-mail address: {error}", to.admin_email))
        })?;
        let sealed = row.sealed.as_ref().ok_or_else(|| Failure::Refused("it holds no token".into()))?;
        let token = {
            let seals = read_seals(&self.platform.license, &Secrets).await.map_err(later)?;
            let text = seals.open(Purpose::Invitation, row.tenant_id, sealed).map_err(later)?;
            Token::parse(&text).ok_or_else(|| Failure::Refused("its sealed content is not a token".into()))?
        };
        let expires_at = match self.announce(row, &to, &token).await? {
            Invited::Holds { expires_at } => expires_at,
            Invited::Overtaken => return Ok(Some("not sent: a later invitation holds".into())),
            Invited::Accepted => return Ok(Some("not sent: an invitation was accepted before".into())),
        };
        let platform = self.regions.knowing(&to.region).await.map_err(later)?;
        let link = self.platform.invitations.link(&to.slug, platform.domain_in(&to.region), token.expose());
        let letter = letter::invitation(row, &link, expires_at).map_err(Failure::Refused)?;
        let sent = self.mail.send(row, letter, &[address]).await;
        // A mail server may quote what it refuses.
        let blot = |text: String| text.replace(token.expose(), "***");
        match sent {
            Ok(note) => Ok(note.map(blot)),
            Err(Failure::Later(why)) => Err(Failure::Later(blot(why))),
            Err(Failure::Refused(why)) => Err(Failure::Refused(blot(why))),
        }
    }
}

/// What each of the two may take of a delivery's time.
pub(crate) fn half(platform: &Platform) -> std::time::Duration {
    platform.invitations.delivery.timeout.duration() / 2
}

/// An invitation that the tenant-api cannot read is refused; everything else may go well later.
fn failure(error: Error) -> Failure {
    if error.code == "tenant_api_refused" { Failure::Refused(error.message) } else { later(error) }
}

fn later(error: impl std::fmt::Display) -> Failure {
    Failure::Later(error.to_string())
}
