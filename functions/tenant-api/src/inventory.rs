//! `POST /internal/database/inventory`: what a server holds of one tenant, by mark and ownership, never by name; and the files
//! that this instance keeps of it, whose folder is the tenant's.
//!
//! A licence is not listed. It is told before there is a database, and may be told late, after a drop: a run that never came
//! to SETUP_DATABASE drops nothing, and would wait for an empty inventory for ever. Nobody but its tenant is served by it, and
//! it ends by itself.

use crate::app::App;
use crate::operation::Operation;
use crate::ownership::Mark;
use crate::problem::{self, Problem};
use crate::request::Inventory;
use crate::sql;
use model::TenantId;
use serde::Serialize;
use sqlx::postgres::PgConnection;
use sqlx::postgres::types::Oid;

#[derive(Debug, Serialize)]
pub struct Answer {
    items: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Item {
    kind: &'static str,
    name: String,
}

impl Operation for Inventory {
    const NAME: &'static str = "inventory";
    type Answer = Answer;

    async fn perform(&self, here: &App) -> Result<Answer, Problem> {
        let mut admin = sql::connect(&self.admin, &self.admin.database).await?;
        let outcome = look(self, &mut admin).await;
        sql::close(admin).await;
        let mut answer = outcome?;
        answer.items.extend(kept(here, TenantId(self.tenant_id)).await?);
        Ok(answer)
    }
}

/// What is kept here beside Postgres. All of it is made after the tenant's role, so that whoever made it is undone by a drop.
async fn kept(here: &App, tenant: TenantId) -> Result<Vec<Item>, Problem> {
    let exports = match here.exports.storage() {
        Some(storage) => storage.held(tenant).await?,
        None => None,
    };
    let exports = exports.map(|name| Item { kind: "export files", name });
    let stand_in = here.tables.stands_in_for(tenant).then(|| tenant.to_string());
    let stand_in = stand_in.map(|name| Item { kind: "stand-in entry", name });
    Ok(exports.into_iter().chain(stand_in).collect())
}

async fn look(asked: &Inventory, admin: &mut PgConnection) -> Result<Answer, Problem> {
    let marked: Vec<(Oid, String, String)> = sqlx::query_as(
        "SELECT oid, rolname::text, comment FROM pg_roles, shobj_description(oid, 'pg_authid') comment \
         WHERE strpos(comment, $1) > 0",
    )
    .bind(asked.tenant_id.to_string())
    .fetch_all(&mut *admin)
    .await
    .map_err(|error| problem::from_sql("looking for roles", &error))?;
    let (roles, names): (Vec<Oid>, Vec<String>) = marked
        .into_iter()
        .filter(|(_, _, comment)| Mark::parse(comment).is_some_and(|mark| mark.tenant == asked.tenant_id))
        .map(|(oid, name, _)| (oid, name))
        .unzip();
    let mut items: Vec<Item> = names.into_iter().map(|name| Item { kind: "role", name }).collect();

    let databases: Vec<String> =
        sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE datdba = ANY($1) ORDER BY 1")
            .bind(&roles)
            .fetch_all(&mut *admin)
            .await
            .map_err(|error| problem::from_sql("looking for databases", &error))?;
    let shared = asked.database.as_ref().filter(|shared| !databases.iter().any(|own| own == shared.as_str()));
    items.extend(databases.iter().map(|name| Item { kind: "database", name: name.clone() }));

    if let Some(shared) = shared
        && crate::ownership::database(admin, shared).await?.is_some()
    {
        let mut place = sql::connect(&asked.admin, shared.as_str()).await?;
        let schemas: Vec<String> =
            sqlx::query_scalar("SELECT nspname::text FROM pg_namespace WHERE nspowner = ANY($1) ORDER BY 1")
                .bind(&roles)
                .fetch_all(&mut place)
                .await
                .map_err(|error| problem::from_sql("looking for schemas", &error))?;
        sql::close(place).await;
        items.extend(schemas.into_iter().map(|name| Item { kind: "schema", name }));
    }
    Ok(Answer { items })
}
