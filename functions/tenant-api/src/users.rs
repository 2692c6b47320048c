//! A tenant's administrator, and their invitation, when the control plane asks.
//!
//! - `POST /internal/users/bootstrap`: the one administrator whom the control plane makes, known by the address.
//! - `POST /internal/users/invite`: the hash of the invitation that holds from now on.
//! - `POST /internal/users/remove`: takes away the administrator that a run made.
//!
//! Of an address, what is before the `@` is kept as it is written and the rest made lower case; two that differ in case only
//! are one person. No password comes this way, and no token.

use crate::problem::{self, Problem};
use crate::request::{self, Bytes32};
use crate::tables::{Acting, Tables};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use model::TenantId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

/// Who brings the tenant in must be able to do everything, and to let others in.
const ROLE: &str = "owner";

/// Body of `POST /internal/users/bootstrap`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bootstrap {
    tenant_id: TenantId,
    run_id: Uuid,
    email: Email,
}

/// Body of `POST /internal/users/invite`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Invite {
    tenant_id: TenantId,
    email: Email,
    number: i64,
    token_hash: Bytes32,
    /// Seconds.
    valid_for: u32,
}

/// Body of `POST /internal/users/remove`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Remove {
    tenant_id: TenantId,
    run_id: Uuid,
}

/// An address as it is compared: trimmed, its domain in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Email(String);

impl TryFrom<String> for Email {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let text = text.trim();
        let parts = text.rsplit_once('@').filter(|(local, domain)| !local.is_empty() && !domain.is_empty());
        let Some((local, domain)) = parts else { return Err("must be an e-mail address") };
        // RFC 5321, 4.5.3.1.3: a path has 256 octets, its angle brackets included.
        if text.len() > 254 || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("must be an e-mail address of at most 254 bytes");
        }
        Ok(Self(format!("{local}@{}", domain.to_lowercase())))
    }
}

#[derive(sqlx::FromRow, Serialize)]
#[serde(rename_all = "camelCase")]
struct User {
    user_id: Uuid,
    created_by_run: Option<Uuid>,
}

/// `POST /internal/users/bootstrap`.
pub async fn bootstrap(State(tables): State<Tables>, body: Result<Bytes, BytesRejection>) -> Response {
    answer("bootstrap user", &tables, body, async |asked: &Bootstrap| {
        let mut acting = acting(&tables, asked.tenant_id).await?;
        // By either index: the address is there, or another one is the administrator.
        sqlx::query(
            "INSERT INTO users (tenant_id, email, role, created_by_run) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
        )
        .bind(asked.tenant_id.0)
        .bind(&asked.email.0)
        .bind(ROLE)
        .bind(asked.run_id)
        .execute(&mut *acting)
        .await
        .map_err(failed("making the user"))?;
        let user: Option<User> = sqlx::query_as(
            "SELECT id AS user_id, created_by_run FROM users WHERE tenant_id = $1 AND lower(email) = lower($2)",
        )
        .bind(asked.tenant_id.0)
        .bind(&asked.email.0)
        .fetch_optional(&mut *acting)
        .await
        .map_err(failed("reading the user"))?;
        let user = user.ok_or_else(problem::other_bootstrap_user)?;
        commit(acting).await?;
        Ok(json!(user))
    })
    .await
}

/// `POST /internal/users/invite`.
pub async fn invite(State(tables): State<Tables>, body: Result<Bytes, BytesRejection>) -> Response {
    answer("invite user", &tables, body, async |asked: &Invite| {
        let mut acting = acting(&tables, asked.tenant_id).await?;
        // Locked: of two invitations at once, the second finds the first.
        let user: Option<(Uuid, bool)> = sqlx::query_as(
            "SELECT id, password_hash IS NOT NULL FROM users WHERE tenant_id = $1 AND lower(email) = lower($2) \
             FOR UPDATE",
        )
        .bind(asked.tenant_id.0)
        .bind(&asked.email.0)
        .fetch_optional(&mut *acting)
        .await
        .map_err(failed("reading the user"))?;
        let (user, accepted) = user.ok_or_else(problem::no_user)?;
        if accepted {
            return Ok(json!({ "outcome": "accepted" }));
        }
        let later: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM invitations WHERE tenant_id = $1 AND user_id = $2 AND number > $3)",
        )
        .bind(asked.tenant_id.0)
        .bind(user)
        .bind(asked.number)
        .fetch_one(&mut *acting)
        .await
        .map_err(failed("reading the invitations"))?;
        if later {
            return Ok(json!({ "outcome": "overtaken" }));
        }
        sqlx::query(
            "UPDATE invitations SET voided_at = now() \
             WHERE tenant_id = $1 AND user_id = $2 AND token_hash <> $3 AND voided_at IS NULL",
        )
        .bind(asked.tenant_id.0)
        .bind(user)
        .bind(&asked.token_hash.0[..])
        .execute(&mut *acting)
        .await
        .map_err(failed("voiding the invitations before"))?;
        let seconds = i64::from(asked.valid_for) * 1_000_000;
        let expires_at: chrono::DateTime<chrono::Utc> = sqlx::query_scalar(
            "INSERT INTO invitations (tenant_id, token_hash, user_id, number, expires_at) \
             VALUES ($1, $2, $3, $4, now() + $5) \
             ON CONFLICT (tenant_id, token_hash) DO UPDATE SET expires_at = excluded.expires_at \
             RETURNING expires_at",
        )
        .bind(asked.tenant_id.0)
        .bind(&asked.token_hash.0[..])
        .bind(user)
        .bind(asked.number)
        .bind(PgInterval { months: 0, days: 0, microseconds: seconds })
        .fetch_one(&mut *acting)
        .await
        .map_err(failed("keeping the invitation"))?;
        commit(acting).await?;
        Ok(json!({ "outcome": "holds", "expiresAt": expires_at }))
    })
    .await
}

