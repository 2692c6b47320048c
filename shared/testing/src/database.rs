//! A control plane's database.

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures::FutureExt as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tenants::Store;

use crate::required;

/// A control plane's database of the test's own, with the migrations.
#[derive(Clone, Debug)]
pub struct Database {
    /// As the control plane works in it.
    pub store: Store,
    /// As the test looks at it.
    pub pool: PgPool,
}

/// Runs the test with a fresh database, which goes with it, also after a panic. Each call makes another, whose name begins with
/// `what`. Panics as the test does, and where the database stays.
pub async fn with_database(what: &str, test: impl AsyncFnOnce(Database)) {
    let url = required("DATABASE_URL");
    let name = format!("{what}_{}", uuid::Uuid::new_v4().simple());
    let mut admin = PgConnection::connect(&url).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
    let (server, _) = url.rsplit_once('/').unwrap();
    let own = format!("{server}/{name}");
    let store = Store::connect_to(&own, 8).unwrap();
    let pool = PgPool::connect_lazy(&own).unwrap();
    let database = Database { store: store.clone(), pool: pool.clone() };
    let ended = AssertUnwindSafe(async {
        database.store.migrate().await.unwrap();
        test(database).await;
    })
    .catch_unwind()
    .await;
    pool.close().await;
    store.close();
    let dropped =
        sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).execute(&mut admin).await;
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
    dropped.unwrap();
}
