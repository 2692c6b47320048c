//! Connections to the control plane's database.
//!
//! sqlx's own pool asks the server after every use whether the connection still works, and hands the connections out in
//! turn. Beside statements that take a fraction of a millisecond that is a large part of a step. deadpool leaves to its
//! manager when to ask, and hands out the one that was used last, whose server process is warm.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, QueueMode, RecycleError, Timeouts};
use deadpool::{Runtime, managed::RecycleResult};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::{StoreError, StoreResult};

/// How long a caller waits for a connection, and how long making one may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A server that does not answer a test within this is taken for gone.
const TEST_WITHIN: Duration = Duration::from_secs(5);
/// A connection that was used a shorter time ago is taken for alive: no sandbox was frozen in between.
const FRESH: Duration = Duration::from_secs(1);
/// Connections are replaced after this, since a server's process only ever grows.
const MAX_AGE: Duration = Duration::from_mins(30);

/// A bounded number of connections, made when first needed. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Connections(Pool<Connector>);

#[derive(Debug)]
struct Connector(PgConnectOptions);

#[derive(Debug)]
struct Pooled {
    connection: PgConnection,
    /// Its last use ended well, as far as it said so.
    clean: bool,
}

impl Manager for Connector {
    type Type = Pooled;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<Pooled> {
        Ok(Pooled { connection: self.0.connect().await?, clean: false })
    }

    async fn recycle(&self, pooled: &mut Pooled, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.age() > MAX_AGE {
            return Err(RecycleError::message("old"));
        }
        if !pooled.clean || metrics.last_used() > FRESH {
            pooled.connection.ping().await?;
        }
        pooled.clean = false;
        Ok(())
    }
}

impl Connections {
    pub(super) fn new(options: PgConnectOptions, connections: u32) -> StoreResult<Self> {
        let pool = Pool::builder(Connector(options))
            .max_size(usize::try_from(connections).unwrap_or(usize::MAX))
            .queue_mode(QueueMode::Lifo)
            .timeouts(Timeouts { wait: Some(PATIENCE), create: Some(PATIENCE), recycle: Some(TEST_WITHIN) })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| StoreError::Setting(error.to_string()))?;
        Ok(Self(pool))
    }

    /// A connection, once one is free. Returned when dropped.
    pub(super) async fn get(&self) -> StoreResult<Connection> {
        // Boxed, as it is large and part of every step's future.
        let leased = Box::pin(self.0.get()).await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            _ => sqlx::Error::PoolTimedOut,
        })?;
        Ok(Connection { held: Some(leased) })
    }

    /// Closes all of them; those in use when they are returned.
    pub(super) fn close(&self) {
        self.0.close();
    }
}

/// A connection of the pool, for one use.
#[derive(Debug)]
pub struct Connection {
    /// Until it is dropped.
    held: Option<Object<Connector>>,
}

impl Connection {
    /// Takes note of how the use ended: after a good end the connection is returned as it is. Without this it is tested
    /// first. When the server has gone away, the idle ones are given up too.
    pub fn ended<T>(mut self, result: sqlx::Result<T>) -> StoreResult<T> {
        if let Some(held) = &mut self.held {
            match &result {
                Ok(_) => held.clean = true,
                Err(sqlx::Error::Io(_)) => {
                    if let Some(pool) = Object::pool(held) {
                        drop(pool.retain(|_, _| false));
                    }
                }
                Err(_) => {}
            }
        }
        Ok(result?)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(mut held) = self.held.take() else { return };
        if held.clean {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // A transaction that was dropped is rolled back with the next thing that is sent; until then it holds its locks.
        runtime.spawn(async move {
            if tokio::time::timeout(TEST_WITHIN, held.connection.ping()).await.is_ok_and(|pong| pong.is_ok())
            {
                held.clean = true;
            } else {
                drop(Object::take(held));
            }
        });
    }
}

#[expect(clippy::expect_used, reason = "only dropping takes it")]
impl Deref for Connection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.held.as_ref().expect("held until dropped").connection
    }
}

#[expect(clippy::expect_used, reason = "only dropping takes it")]
impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.held.as_mut().expect("held until dropped").connection
    }
}
