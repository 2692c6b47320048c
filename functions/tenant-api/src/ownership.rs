//! Who owns what. The mark is a comment on the tenant's role, made in one transaction with the role; everything else
//! is owned through that role, since a database cannot be created and commented in one transaction.

use crate::problem::{self, Problem};
use crate::request::{Identifier, Strategy};
use crate::sql;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use sqlx::postgres::types::Oid;
use uuid::Uuid;

const PREFIX: &str = "tenantry ";

/// The comment on a tenant's role: `tenantry {"tenant":"…","run":"…"}`. Only a role administrator can write one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub tenant: Uuid,
    /// The run that made the role; it never changes.
    pub run: Uuid,
    /// The newest migration, once an initialisation came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<i64>,
}

impl Mark {
    pub fn parse(comment: &str) -> Option<Self> {
        serde_json::from_str(comment.strip_prefix(PREFIX)?).ok()
    }

    /// The statement that writes the mark. It holds uuids and numbers only, so nothing needs quoting.
    pub fn statement(&self, role: &Identifier) -> String {
        let complete = self.complete.map(|version| format!(r#","complete":{version}"#)).unwrap_or_default();
        format!(
            r#"COMMENT ON ROLE {} IS '{PREFIX}{{"tenant":"{}","run":"{}"{complete}}}'"#,
            role.quoted(),
            self.tenant,
            self.run
        )
    }
}

/// A role that carries the tenant's mark.
#[derive(Clone, Debug)]
pub struct Role {
    pub oid: Oid,
    pub mark: Mark,
    pub can_login: bool,
}

impl Role {
    /// Whether somebody may have worked in its name before, and left code of their own in its schema. An initialisation
    /// opens a role and marks it complete at once, and a drop that died half-way has closed it again.
    pub fn was_opened(&self) -> bool {
        self.can_login || self.mark.complete.is_some()
    }
}

/// The tenant's role, none when there is none of that name, 409 when it is somebody else's.
pub async fn role(conn: &mut PgConnection, name: &Identifier, tenant: Uuid) -> Result<Option<Role>, Problem> {
    let found: Option<(Oid, bool, Option<String>)> = sqlx::query_as(
        "SELECT oid, rolcanlogin, shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = $1",
    )
    .bind(name.as_str())
    .fetch_optional(conn)
    .await
    .map_err(|error| problem::from_sql("looking for the role", &error))?;
    let Some((oid, can_login, comment)) = found else { return Ok(None) };
    match comment.as_deref().and_then(Mark::parse) {
        Some(mark) if mark.tenant == tenant => Ok(Some(Role { oid, mark, can_login })),
        _ => Err(problem::role_of_another(name.as_str())),
    }
}

/// What is known of a database.
#[derive(Debug, sqlx::FromRow)]
pub struct Database {
    owner: Oid,
    owner_name: String,
    /// A DROP DATABASE that was cut short leaves a database nobody can connect to (`datconnlimit = -2`).
    pub half_dropped: bool,
}

pub async fn database(conn: &mut PgConnection, name: &Identifier) -> Result<Option<Database>, Problem> {
    sqlx::query_as(
        "SELECT datdba AS owner, pg_get_userbyid(datdba)::text AS owner_name, datconnlimit = -2 AS half_dropped \
         FROM pg_database WHERE datname = $1",
    )
    .bind(name.as_str())
    .fetch_optional(conn)
    .await
    .map_err(|error| problem::from_sql("looking for the database", &error))
}

/// The tenant's database, none when there is none of that name, 409 when its owner is not the tenant's role.
pub async fn own_database(
    conn: &mut PgConnection,
    name: &Identifier,
    role: Option<&Role>,
) -> Result<Option<Database>, Problem> {
    match database(conn, name).await? {
        Some(found) if role.is_none_or(|role| role.oid != found.owner) => {
            Err(problem::database_of_another(name.as_str(), &found.owner_name))
        }
        found => Ok(found),
    }
}

/// Whether the tenant's schema is there, 409 when its owner is not the tenant's role. In a database of the tenant's
/// own, the schema `public` belongs to the owner of the database, whom Postgres calls `pg_database_owner`.
pub async fn own_schema(
    place: &mut PgConnection,
    name: &Identifier,
    role: Option<&Role>,
    strategy: Strategy,
) -> Result<bool, Problem> {
    let found: Option<(Oid, String)> = sqlx::query_as(
        "SELECT nspowner, pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = $1",
    )
    .bind(name.as_str())
    .fetch_optional(place)
    .await
    .map_err(|error| problem::from_sql("looking for the schema", &error))?;
    match found {
        None => Ok(false),
        Some((owner, _)) if role.is_some_and(|role| role.oid == owner) => Ok(true),
        Some((_, owner)) if strategy == Strategy::Database && owner == "pg_database_owner" => Ok(true),
        Some((_, owner)) => Err(problem::schema_of_another(name.as_str(), &owner)),
    }
}

/// Makes the administrator a member of the tenant's role, without which it could not make or drop things in its name.
/// A superuser needs no membership. From Postgres 16 on, making a role gives the right to grant it and no more, so
/// inheriting and SET ROLE are asked for.
pub async fn join(conn: &mut PgConnection, role: &Identifier) -> Result<(), Problem> {
    if is_superuser(conn).await? {
        return Ok(());
    }
    let options = match conn.server_version_num() {
        Some(version) if version >= 160_000 => " WITH INHERIT TRUE, SET TRUE",
        _ => "",
    };
    let statement = format!("GRANT {} TO CURRENT_USER{options}", role.quoted());
    sql::run(conn, "becoming a member of the role", statement).await
}

/// Undoes [`join`]: a member of thousands of roles logs in slowly.
pub async fn leave(conn: &mut PgConnection, role: &Identifier) -> Result<(), Problem> {
    if is_superuser(conn).await? {
        return Ok(());
    }
    let statement = format!("REVOKE {} FROM CURRENT_USER", role.quoted());
    sql::run(conn, "leaving the role", statement).await
}

async fn is_superuser(conn: &mut PgConnection) -> Result<bool, Problem> {
    sqlx::query_scalar("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        .fetch_one(conn)
        .await
        .map_err(|error| problem::from_sql("reading the administrator's rights", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_as_it_was_written() {
        let role = Identifier::try_from("tenant_a".to_owned()).unwrap();
        for complete in [None, Some(4)] {
            let mark = Mark { tenant: Uuid::new_v4(), run: Uuid::new_v4(), complete };
            let statement = mark.statement(&role);
            assert_eq!(Mark::parse(statement.split('\'').nth(1).unwrap()), Some(mark));
        }
    }

    #[test]
    fn no_other_comment_is_a_mark() {
        for comment in ["", "tenantry", "tenantry {}", "somebody's role"] {
            assert_eq!(Mark::parse(comment), None);
        }
    }
}
