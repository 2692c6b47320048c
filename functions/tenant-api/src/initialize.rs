//! `POST /internal/database/initialize`: one tenant's role, its database or schema, tables and starting rows.
//!
//! What is foreign is refused before anything is made. The role comes first, with its mark, and can log in only at
//! the very end, if at all: until then no code of the tenant can be in the way of an administrator who acts in its name.
//! From then on nobody acts in its name but a session that is logged in as the role and has no other rights to fall back on.

use crate::app::App;
use crate::measure::Measures;
use crate::operation::Operation;
use crate::ownership::{self, Mark, Role};
use crate::problem::{self, Problem};
use crate::request::{Admin, Identifier, Initialize, Strategy};
use crate::schema::{self, Migration, Migrations, Seeded};
use crate::sql;
use model::TenantId;
use postgres_protocol::password::scram_sha_256;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde::Serialize;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// What is there now, and what of it this call made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    tenant_id: Uuid,
    strategy: Strategy,
    database: Identifier,
    schema: Identifier,
    role: Identifier,
    created: Created,
    /// The run that made the role.
    created_by_run: Uuid,
    migrations: Vec<Migration>,
    seeded: Seeded,
    /// Databases of this server that everybody may still connect to, as the administrator may not change that.
    unprotected: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
struct Created {
    role: bool,
    database: bool,
    schema: bool,
}

impl Operation for Initialize {
    const NAME: &'static str = "initialize";
    type Answer = Answer;

    async fn perform(&self, here: &App) -> Result<Answer, Problem> {
        let tables = &here.tables;
        let member = tables.member(self.verifier.is_some())?;
        let mut admin = sql::connect_locked(&self.admin, self.tenant_id).await?;
        let outcome = async {
            if member.is_some() {
                tables.join(&mut admin, &self.admin, TenantId(self.tenant_id)).await?;
            }
            steps(self, &here.migrations, member.as_deref(), &mut admin).await
        };
        let outcome = outcome.await;
        sql::close(admin).await;
        outcome
    }

    fn count(answer: &Answer, measures: &Measures) {
        measures.initialized(schema::applied(&answer.migrations));
    }
}

async fn steps(
    asked: &Initialize,
    migrations: &Migrations,
    member: Option<&str>,
    admin: &mut PgConnection,
) -> Result<Answer, Problem> {
    let found = ownership::role(admin, &asked.role, asked.tenant_id).await?;
    match asked.strategy {
        Strategy::Database => {
            ownership::own_database(admin, &asked.database, found.as_ref()).await?;
            let (role, made) = role(asked, admin, found).await?;
            ownership::join(admin, &asked.role).await?;
            let created = database(asked, admin, &role).await?;
            let place = sql::connect_place(&asked.admin, asked.database.as_str(), asked.tenant_id).await?;
            let created = Created { role: made, database: created, schema: false };
            fill(asked, migrations, member, admin, place, role, created).await
        }
        Strategy::Schema => {
            if ownership::database(admin, &asked.database).await?.is_none() {
                return Err(problem::invalid("database", "the database for the schema does not exist"));
            }
            let mut place =
                sql::connect_place(&asked.admin, asked.database.as_str(), asked.tenant_id).await?;
            ownership::own_schema(&mut place, &asked.schema, found.as_ref(), asked.strategy).await?;
            let (role, made) = role(asked, admin, found).await?;
            ownership::join(admin, &asked.role).await?;
            fill(asked, migrations, member, admin, place, role, Created { role: made, ..Created::default() })
                .await
        }
    }
}

/// Everything after role and database: the same for both strategies.
async fn fill(
    asked: &Initialize,
    migrations: &Migrations,
    member: Option<&str>,
    admin: &mut PgConnection,
    mut place: PgConnection,
    role: Role,
    mut created: Created,
) -> Result<Answer, Problem> {
    created.schema = schema_of(asked, &mut place, &role).await?;
    if asked.strategy == Strategy::Schema {
        share(asked, &mut place, &role).await?;
    }
    if let Some(member) = member {
        admit(asked, &mut place, member).await?;
    }
    let unprotected = close_doors(asked, admin).await?;
    let complete = role.mark.complete == Some(migrations.newest()) && !created.database && !created.schema;
    let (listed, seeded) = if complete {
        sql::close(place).await;
        (migrations.that_ran(), Seeded::default())
    } else {
        if role.was_opened() {
            // Tables, and a schema from its first moment, may carry triggers and defaults of the tenant's making, which would
            // leave a role that was only taken: `RESET ROLE` in them makes them the administrator.
            sql::close(place).await;
            place = log_in(asked, admin).await?;
            sql::lock_place(&mut place, asked.tenant_id).await?;
        }
        schema::act_as(&mut place, &asked.role, &asked.schema).await?;
        let listed = migrations.run(&mut place).await?;
        let seeded = schema::seed(&mut place, asked.tenant_id).await?;
        sql::close(place).await;
        (listed, seeded)
    };
    let complete = Mark { complete: Some(migrations.newest()), ..role.mark.clone() };
    open(asked, admin, &complete).await?;
    ownership::leave(admin, &asked.role).await?;
    Ok(Answer {
        tenant_id: asked.tenant_id,
        strategy: asked.strategy,
        database: asked.database.clone(),
        schema: asked.schema.clone(),
        role: asked.role.clone(),
        created,
        created_by_run: role.mark.run,
        migrations: listed,
        seeded,
        unprotected,
    })
}

