//! `POST /api/v1/invitations/accept`: somebody with a token chooses a password, once. The one public call.
//!
//! A token is looked for by its hash: what the time of an answer tells of a hash opens nothing. The costly part, the
//! password's own hash, begins only for a token that holds, and only so many at once.

use crate::problem::{self, Problem};
use crate::request;
use crate::tables::{Acting, Tables};
use crate::users::{commit, failed};
use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, SaltString};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use license::invitation::Token;
use model::secret::Secret;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde::Deserialize;
use serde_json::json;
use std::sync::LazyLock;
use tokio::sync::Semaphore;
use uuid::Uuid;
use zeroize::Zeroize as _;

/// Shortest and longest password, in characters. The longest is far beyond what anybody types and bounds the work.
const PASSWORD: std::ops::RangeInclusive<usize> = 12..=256;

/// Hashes at once: each takes 19 MiB and a core for some tens of milliseconds.
static HASHING: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(2));

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Accept {
    token: String,
    password: String,
}

/// What is known of a token.
#[derive(sqlx::FromRow)]
struct Found {
    user_id: Uuid,
    accepted: bool,
    void: bool,
    expired: bool,
}

/// `POST /api/v1/invitations/accept`. Neither token nor password is in a log or an answer.
pub async fn accept(State(tables): State<Tables>, body: Result<Bytes, BytesRejection>) -> Response {
    match accepted(&tables, body).await {
        Ok((token, user)) => {
            tracing::info!(tenant.id = %token.tenant(), user.id = %user, "an invitation was accepted");
            Json(json!({ "tenantId": token.tenant(), "userId": user })).into_response()
        }
        Err(problem) => {
            tracing::info!(
                problem.code = problem.code(),
                problem.detail = problem.detail(),
                "an invitation was not accepted"
            );
            problem::for_the_public(problem).into_response()
        }
    }
}

async fn accepted(tables: &Tables, body: Result<Bytes, BytesRejection>) -> Result<(Token, Uuid), Problem> {
    let body = body.map_err(|rejection| problem::invalid("", rejection.body_text()))?;
    let mut asked: Accept = request::decode(&body)?;
    let token = Token::parse(&asked.token);
    asked.token.zeroize();
    let password = Secret::new(std::mem::take(&mut asked.password));
    if !PASSWORD.contains(&password.expose().chars().count()) {
        return Err(problem::password(&PASSWORD));
    }
    let token = token.ok_or_else(problem::no_invitation)?;
    let look = async || tables.act(token.tenant()).await?.ok_or_else(problem::no_invitation);
    // First without the hash of the password, and without a session while that is made.
    let user = state(&mut look().await?, &token, false).await?;
    let hash = hash(password).await?;
    let mut acting = look().await?;
    // The user before the invitation, as whoever makes an invitation does: neither waits for the other for ever.
    sqlx::query("SELECT FROM users WHERE tenant_id = $1 AND id = $2 FOR UPDATE")
        .bind(token.tenant().0)
        .bind(user)
        .execute(&mut *acting)
        .await
        .map_err(failed("locking the user"))?;
    let user = state(&mut acting, &token, true).await?;
    sqlx::query("UPDATE invitations SET accepted_at = now() WHERE tenant_id = $1 AND token_hash = $2")
        .bind(token.tenant().0)
        .bind(&token.hash()[..])
        .execute(&mut *acting)
        .await
        .map_err(failed("accepting the invitation"))?;
    sqlx::query("UPDATE users SET password_hash = $3 WHERE tenant_id = $1 AND id = $2")
        .bind(token.tenant().0)
        .bind(user)
        .bind(hash)
        .execute(&mut *acting)
        .await
        .map_err(failed("keeping the password's hash"))?;
    commit(acting).await?;
    Ok((token, user))
}

/// Whose invitation it is, if it holds. Locked, it holds until the transaction's end: of two at once, one is used.
async fn state(acting: &mut Acting, token: &Token, lock: bool) -> Result<Uuid, Problem> {
    let query = if lock {
        "SELECT user_id, accepted_at IS NOT NULL AS accepted, voided_at IS NOT NULL AS void, expires_at <= now() AS expired \
         FROM invitations WHERE tenant_id = $1 AND token_hash = $2 FOR UPDATE"
    } else {
        "SELECT user_id, accepted_at IS NOT NULL AS accepted, voided_at IS NOT NULL AS void, expires_at <= now() AS expired \
         FROM invitations WHERE tenant_id = $1 AND token_hash = $2"
    };
    let found: Option<Found> = sqlx::query_as(query)
        .bind(token.tenant().0)
        .bind(&token.hash()[..])
        .fetch_optional(&mut **acting)
        .await
        .map_err(failed("looking for the invitation"))?;
    match found {
        None => Err(problem::no_invitation()),
        Some(found) if found.accepted => {
            Err(problem::invitation_used("it was accepted before: sign in with the password"))
        }
        Some(found) if found.void => {
            Err(problem::invitation_void("a later one has taken its place: use that, or ask for another one"))
        }
        Some(found) if found.expired => {
            Err(problem::invitation_expired("its time is over: ask for another one"))
        }
        Some(found) => Ok(found.user_id),
    }
}

/// Argon2id with a salt of 128 random bits, in the PHC string format.
async fn hash(password: Secret) -> Result<String, Problem> {
    let busy = |why: String| problem::busy(why);
    let _turn = HASHING.acquire().await.map_err(|error| busy(error.to_string()))?;
    let made = tokio::task::spawn_blocking(move || {
        let mut salt = [0; 16];
        OsRng.try_fill_bytes(&mut salt).map_err(|error| error.to_string())?;
        let salt = SaltString::encode_b64(&salt).map_err(|error| error.to_string())?;
        let hash = Argon2::default().hash_password(password.expose().as_bytes(), &salt);
        hash.map(|hash| hash.to_string()).map_err(|error| error.to_string())
    });
    made.await.map_err(|error| busy(error.to_string()))?.map_err(busy)
}