/// `POST /internal/users/remove`.
pub async fn remove(State(tables): State<Tables>, body: Result<Bytes, BytesRejection>) -> Response {
    answer("remove user", &tables, body, async |asked: &Remove| {
        // Without tables there is nobody in them, and where this instance may not act it has made nobody.
        let mut acting = match tables.act(asked.tenant_id).await {
            Ok(Some(acting)) => acting,
            Ok(None) => return Ok(json!({ "removed": false })),
            Err(problem) if problem::is_forbidden(&problem) => return Ok(json!({ "removed": false })),
            Err(problem) => return Err(problem),
        };
        // A run that came no further than the schema has made nobody either.
        let there: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('users') \
                            AND attname = 'created_by_run')",
        )
        .fetch_one(&mut *acting)
        .await
        .map_err(failed("looking for the table of users"))?;
        if !there {
            return Ok(json!({ "removed": false }));
        }
        let removed = sqlx::query("DELETE FROM users WHERE tenant_id = $1 AND created_by_run = $2")
            .bind(asked.tenant_id.0)
            .bind(asked.run_id)
            .execute(&mut *acting)
            .await
            .map_err(failed("removing the user"))?;
        commit(acting).await?;
        Ok(json!({ "removed": removed.rows_affected() > 0 }))
    })
    .await
}

async fn acting(tables: &Tables, tenant: TenantId) -> Result<Acting, Problem> {
    tables.act(tenant).await?.ok_or_else(|| problem::no_tables(tenant))
}

pub async fn commit(acting: Acting) -> Result<(), Problem> {
    acting.commit().await.map_err(failed("committing"))
}

pub fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> Problem {
    move |error| problem::from_sql(doing, &error)
}

trait OfTenant {
    fn tenant(&self) -> TenantId;
}

impl OfTenant for Bootstrap {
    fn tenant(&self) -> TenantId {
        self.tenant_id
    }
}

impl OfTenant for Invite {
    fn tenant(&self) -> TenantId {
        self.tenant_id
    }
}

impl OfTenant for Remove {
    fn tenant(&self) -> TenantId {
        self.tenant_id
    }
}

/// Parses, does, logs how it went, answers. Addresses and hashes are in no log.
async fn answer<T: DeserializeOwned + OfTenant>(
    operation: &'static str,
    tables: &Tables,
    body: Result<Bytes, BytesRejection>,
    work: impl AsyncFnOnce(&T) -> Result<Value, Problem>,
) -> Response {
    let parsed = body
        .map_err(|rejection| problem::invalid("", rejection.body_text()))
        .and_then(|body| request::decode::<T>(&body));
    let asked = match parsed {
        Ok(asked) => asked,
        Err(problem) => {
            tracing::warn!(operation, problem.detail = problem.detail(), "refused");
            return problem.into_response();
        }
    };
    let tenant = asked.tenant();
    let outcome = match tables.serves(tenant) {
        Ok(()) => work(&asked).await,
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(value) => {
            tracing::info!(operation, tenant.id = %tenant, "done");
            Json(value).into_response()
        }
        Err(problem) => {
            tracing::warn!(operation, tenant.id = %tenant, problem.code = problem.code(),
                problem.detail = problem.detail(), "failed");
            problem.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_trimmed_and_its_domain_lower_case() {
        let email = |text: &str| Email::try_from(text.to_owned()).map(|email| email.0);
        assert_eq!(email(" Ann.O@ACME.Example ").unwrap(), "Ann.O@acme.example");
        assert_eq!(email("\"a@b\"@ÄCME.example").unwrap(), "\"a@b\"@äcme.example");
        let long = format!("{}@acme.example", "a".repeat(250));
        for bad in ["", "acme", "@acme.example", "ann@", "a b@acme.example", "a@b\u{7}", &long] {
            assert!(email(bad).is_err(), "{bad}");
        }
    }
}
