//! `POST /internal/database/inventory`: what a server holds of one tenant, by mark and ownership, never by name.

use crate::ownership::Mark;
use crate::problem::Problem;
use crate::request::{Inventory, Operation};
use crate::sql;
use crate::tables::Tables;
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

    async fn perform(&self, _: &Tables) -> Result<Answer, Problem> {
        let mut admin = sql::connect(&self.admin, &self.admin.database).await?;
        let outcome = look(self, &mut admin).await;
        sql::close(admin).await;
        outcome
    }
}

async fn look(asked: &Inventory, admin: &mut PgConnection) -> Result<Answer, Problem> {
    let marked: Vec<(Oid, String, String)> = sqlx::query_as(
        "SELECT oid, rolname::text, comment FROM pg_roles, shobj_description(oid, 'pg_authid') comment \
         WHERE strpos(comment, $1) > 0",
    )
    .bind(asked.tenant_id.to_string())
    .fetch_all(&mut *admin)
    .await
    .map_err(|error| Problem::from_sql("looking for roles", &error))?;
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
            .map_err(|error| Problem::from_sql("looking for databases", &error))?;
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
                .map_err(|error| Problem::from_sql("looking for schemas", &error))?;
        sql::close(place).await;
        items.extend(schemas.into_iter().map(|name| Item { kind: "schema", name }));
    }
    Ok(Answer { items })
}
