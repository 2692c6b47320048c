//! The outbox: what was written with a transition, to be told outside, until it has reached its sink.
//!
//! The oldest row of a tenant and sink that is neither delivered nor set aside is their head, and only a head is ever
//! claimed: that is the order. A claim holds for a time; whoever dies with it loses it, and the row is sent again.

use chrono::{DateTime, Utc};
use model::TenantId;
use model::platform::Seconds;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Sealed, Store, StoreResult};

model::names!(
    /// Where the relay delivers to.
    Sink {
        /// Events for other programs.
        Kafka = "kafka",
        /// Letters to the tenant's administrator.
        Email = "email",
        /// Letters to the platform's operators.
        Operators = "operators",
        /// Licences to the data plane.
        License = "license",
        /// Invitations of the tenants' administrators.
        Invitation = "invitation",
    }
);

/// A row that its claimer may deliver.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The event's id: the same however often it is sent.
    pub id: Uuid,
    /// Its place in the order of a tenant's rows.
    pub number: i64,
    /// Whom it is about.
    pub tenant_id: TenantId,
    /// Such as `tenant.provisioned`.
    pub kind: String,
    /// What was known when it was written. Holds no secret.
    pub payload: Value,
    /// A secret that belongs to it, until it is delivered.
    pub sealed: Option<Sealed>,
    /// When it happened.
    pub created_at: DateTime<Utc>,
    /// How often it was claimed, this time included.
    pub attempts: i32,
    /// How often it was refused for good.
    pub refusals: i32,
    /// The claim that every write about it names.
    pub claim: Uuid,
}

/// What becomes of a row that was not delivered.
#[derive(Clone, Debug)]
pub struct Undelivered<'a> {
    /// Why, in words. Holds no secret.
    pub error: &'a str,
    /// The sink has refused this very row, and will again.
    pub refused: bool,
    /// When it is tried again, counted from now.
    pub after: Seconds,
    /// After so many refusals it is tried no more by itself, and the tenant's next one becomes the head; none: never.
    pub patience: Option<Patience>,
}

/// How much refusing a row is tried through. What only looks like a refusal (a mail server that is being deployed and denies
/// everybody) shall not set a backlog aside: it has to last as well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patience {
    /// At least so many refusals.
    pub refusals: i32,
    /// The first of them at least so long ago.
    pub over: Seconds,
}

/// What became of a row that was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nacked {
    /// It is tried again.
    Waits,
    /// It was refused too often.
    Quarantined,
    /// The claim was no longer the caller's; nothing is written.
    Lost,
}

/// What waits at a sink.
#[derive(Clone, Debug, PartialEq)]
pub struct Backlog {
    /// The sink.
    pub sink: String,
    /// Rows to be delivered.
    pub waiting: i64,
    /// Those of them that have failed at least once.
    pub failing: i64,
    /// Rows that were refused too often, kept until somebody has them sent again.
    pub set_aside: i64,
    /// Age of the oldest waiting one, in seconds; 0 when none waits.
    pub oldest_seconds: f64,
}

/// A row that was refused too often.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns of `outbox`, which say it")]
pub struct Quarantined {
    pub id: Uuid,
    pub tenant_id: Uuid,
    pub sink: String,
    pub kind: String,
    pub attempts: i32,
    pub last_error: Option<String>,
    pub set_aside_at: DateTime<Utc>,
}