/// The tenant's role, made together with its mark if it is not there. It cannot log in yet.
async fn role(
    asked: &Initialize,
    admin: &mut PgConnection,
    found: Option<Role>,
) -> Result<(Role, bool), Problem> {
    if let Some(role) = found {
        return Ok((role, false));
    }
    let mark = Mark { tenant: asked.tenant_id, run: asked.run_id, complete: None };
    let statement = format!(
        "BEGIN; CREATE ROLE {} NOLOGIN; {}; COMMIT",
        asked.role.quoted(),
        mark.statement(&asked.role)
    );
    sql::run(admin, "creating the role", statement).await?;
    let made = ownership::role(admin, &asked.role, asked.tenant_id).await?;
    made.map(|role| (role, true)).ok_or_else(|| problem::unavailable("creating the role", "it is gone again"))
}

/// The tenant's own database; true when this call made it. From template0, which nobody can be connected to:
/// a connection to template1 would make the creation fail.
async fn database(asked: &Initialize, admin: &mut PgConnection, role: &Role) -> Result<bool, Problem> {
    let name = asked.database.quoted();
    let mut found = ownership::own_database(admin, &asked.database, Some(role)).await?;
    if found.as_ref().is_some_and(|database| database.half_dropped) {
        sql::run(admin, "dropping the rest of a database", format!("DROP DATABASE {name}")).await?;
        found = None;
    }
    if found.is_none() {
        let statement = format!("CREATE DATABASE {name} OWNER {} TEMPLATE template0", asked.role.quoted());
        sql::run(admin, "creating the database", statement).await?;
    }
    let statement = format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC");
    sql::run_on_shared(admin, "closing the database to others", &statement).await?;
    Ok(found.is_none())
}

/// The tenant's schema; true when this call made it.
async fn schema_of(asked: &Initialize, place: &mut PgConnection, role: &Role) -> Result<bool, Problem> {
    if ownership::own_schema(place, &asked.schema, Some(role), asked.strategy).await? {
        return Ok(false);
    }
    let statement = format!("CREATE SCHEMA {} AUTHORIZATION {}", asked.schema.quoted(), asked.role.quoted());
    sql::run(place, "creating the schema", statement).await?;
    Ok(true)
}

/// Lets the role into the shared database, and nobody into its `public` schema.
async fn share(asked: &Initialize, place: &mut PgConnection, role: &Role) -> Result<(), Problem> {
    let (admitted, public_open): (bool, bool) = sqlx::query_as(
        "SELECT EXISTS (SELECT FROM pg_database d, aclexplode(d.datacl) a \
                        WHERE d.datname = current_database() AND a.grantee = $1 AND a.privilege_type = 'CONNECT'), \
                EXISTS (SELECT FROM pg_namespace n, \
                               aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a \
                        WHERE n.nspname = 'public' AND a.grantee = 0)",
    )
    .bind(role.oid)
    .fetch_one(&mut *place)
    .await
    .map_err(|error| problem::from_sql("reading the rights on the shared database", &error))?;
    if public_open {
        let statement = "REVOKE ALL ON SCHEMA public FROM PUBLIC";
        sql::run_on_shared(place, "closing the public schema", statement).await?;
    }
    if !admitted && asked.verifier.is_some() {
        let statement =
            format!("GRANT CONNECT ON DATABASE {} TO {}", asked.database.quoted(), asked.role.quoted());
        sql::run_on_shared(place, "admitting the role to the database", &statement).await?;
    }
    Ok(())
}

/// Lets this instance's own login into the database, and act as the tenant's role there. It must have no right by itself, or
/// it would have every tenant's at once.
async fn admit(asked: &Initialize, place: &mut PgConnection, member: &str) -> Result<(), Problem> {
    let (inherits, admitted): (bool, bool) = sqlx::query_as(
        "SELECT rolsuper OR rolinherit AND current_setting('server_version_num')::int < 160000, \
                has_database_privilege(oid, current_database(), 'CONNECT') \
         FROM pg_roles WHERE rolname = $1",
    )
    .bind(member)
    .fetch_one(&mut *place)
    .await
    .map_err(|error| problem::from_sql("reading the rights of this instance's login", &error))?;
    if inherits {
        return Err(problem::inherits(member));
    }
    let member = format!("\"{}\"", member.replace('"', "\"\""));
    if !admitted {
        let statement = format!("GRANT CONNECT ON DATABASE {} TO {member}", asked.database.quoted());
        sql::run_on_shared(place, "admitting this instance's login to the database", &statement).await?;
    }
    let options = match place.server_version_num() {
        Some(version) if version >= 160_000 => " WITH INHERIT FALSE, SET TRUE",
        _ => "",
    };
    let statement = format!("GRANT {} TO {member}{options}", asked.role.quoted());
    sql::run(place, "letting this instance's login act as the role", statement).await
}

