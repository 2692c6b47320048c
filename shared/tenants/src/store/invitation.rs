//! Invitations: rows of the outbox with a sealed token. This module moves bytes and knows no key.
//!
//! Of a tenant at most one waits: a later one takes its place, in the transaction that writes it. Which of two reached the
//! data plane first does not matter either: the row's number, which grows under the tenant's lock, goes with the hash, and
//! the data plane goes by the highest.

use engine::phase::{Owner, Scope};
use engine::store::{KeyState, KeyUse, Sealed, Sink, StoreError, StoreResult, StoredResponse, transaction};
use model::TenantId;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::Store;

/// The phase that makes the administrator, without whom there is nobody to invite.
const PHASE: &str = "CREATE_BOOTSTRAP_USER";

/// The newest invitation of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredInvitation {
    /// The outbox row's id.
    pub id: Uuid,
    /// The token; none once it was delivered.
    pub sealed: Option<Sealed>,
}

/// What became of an invitation that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvitationStored {
    /// It waits to be sent.
    Waiting,
    /// Another has come since the caller looked: look again.
    Overtaken,
    /// The run is no longer the caller's: nothing was written.
    Fenced,
}

/// Why nobody was invited again. Nothing is written then.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// Only an ACTIVE tenant's administrator is.
    #[error("the tenant is {0}")]
    NotActive(String),
    /// The tenant was made without one.
    #[error("the tenant was made without a bootstrap user")]
    Nobody,
    /// The idempotency key is spoken for; see the state.
    #[error("idempotency key: {0:?}")]
    Key(KeyState),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for InviteError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A waiting invitation, for the rewrap.
#[derive(Clone, Debug)]
pub struct SealedRow {
    /// The outbox row's id.
    pub id: Uuid,
    /// Whose.
    pub tenant_id: TenantId,
    /// The token.
    pub sealed: Sealed,
}

impl Store {
    /// The tenant's newest invitation, sent or not.
    pub async fn invitation(&self, tenant: TenantId) -> StoreResult<Option<StoredInvitation>> {
        let row = sqlx::query!(
            r#"SELECT id, sealed, wrapped_key, kek_id FROM outbox WHERE tenant_id = $1 AND sink = $2
               ORDER BY number DESC LIMIT 1"#,
            tenant.0,
            Sink::Invitation.as_str()
        )
        .fetch_optional(&mut *self.connection().await?)
        .await?;
        Ok(row.map(|row| StoredInvitation {
            id: row.id,
            sealed: Sealed::of(row.sealed, row.wrapped_key, row.kek_id),
        }))
    }

