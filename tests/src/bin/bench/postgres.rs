//! The database's floor: one-statement transitions on a table shaped like ours, and connections without a pool's own work.

use std::sync::Mutex;

use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Connections of the floor. More than these do not make two to four cores faster; fewer keep commits from being
/// written together.
const CONNECTIONS: usize = 64;

/// Connections that are only handed round: no test, no ping, no limit of age.
pub struct Connections {
    idle: Mutex<Vec<PgConnection>>,
    places: Semaphore,
}

impl Connections {
    /// As many as are of use at this width.
    pub async fn open(url: &str, width: usize) -> Self {
        let count = width.min(CONNECTIONS);
        let mut idle = Vec::with_capacity(count);
        for _ in 0..count {
            idle.push(PgConnection::connect(url).await.expect("Postgres"));
        }
        Self { idle: Mutex::new(idle), places: Semaphore::new(count) }
    }

    /// One transition: a fenced update and its audit row in one statement.
    pub async fn transition(&self, run: Uuid) {
        let _place = self.places.acquire().await.expect("never closed");
        let mut connection = self.idle.lock().unwrap().pop().expect("as many as places");
        let seq: i64 = sqlx::query_scalar(
            "WITH run AS (
                 UPDATE floor_runs SET seq = seq + 1, claim = $2,
                        next_attempt_at = clock_timestamp(), sweep_at = clock_timestamp() + interval '10 s'
                 WHERE id = $1 AND epoch = 1 AND status = 'running' RETURNING id, tenant_id, seq
             ), audit AS (
                 INSERT INTO floor_audit (tenant_id, number, run_id, seq, action, phase, actor)
                 SELECT tenant_id, seq, id, seq, 'PHASE_DONE', 'NOTHING', 'bench' FROM run
             )
             SELECT seq FROM run",
        )
        .bind(run)
        .bind(Uuid::new_v4())
        .fetch_one(&mut connection)
        .await
        .expect("a transition");
        assert!(seq > 0);
        self.idle.lock().unwrap().push(connection);
    }

    /// Ends every session.
    pub async fn close(self) {
        for connection in self.idle.into_inner().unwrap() {
            drop(connection.close().await);
        }
    }
}

/// Makes the floor's tables, with the columns, indexes and fill factor of ours, and `width` runs.
pub async fn tables(pool: &PgPool, width: usize) -> Vec<Uuid> {
    pool.execute(
        "DROP TABLE IF EXISTS floor_runs, floor_audit;
         CREATE TABLE floor_runs (LIKE provisioning_runs INCLUDING ALL) WITH (fillfactor = 50);
         CREATE TABLE floor_audit (LIKE provisioning_audit_logs INCLUDING ALL)",
    )
    .await
    .expect("the floor's tables");
    let width = i64::try_from(width).unwrap();
    sqlx::query_scalar(
        "INSERT INTO floor_runs (id, tenant_id, kind, status, direction, phases, cursor, actor)
         SELECT gen_random_uuid(), gen_random_uuid(), 'provision', 'running', 'forward', '{NOTHING}', 0, 'bench'
         FROM generate_series(1, $1) RETURNING id",
    )
    .bind(width)
    .fetch_all(pool)
    .await
    .expect("the floor's runs")
}
