//! Idempotency keys: the same key and body get the first answer again.

use model::platform::Seconds;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use super::{Store, StoreResult};

/// An answer as it was given the first time.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredResponse {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Value,
    /// Headers, an object of texts.
    pub headers: Value,
}

/// A key in use.
#[derive(Clone, Copy, Debug)]
pub struct KeyUse<'a> {
    /// The token's name: keys of different callers do not meet.
    pub actor: &'a str,
    /// The key.
    pub key: &'a str,
    /// Hash of method, path and body.
    pub body_hash: &'a [u8],
    /// How long it is kept.
    pub kept: Seconds,
}

/// What a key stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyState {
    /// Nothing yet.
    Free,
    /// This request, answered before.
    Answered(StoredResponse),
    /// Another request.
    OtherBody,
    /// A request that is being answered at this moment.
    InFlight,
}

/// Takes the key for the rest of the transaction. An advisory lock rather than an insert that blocks: the second of two
/// requests at once is told so immediately.
pub async fn take(connection: &mut PgConnection, key: &KeyUse<'_>) -> StoreResult<KeyState> {
    let taken = sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_xact_lock(hashtextextended($1 || chr(10) || $2, 1)) AS "taken!""#,
        key.actor,
        key.key
    )
    .fetch_one(&mut *connection)
    .await?;
    if !taken {
        return Ok(KeyState::InFlight);
    }
    let row = sqlx::query!(
        r#"SELECT body_hash, status, response, headers FROM idempotency_keys
           WHERE actor = $1 AND key = $2 AND created_at > clock_timestamp() - make_interval(secs => $3)"#,
        key.actor,
        key.key,
        key.kept.0
    )
    .fetch_optional(connection)
    .await?;
    Ok(match row {
        None => KeyState::Free,
        Some(row) if row.body_hash != key.body_hash => KeyState::OtherBody,
        Some(row) => KeyState::Answered(StoredResponse {
            status: u16::try_from(row.status).unwrap_or(500),
            body: row.response,
            headers: row.headers,
        }),
    })
}

/// Keeps the answer with the key; replaces one that is older than its time.
pub async fn keep(
    connection: &mut PgConnection,
    key: &KeyUse<'_>,
    response: &StoredResponse,
) -> StoreResult<()> {
    sqlx::query!(
        r#"INSERT INTO idempotency_keys (actor, key, body_hash, status, response, headers) VALUES ($1, $2, $3, $4, $5, $6)
           ON CONFLICT (actor, key) DO UPDATE
           SET body_hash = excluded.body_hash, status = excluded.status, response = excluded.response,
               headers = excluded.headers, created_at = clock_timestamp()"#,
        key.actor,
        key.key,
        key.body_hash,
        i16::try_from(response.status).unwrap_or(500),
        response.body,
        response.headers
    )
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// What the key stands for at this moment. It is not taken.
    pub async fn key_state(&self, key: &KeyUse<'_>) -> StoreResult<KeyState> {
        let mut connection = self.pool.get().await?;
        let mut transaction = connection.begin().await?;
        let state = take(&mut transaction, key).await?;
        let ended = transaction.rollback().await;
        connection.ended(ended)?;
        Ok(state)
    }

    /// Forgets keys whose time has passed; returns how many.
    pub async fn forget_keys(&self, kept: Seconds) -> StoreResult<u64> {
        let done = sqlx::query!(
            "DELETE FROM idempotency_keys WHERE created_at <= clock_timestamp() - make_interval(secs => $1)",
            kept.0
        )
        .execute(&mut *self.pool.get().await?)
        .await?;
        Ok(done.rows_affected())
    }
}