    /// Writes an invitation in place of `instead_of`, the newest that the caller has seen (or none). It is sent when the
    /// tenant is ACTIVE. `owner` is whoever works on the run.
    pub async fn store_invitation(
        &self,
        owner: &Owner,
        id: Uuid,
        sealed: &Sealed,
        instead_of: Option<Uuid>,
    ) -> StoreResult<InvitationStored> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().await?;
        if !transaction::is_at_work(&mut transaction, owner).await? {
            return Ok(InvitationStored::Fenced);
        }
        let newest = sqlx::query_scalar!(
            "SELECT id FROM outbox WHERE tenant_id = $1 AND sink = $2 ORDER BY number DESC LIMIT 1",
            owner.tenant_id.0,
            Sink::Invitation.as_str()
        )
        .fetch_optional(&mut *transaction)
        .await?;
        if newest != instead_of {
            return Ok(InvitationStored::Overtaken);
        }
        let more = json!({ "runId": owner.run_id });
        insert(&mut transaction, owner.tenant_id, id, sealed, &more).await?;
        transaction.commit().await?;
        Ok(InvitationStored::Waiting)
    }

    /// Undoes [`Store::store_invitation`] as far as `owner` may: takes away what waits, a rollback only what its own run has
    /// written. How many; none if nothing waits. `None` when the run is no longer the caller's.
    pub async fn withdraw_invitations(&self, owner: &Owner) -> StoreResult<Option<u64>> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().await?;
        if !transaction::is_at_work(&mut transaction, owner).await? {
            return Ok(None);
        }
        let withdrawn = sqlx::query!(
            r#"DELETE FROM outbox WHERE tenant_id = $1 AND sink = $2 AND delivered_at IS NULL
                   AND ($3 OR payload ->> 'runId' = $4)"#,
            owner.tenant_id.0,
            Sink::Invitation.as_str(),
            owner.scope == Scope::Tenant,
            owner.run_id.to_string()
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Some(withdrawn.rows_affected()))
    }

    /// Writes a new invitation for an ACTIVE tenant's administrator, with its audit row and the key's answer. One that still
    /// waits is taken away; one that was sent is voided when the new one is sent, by whoever sends it.
    pub async fn invite_again(
        &self,
        tenant: TenantId,
        id: Uuid,
        sealed: &Sealed,
        actor: &str,
        key: &KeyUse<'_>,
        response: StoredResponse,
    ) -> Result<StoredResponse, InviteError> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().await?;
        match transaction::take_key(&mut transaction, key).await? {
            KeyState::Free => {}
            state => return Err(InviteError::Key(state)),
        }
        // Locked: an end of the tenant that begins now finds what is written here.
        let found = sqlx::query!(
            r#"SELECT status, EXISTS (SELECT FROM tenant_phases WHERE tenant_id = t.id AND name = $2) AS "user!"
               FROM tenants t WHERE id = $1 FOR NO KEY UPDATE"#,
            tenant.0,
            PHASE
        )
        .fetch_one(&mut *transaction)
        .await?;
        if found.status != "ACTIVE" {
            return Err(InviteError::NotActive(found.status));
        }
        if !found.user {
            return Err(InviteError::Nobody);
        }
        insert(&mut transaction, tenant, id, sealed, &json!({ "actor": actor })).await?;
        let detail = json!({ "invitationId": id });
        transaction::audit(&mut transaction, tenant, None, "INVITATION_RENEWED", actor, &detail).await?;
        transaction::keep_key(&mut transaction, key, &response).await?;
        let committed = transaction.commit().await;
        connection.ended(committed)?;
        Ok(response)
    }

    /// Waiting invitations whose data key is wrapped by another key than `kek_id`, after `after` in order of their ids, at
    /// most `limit`.
    pub async fn invitations_not_under(
        &self,
        kek_id: &str,
        after: Uuid,
        limit: i64,
    ) -> StoreResult<Vec<SealedRow>> {
        let rows = sqlx::query!(
            r#"SELECT id, tenant_id, sealed AS "sealed!", wrapped_key AS "wrapped_key!", kek_id AS "kek_id!" FROM outbox
               WHERE sink = $4 AND delivered_at IS NULL AND kek_id <> $1 AND id > $2 ORDER BY id LIMIT $3"#,
            kek_id,
            after,
            limit,
            Sink::Invitation.as_str()
        )
        .fetch_all(&mut *self.connection().await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| SealedRow {
                id: row.id,
                tenant_id: TenantId(row.tenant_id),
                sealed: Sealed { text: row.sealed, data_key: row.wrapped_key, key_id: row.kek_id },
            })
            .collect())
    }

    /// Replaces the wrapped data key of a waiting invitation, unless that has changed (or was sent) since it was read.
    pub async fn rewrap_invitation(&self, read: &SealedRow, fresh: &Sealed) -> StoreResult<bool> {
        let done = sqlx::query!(
            "UPDATE outbox SET wrapped_key = $3, kek_id = $4 WHERE id = $1 AND wrapped_key = $2",
            read.id,
            read.sealed.data_key,
            fresh.data_key,
            fresh.key_id
        )
        .execute(&mut *self.connection().await?)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}

/// Writes the row in the place of what waits. It says whom it goes to and where, and of the token only what is sealed.
async fn insert(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
    sealed: &Sealed,
    more: &Value,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM outbox WHERE tenant_id = $1 AND sink = $2 AND delivered_at IS NULL",
        tenant.0,
        Sink::Invitation.as_str()
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        r#"INSERT INTO outbox (id, tenant_id, sink, type, payload, sealed, wrapped_key, kek_id)
           SELECT $2, t.id, $3, 'user.invited',
                  jsonb_build_object('tenantId', t.id, 'slug', t.slug, 'name', t.name, 'region', t.region,
                                     'adminEmail', t.admin_email) || $4::jsonb, $5, $6, $7
           FROM tenants t WHERE t.id = $1"#,
        tenant.0,
        id,
        Sink::Invitation.as_str(),
        more,
        sealed.text,
        sealed.data_key,
        sealed.key_id
    )
    .execute(connection)
    .await?;
    Ok(())
}
