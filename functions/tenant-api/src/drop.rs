//! `POST /internal/database/drop`: takes away what `initialize` made, and nothing else.
//!
//! The role goes last of what Postgres holds: it is the mark by which a call after one that died knows what is ours. Then what
//! this instance keeps of the tenant beside Postgres, each time when there is nothing of the tenant there: a call that died in
//! between is made again.

use crate::app::App;
use crate::operation::Operation;
use crate::ownership::{self, Role};
use crate::problem::{self, Problem};
use crate::request::{Drop, Strategy};
use crate::sql;
use model::TenantId;
use serde::Serialize;
use sqlx::postgres::PgConnection;
use std::collections::BTreeSet;

/// What this call dropped.
#[derive(Debug, Default, Serialize)]
pub struct Answer {
    dropped: Dropped,
    /// Why nothing was dropped although it is the tenant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct Dropped {
    role: bool,
    database: bool,
    schema: bool,
}

impl Operation for Drop {
    const NAME: &'static str = "drop";
    type Answer = Answer;

    async fn perform(&self, here: &App) -> Result<Answer, Problem> {
        let mut admin = sql::connect_locked(&self.admin, self.tenant_id).await?;
        let outcome = async {
            let answer = steps(self, &mut admin).await?;
            if answer.kept.is_none() {
                forget(here, TenantId(self.tenant_id)).await?;
            }
            Ok(answer)
        };
        let outcome = outcome.await;
        sql::close(admin).await;
        outcome
    }
}

/// Takes away what is kept here of a tenant whose data is gone. A licence that another replica holds in memory ends there
/// with that process, or by itself.
async fn forget(here: &App, tenant: TenantId) -> Result<(), Problem> {
    if let Some(storage) = here.exports.storage() {
        storage.remove(tenant).await?;
    }
    let licenses = here.licenses.clone();
    let forgotten = tokio::task::spawn_blocking(move || licenses.forget(tenant)).await;
    let unkept = |why: String| problem::unkept(why);
    forgotten.map_err(|error| unkept(error.to_string()))?.map_err(|error| unkept(error.to_string()))?;
    here.tables.forget(tenant)
}

async fn steps(asked: &Drop, admin: &mut PgConnection) -> Result<Answer, Problem> {
    // Without the role nothing of that name is ours.
    let Some(role) = ownership::role(admin, &asked.role, asked.tenant_id).await? else {
        return Ok(Answer::default());
    };
    if asked.only_if_run.is_some_and(|run| run != role.mark.run) {
        return Ok(Answer { kept: Some(format!("made by run {}", role.mark.run)), ..Answer::default() });
    }
    let mut dropped = Dropped::default();
    match asked.strategy {
        Strategy::Database => {
            let found = ownership::own_database(admin, &asked.database, Some(&role)).await?;
            lock_out(asked, admin, &role).await?;
            if found.is_some() {
                let statement = format!("DROP DATABASE {} WITH (FORCE)", asked.database.quoted());
                sql::run(admin, "dropping the database", statement).await?;
                dropped.database = true;
            }
        }
        Strategy::Schema => {
            // A shared database that is gone took the schema with it.
            if ownership::database(admin, &asked.database).await?.is_some() {
                dropped.schema = schema(asked, admin, &role).await?;
            } else {
                lock_out(asked, admin, &role).await?;
            }
        }
    }
    remains(asked, admin, &role).await?;
    sql::run(admin, "dropping the role", format!("DROP ROLE {}", asked.role.quoted())).await?;
    dropped.role = true;
    Ok(Answer { dropped, kept: None })
}

async fn schema(asked: &Drop, admin: &mut PgConnection, role: &Role) -> Result<bool, Problem> {
    let mut place = sql::connect_place(&asked.admin, asked.database.as_str(), asked.tenant_id).await?;
    let there = ownership::own_schema(&mut place, &asked.schema, Some(role), asked.strategy).await?;
    lock_out(asked, admin, role).await?;
    if there {
        let statement = format!("DROP SCHEMA {} CASCADE", asked.schema.quoted());
        sql::run(&mut place, "dropping the schema", statement).await?;
    }
    sql::close(place).await;
    Ok(there)
}

/// Ends the role's sessions and lets it open no new one; makes the administrator able to drop in its name.
async fn lock_out(asked: &Drop, admin: &mut PgConnection, role: &Role) -> Result<(), Problem> {
    let statement = format!("ALTER ROLE {} NOLOGIN", asked.role.quoted());
    sql::run(admin, "locking the role out", statement).await?;
    ownership::join(admin, &asked.role).await?;
    let failed = |error| problem::from_sql("ending the role's sessions", &error);
    sqlx::query("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usesysid = $1")
        .bind(role.oid)
        .execute(&mut *admin)
        .await
        .map_err(failed)?;
    // Asked anew: a session that ended by itself in between counts as not terminated.
    let alive: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE usesysid = $1")
        .bind(role.oid)
        .fetch_one(admin)
        .await
        .map_err(failed)?;
    if alive > 0 {
        return Err(problem::unavailable("ending the role's sessions", "some did not end within 10 s"));
    }
    Ok(())
}

/// Drops what else the role owns and takes its rights back, in every database that knows of it.
async fn remains(asked: &Drop, admin: &mut PgConnection, role: &Role) -> Result<(), Problem> {
    let known: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT datname::text FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid \
         WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = $1 AND d.datname <> current_database()",
    )
    .bind(role.oid)
    .fetch_all(&mut *admin)
    .await
    .map_err(|error| problem::from_sql("looking for what the role still owns", &error))?;
    let statement = format!("DROP OWNED BY {} CASCADE", asked.role.quoted());
    for database in known.into_iter().collect::<BTreeSet<_>>() {
        let mut place = sql::connect_place(&asked.admin, &database, asked.tenant_id).await?;
        sql::run_on_shared(&mut place, "dropping what the role still owns", &statement).await?;
        sql::close(place).await;
    }
    // Rights on databases are known everywhere; this also covers the administration database itself.
    sql::run_on_shared(admin, "taking the role's rights back", &statement).await
}
