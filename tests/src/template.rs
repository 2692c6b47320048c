//! The control plane's schema, made once for a stack and copied for each test: a copy takes a tenth of the migrations' time.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tenants::Store;

use crate::environment::Environment;

/// Makes the database `name` with this version's schema.
pub(crate) async fn copy(environment: &Environment, admin: &mut PgConnection, name: &str) {
    let template = template();
    // Of tests that come first at the same moment, one makes it. The lock goes with its session, however the test ends.
    let mut lock = PgConnection::connect(&environment.database_url).await.expect("Postgres");
    lock.execute("SELECT pg_advisory_lock(hashtextextended('tenantry test template', 0))")
        .await
        .expect("a lock");
    let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(&template)
        .fetch_one(&mut lock)
        .await
        .expect("databases");
    if !there {
        let fresh = format!("{template}_new");
        run(&mut lock, format!("DROP DATABASE IF EXISTS {fresh}")).await;
        run(&mut lock, format!("CREATE DATABASE {fresh}")).await;
        let store = Store::connect_to(&environment.database(&fresh), 1).expect("store");
        store.migrate().await.expect("migrations");
        drop(store);
        // Ends the store's session, which would forbid to rename and to copy.
        let end = format!(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{fresh}'"
        );
        run(&mut lock, end).await;
        run(&mut lock, format!("ALTER DATABASE {fresh} RENAME TO {template}")).await;
    }
    lock.close().await.expect("closed");
    run(admin, format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
}

async fn run(session: &mut PgConnection, statement: String) {
    let done = session.execute(AssertSqlSafe(statement.clone())).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// Another name for other migrations.
fn template() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/engine/migrations");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("migrations").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        (file.file_name(), std::fs::read(&file).expect("a migration")).hash(&mut hasher);
    }
    format!("template_{:016x}", hasher.finish())
}
