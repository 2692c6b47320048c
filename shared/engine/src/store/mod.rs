//! The control plane's state in Postgres. Only this module speaks to that database.
//!
//! Every change of a run is one statement (state, checkpoint, audit row and outbox together), fenced by run, seq, epoch
//! and claim; times are the database's own.

mod audit;
mod claim;
mod connections;
mod finish;
mod idempotency;
mod lock;
mod operate;
mod outbox;
mod read;
mod runs;
mod sweep;
mod take_over;
mod tenancy;
mod transition;
mod types;

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;

pub use claim::{Claim, ClaimedStep, Disposition};
pub use connections::Connection;
pub use idempotency::{KeyState, KeyUse, StoredResponse};
pub use lock::IdleTenant;
pub use operate::{OperateError, VerbOutcome, VerbRequest};
pub use outbox::{Backlog, Nacked, Outgoing, Patience, Quarantined, Sink, Undelivered};
pub use read::{AuditRow, PhaseRow, RunRow, Typical};
pub use sweep::Swept;
pub use take_over::RunView;
pub use tenancy::{PhaseTraits, Plain, Tenancy};
pub use types::{Applied, Hold, RunTransition, StepOutput, TransitionContext};

/// Parts for a transaction of the caller's own, in which something else is written with them: all of it or nothing.
pub mod transaction {
    pub use super::audit::audit;
    pub use super::idempotency::{keep as keep_key, take as take_key};
    pub use super::lock::{lock_idle, lock_run};
    pub use super::read::newest_run;
    pub use super::runs::{is_at_work, is_under_way, start_change, start_deprovisioning, start_provisioning};
}

/// The channel on which a committed change that a dispatcher should look at is announced. A hint: nothing depends on it.
pub const CHANNEL: &str = "tenantry_runs";

/// A connection to the control plane's database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: connections::Connections,
    tenancy: Arc<dyn Tenancy>,
}

/// A secret of a tenant as it is stored: encrypted under a data key, which is encrypted under a key-encryption key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The encrypted secret.
    pub text: Vec<u8>,
    /// The encrypted data key.
    pub data_key: Vec<u8>,
    /// Id of the key-encryption key.
    pub key_id: String,
}

impl Sealed {
    /// Of a row's three columns, which are all set or none.
    pub fn of(text: Option<Vec<u8>>, data_key: Option<Vec<u8>>, key_id: Option<String>) -> Option<Self> {
        Some(Self { text: text?, data_key: data_key?, key_id: key_id? })
    }
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A setting is missing or wrong.
    #[error("{0}")]
    Setting(String),
    /// The database refused or is not there.
    #[error("control-plane database: {0}")]
    Database(#[from] sqlx::Error),
    /// The migrations did not run.
    #[error("control-plane migrations: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A stored value is none that this version knows.
    #[error("control-plane database holds {what}, which this version does not know; deploy a newer one")]
    Unreadable {
        /// The value and where it is.
        what: String,
    },
}

impl StoreError {
    /// A stored value that this version does not know.
    pub fn unreadable(what: impl std::fmt::Display) -> Self {
        Self::Unreadable { what: what.to_string() }
    }
}

/// What the store returns.
pub type StoreResult<T> = Result<T, StoreError>;

impl Store {
    /// Connects, when first asked for something, with at most `connections` connections, to what `DATABASE_URL` says. A
    /// function's sandbox holds one, tested when it may have thawed. The runs are those of `tenancy`'s tenants.
    pub fn connect(connections: u32, tenancy: Arc<dyn Tenancy>) -> StoreResult<Self> {
        let url = std::env::var("DATABASE_URL").map_err(|_| {
            StoreError::Setting("DATABASE_URL is not set; set it to the control plane's Postgres URL".into())
        })?;
        Self::connect_to(&url, connections, tenancy)
    }

    /// As [`Store::connect`], to `url`.
    pub fn connect_to(url: &str, connections: u32, tenancy: Arc<dyn Tenancy>) -> StoreResult<Self> {
        let options = options("DATABASE_URL", url)?.application_name("tenantry");
        // A direct URL beside it says that this one goes through a transaction pooler, where a prepared statement of one
        // transaction is not there in the next, and which knows few of a session's settings.
        let pooled =
            std::env::var("DATABASE_DIRECT_URL").is_ok_and(|direct| !direct.is_empty() && direct != url);
        let options = if pooled {
            options.statement_cache_capacity(0)
        } else {
            // Every statement finds its rows by a key, so that a plan for known values is no better than one for any; but
            // Postgres makes five of them first, each longer to make than to run.
            options.options([("plan_cache_mode", "force_generic_plan")])
        };
        Ok(Self { pool: connections::Connections::new(options, connections)?, tenancy })
    }

    /// The tenants to whom the runs belong.
    pub fn tenancy(&self) -> &dyn Tenancy {
        &*self.tenancy
    }

    /// A connection, once one is free, for statements of the caller's own. Waits ten seconds at most.
    pub async fn connection(&self) -> StoreResult<Connection> {
        self.pool.get().await
    }

    /// Closes the connections. Whoever asks for one afterwards is refused.
    pub fn close(&self) {
        self.pool.close();
    }

    /// Brings the schema to this version. A second call does nothing.
    pub async fn migrate(&self) -> StoreResult<()> {
        Ok(sqlx::migrate!("./migrations").run(&mut *self.pool.get().await?).await?)
    }

    /// Whether the database answers, and whether what it says is committed is on disk.
    pub async fn ready(&self) -> StoreResult<Durability> {
        let row = sqlx::query!(
            r#"SELECT current_setting('fsync') = 'on' AS "fsync!",
                      current_setting('synchronous_commit') <> 'off' AS "synchronous_commit!",
                      current_setting('synchronous_standby_names') <> '' AS "standby!",
                      (SELECT count(*) FROM dispatching) AS "migrated!""#
        )
        .fetch_one(&mut *self.pool.get().await?)
        .await?;
        Ok(Durability { fsync: row.fsync, synchronous_commit: row.synchronous_commit, standby: row.standby })
    }

    /// Tells the dispatchers that something is due. Sent after the commit, never within it: a notification inside a
    /// transaction serialises all commits.
    pub async fn notify(&self) -> StoreResult<()> {
        sqlx::query!("SELECT pg_notify($1, '')", CHANNEL).execute(&mut *self.pool.get().await?).await?;
        Ok(())
    }
}

/// Refuses a `url`, the value of `variable`, that is none of a Postgres server.
pub fn check_url(variable: &str, url: &str) -> StoreResult<()> {
    options(variable, url).map(drop)
}

fn options(variable: &str, url: &str) -> StoreResult<PgConnectOptions> {
    // sqlx looks at no scheme, and its own error would quote the URL's password.
    ["postgres://", "postgresql://"]
        .into_iter()
        .find(|scheme| url.starts_with(scheme))
        .and_then(|_| url.parse().ok())
        .ok_or_else(|| {
            StoreError::Setting(format!(
                "{variable} is not a Postgres URL; use postgres://user:password@host:port/database"
            ))
        })
}

/// How safe a committed transition is.
#[derive(Clone, Copy, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Durability {
    /// Commits reach the disk.
    pub fsync: bool,
    /// Commits wait for it.
    pub synchronous_commit: bool,
    /// Commits wait for a standby too.
    pub standby: bool,
}