impl Store {
    /// Claims heads of this sink whose time has come, the oldest first, at most `limit`, for as long as `hold`. Each is
    /// claimed by one caller, however many call. An invitation waits until its tenant is ACTIVE: before that there is nothing
    /// to be invited to, and perhaps never will be.
    pub async fn claim_outbox(&self, sink: Sink, limit: i64, hold: Seconds) -> StoreResult<Vec<Outgoing>> {
        let claim = Uuid::new_v4();
        // The second look at each row's own columns is made after it is locked, at its newest version: another caller may
        // have claimed or delivered it since the heads were found.
        let rows = sqlx::query!(
            r#"WITH heads AS (
                   SELECT DISTINCT ON (tenant_id) id FROM outbox w
                   WHERE sink = $1 AND delivered_at IS NULL AND set_aside_at IS NULL
                     AND (sink <> 'invitation'
                          OR EXISTS (SELECT FROM tenants t WHERE t.id = w.tenant_id AND t.status = 'ACTIVE'))
                   ORDER BY tenant_id, number
               ), due AS (
                   SELECT o.id FROM outbox o JOIN heads ON heads.id = o.id
                   WHERE o.delivered_at IS NULL AND o.set_aside_at IS NULL
                     AND o.next_attempt_at <= clock_timestamp()
                     AND (o.claimed_until IS NULL OR o.claimed_until <= clock_timestamp())
                   ORDER BY o.number LIMIT $2 FOR UPDATE OF o SKIP LOCKED
               )
               UPDATE outbox o
               SET claim = $3, claimed_until = clock_timestamp() + make_interval(secs => $4), attempts = o.attempts + 1
               FROM due WHERE o.id = due.id
               RETURNING o.id, o.number, o.tenant_id, o.type AS kind, o.payload, o.sealed, o.wrapped_key, o.kek_id,
                         o.created_at, o.attempts, o.refusals"#,
            sink.as_str(),
            limit,
            claim,
            hold.0
        )
        .fetch_all(&mut *self.pool.get().await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Outgoing {
                id: row.id,
                number: row.number,
                tenant_id: TenantId(row.tenant_id),
                kind: row.kind,
                payload: row.payload,
                sealed: Sealed::of(row.sealed, row.wrapped_key, row.kek_id),
                created_at: row.created_at,
                attempts: row.attempts,
                refusals: row.refusals,
                claim,
            })
            .collect())
    }

    /// Writes that the sink has acknowledged the row, with what it had to say besides, and erases its secret. False when the claim is no longer
    /// the caller's: another may send it again.
    pub async fn outbox_delivered(&self, row: &Outgoing, note: Option<&str>) -> StoreResult<bool> {
        let done = sqlx::query!(
            r#"UPDATE outbox
               SET delivered_at = clock_timestamp(), claim = NULL, claimed_until = NULL, last_error = $3,
                   sealed = NULL, wrapped_key = NULL, kek_id = NULL
               WHERE id = $1 AND claim = $2 AND delivered_at IS NULL"#,
            row.id,
            row.claim,
            note
        )
        .execute(&mut *self.pool.get().await?)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Writes that the row was not delivered, and gives it back.
    pub async fn outbox_undelivered(&self, row: &Outgoing, why: &Undelivered<'_>) -> StoreResult<Nacked> {
        let set_aside = sqlx::query_scalar!(
            r#"UPDATE outbox
               SET claim = NULL, claimed_until = NULL, last_error = $3, refusals = refusals + $4::bool::int,
                   refused_since = CASE WHEN $4 THEN COALESCE(refused_since, clock_timestamp()) ELSE refused_since END,
                   next_attempt_at = clock_timestamp() + make_interval(secs => $5),
                   set_aside_at = CASE
                       WHEN $4 AND refusals + 1 >= $6::int
                            AND COALESCE(refused_since, clock_timestamp()) + make_interval(secs => $7) <= clock_timestamp()
                       THEN clock_timestamp() END
               WHERE id = $1 AND claim = $2 AND delivered_at IS NULL
               RETURNING set_aside_at IS NOT NULL AS "set_aside!""#,
            row.id,
            row.claim,
            why.error,
            why.refused,
            why.after.0,
            why.patience.map(|patience| patience.refusals),
            why.patience.map_or(0.0, |patience| patience.over.0)
        )
        .fetch_optional(&mut *self.pool.get().await?)
        .await?;
        Ok(match set_aside {
            Some(true) => Nacked::Quarantined,
            Some(false) => Nacked::Waits,
            None => Nacked::Lost,
        })
    }

    /// What waits at each sink, a sink without anything included. Invitations of tenants that are not ACTIVE are not due.
    pub async fn outbox_backlog(&self) -> StoreResult<Vec<Backlog>> {
        let sinks: Vec<String> = Sink::NAMES.iter().map(ToString::to_string).collect();
        let rows = sqlx::query!(
            r#"SELECT s.sink AS "sink!", w.waiting AS "waiting!", w.failing AS "failing!", w.oldest AS "oldest!",
                      (SELECT count(*) FROM outbox a
                       WHERE a.sink = s.sink AND a.delivered_at IS NULL AND a.set_aside_at IS NOT NULL) AS "set_aside!"
               FROM unnest($1::text[]) AS s (sink) CROSS JOIN LATERAL (
                   SELECT count(*) AS waiting, count(o.last_error) AS failing,
                          COALESCE(EXTRACT(EPOCH FROM clock_timestamp() - min(o.created_at)), 0)::float8 AS oldest
                   FROM outbox o
                   WHERE o.sink = s.sink AND o.delivered_at IS NULL AND o.set_aside_at IS NULL
                     AND (o.sink <> 'invitation'
                          OR EXISTS (SELECT FROM tenants t WHERE t.id = o.tenant_id AND t.status = 'ACTIVE'))
               ) w"#,
            &sinks
        )
        .fetch_all(&mut *self.pool.get().await?)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Backlog {
                sink: row.sink,
                waiting: row.waiting,
                failing: row.failing,
                set_aside: row.set_aside,
                oldest_seconds: row.oldest,
            })
            .collect())
    }

    /// The rows that were refused too often, oldest first, at most `limit`.
    pub async fn outbox_set_aside(&self, limit: i64) -> StoreResult<Vec<Quarantined>> {
        Ok(sqlx::query_as!(
            Quarantined,
            r#"SELECT id, tenant_id, sink, type AS kind, attempts, last_error, set_aside_at AS "set_aside_at!"
               FROM outbox WHERE delivered_at IS NULL AND set_aside_at IS NOT NULL ORDER BY number LIMIT $1"#,
            limit
        )
        .fetch_all(&mut *self.pool.get().await?)
        .await?)
    }

    /// Lets rows that were set aside be tried anew, all of them or the one with this id; how many. They come after what was
    /// delivered in the meantime.
    pub async fn outbox_replay(&self, id: Option<Uuid>) -> StoreResult<u64> {
        let done = sqlx::query!(
            r#"UPDATE outbox SET set_aside_at = NULL, refusals = 0, refused_since = NULL,
                      next_attempt_at = clock_timestamp()
               WHERE delivered_at IS NULL AND set_aside_at IS NOT NULL AND ($1::uuid IS NULL OR id = $1)"#,
            id as Option<Uuid>
        )
        .execute(&mut *self.pool.get().await?)
        .await?;
        Ok(done.rows_affected())
    }
}