/// Takes from PUBLIC the right to connect to any database of the server, where the administrator may do that; answers
/// with the names of those that stay open.
async fn close_doors(asked: &Initialize, admin: &mut PgConnection) -> Result<Vec<String>, Problem> {
    for name in open_databases(admin, true).await? {
        let statement = format!("REVOKE CONNECT ON DATABASE \"{}\" FROM PUBLIC", name.replace('"', "\"\""));
        match sql::run_on_shared(admin, "closing a database to others", &statement).await {
            // Somebody may have dropped it in between; what matters is what is open afterwards.
            Err(problem) if problem.code() == "database_error" => {
                tracing::warn!(tenant.id = %asked.tenant_id, database = name, problem.detail = problem.detail());
            }
            other => other?,
        }
    }
    open_databases(admin, false).await
}

async fn open_databases(admin: &mut PgConnection, only_changeable: bool) -> Result<Vec<String>, Problem> {
    sqlx::query_scalar(
        "SELECT d.datname::text FROM pg_database d \
         WHERE d.datallowconn AND d.datconnlimit <> -2 AND (NOT $1 OR pg_has_role(d.datdba, 'USAGE')) \
           AND EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a \
                       WHERE a.grantee = 0 AND a.privilege_type = 'CONNECT') \
         ORDER BY 1",
    )
    .bind(only_changeable)
    .fetch_all(admin)
    .await
    .map_err(|error| problem::from_sql("looking for open databases", &error))
}

/// A session that is the tenant's role from its login on.
///
/// The role of a tenant of the pooled instance cannot log in, and no SQL of such a tenant's own is ever run. It is let in for
/// this moment nevertheless, rather than to rely on that here: the login that works in its name is a member of all the others'
/// roles.
async fn log_in(asked: &Initialize, admin: &mut PgConnection) -> Result<PgConnection, Problem> {
    let mut random = [0; 32];
    OsRng
        .try_fill_bytes(&mut random)
        .map_err(|error| problem::unavailable("making a password", &error.to_string()))?;
    let once =
        Admin { user: asked.role.as_str().to_owned(), password: hex::encode(random), ..asked.admin.clone() };
    let (role, database) = (asked.role.quoted(), asked.database.quoted());
    let pooled = asked.verifier.is_none();
    if pooled {
        let statement = format!("GRANT CONNECT ON DATABASE {database} TO {role}");
        sql::run_on_shared(admin, "admitting the role to the database once", &statement).await?;
    }
    // Whatever the role's limit is, the tenant's own sessions may have reached it.
    let verifier = scram_sha_256(once.password.as_bytes());
    let statement = format!("ALTER ROLE {role} LOGIN PASSWORD '{verifier}' CONNECTION LIMIT -1");
    let let_in = sql::run(admin, "letting the role in once", statement).await;
    let_in.map_err(|problem| problem.without(&[&verifier]))?;
    let session = sql::connect(&once, asked.database.as_str()).await;
    // At once, and when it failed too: the tenant's services log in by the caller's verifier. A call that dies before leaves a
    // role that nobody logs in as, until the next one.
    sql::run(admin, "setting the role's login", login(asked)).await?;
    if pooled {
        let statement = format!("REVOKE CONNECT ON DATABASE {database} FROM {role}");
        sql::run_on_shared(admin, "keeping the role out of the database", &statement).await?;
    }
    session.map_err(|problem| problem.without(&[&once.password]))
}

/// How the role logs in, as the caller wants it.
fn login(asked: &Initialize) -> String {
    let login = match &asked.verifier {
        Some(verifier) => format!("LOGIN PASSWORD '{}'", verifier.expose()),
        None => "NOLOGIN PASSWORD NULL".to_owned(),
    };
    let limit = asked.connection_limit.unwrap_or(-1);
    format!("ALTER ROLE {} {login} CONNECTION LIMIT {limit}", asked.role.quoted())
}

/// The last step, in one transaction: the role can log in with its password, if it has one, starts in its schema, and is
/// marked complete. A second call sets the password and the limit it was given.
async fn open(asked: &Initialize, admin: &mut PgConnection, complete: &Mark) -> Result<(), Problem> {
    let role = asked.role.quoted();
    let statement = format!(
        "BEGIN; {}; ALTER ROLE {role} SET search_path TO {}; {}; COMMIT",
        login(asked),
        asked.schema.quoted(),
        complete.statement(&asked.role)
    );
    sql::run(admin, "opening the role", statement).await
}
