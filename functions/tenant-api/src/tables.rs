//! How this instance works in a tenant's tables when no administrator is in the call: with that tenant's rights alone.
//!
//! A pinned instance logs in as its tenant's role. The pooled one has a login of its own, which owns nothing and inherits
//! nothing; `initialize` makes it a member of each pooled tenant's role, and every transaction begins by taking that role.
//! Which database a tenant is in is read from the catalogue, by what its role owns there.

use crate::elsewhere::{self, At, Elsewhere};
use crate::ownership;
use crate::problem::{self, Problem};
use crate::request::{Admin, Identifier};
use model::TenantId;
use model::secret::{Secret, SecretRef};
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Postgres, Transaction};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Sessions of the pooled instance's login; calls beyond wait.
const SESSIONS: u32 = 8;
/// The same of a tenant's own instance: "Professional has its own pool: role CONNECTION LIMIT 20, tenant-api's pool 10"
/// (design, §7), so that the two pods of a rolling update fit.
const OWN_SESSIONS: u32 = 10;
/// Longest wait for one.
const SESSION_WITHIN: Duration = Duration::from_secs(10);

/// A session in a tenant's tables, in one transaction, with the tenant's rights.
pub type Acting = Transaction<'static, Postgres>;

/// The tables of the tenants that are served here. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tables(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The URL of this instance's own login; none: it works in tables by the administrator of a call only.
    url: Option<SecretRef>,
    pinned: Option<TenantId>,
    /// The login may act for tenants with an instance of their own, too: where that is only simulated.
    stand_in: bool,
    elsewhere: Elsewhere,
    /// The login that holds, made anew when what `url` refers to is another: passwords change.
    login: Mutex<Option<Arc<Login>>>,
}

#[derive(Debug)]
struct Login {
    url: Secret,
    options: PgConnectOptions,
    sessions: PgPool,
    /// On servers of tenants' own.
    password_elsewhere: Secret,
}

/// Where a tenant's tables are.
#[derive(Debug)]
struct TableLocation {
    role: Identifier,
    database: String,
    schema: String,
}

impl Tables {
    /// Of the login at `url`, read whenever it is needed: a Secret may be mounted later, and change. With `pinned`, it is that tenant's
    /// own role, and no other tenant is served. With `stand_in`, it acts for tenants with an instance of their own too.
    pub fn new(url: Option<SecretRef>, pinned: Option<TenantId>, stand_in: bool) -> Self {
        let elsewhere = Elsewhere::default();
        Self(Arc::new(Inner { url, pinned, stand_in, elsewhere, login: Mutex::default() }))
    }

    /// The one tenant that is served, if it is one.
    pub fn pinned(&self) -> Option<TenantId> {
        self.0.pinned
    }

    /// Refuses another tenant than the one that is served, whatever is asked for it.
    pub fn serves(&self, tenant: TenantId) -> Result<(), Problem> {
        match self.0.pinned {
            Some(own) if own != tenant => Err(problem::other_tenant(tenant)),
            _ => Ok(()),
        }
    }

    /// Of a login that stands in for tenants' own instances; where those have servers of their own is kept in the folder.
    pub fn standing_in(url: Option<SecretRef>, folder: Option<PathBuf>) -> Self {
        let elsewhere = Elsewhere::in_folder(folder);
        Self(Arc::new(Inner { url, pinned: None, stand_in: true, elsewhere, login: Mutex::default() }))
    }

    fn login(&self) -> Result<Arc<Login>, Problem> {
        let setting = self.0.url.as_ref().ok_or_else(problem::no_login)?;
        let url = setting.read_local().map_err(|error| problem::login_not_usable(error.to_string()))?;
        let mut held = self.0.login.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(login) = held.as_ref().filter(|login| login.url.matches(url.expose())) {
            return Ok(Arc::clone(login));
        }
        let options = options(&url)
            .ok_or_else(|| problem::login_not_usable(format!("{setting} is not a Postgres URL")))?;
        let sessions = pool(options.clone(), if self.0.pinned.is_some() { OWN_SESSIONS } else { SESSIONS });
        let password_elsewhere = elsewhere::password(&url);
        let login = Arc::new(Login { url, options, sessions, password_elsewhere });
        // The sessions of the one before end with the calls that use them.
        *held = Some(Arc::clone(&login));
        Ok(login)
    }

    /// Whether this instance knows of a server of the tenant's own.
    pub fn stands_in_for(&self, tenant: TenantId) -> bool {
        self.0.elsewhere.of(tenant).is_some()
    }

    /// Lets go of where the tenant's own server was.
    pub fn forget(&self, tenant: TenantId) -> Result<(), Problem> {
        self.0.elsewhere.forget(tenant)
    }

    /// The login that `initialize` makes a member of the tenant's role, if it is to act for the tenant.
    pub fn member(&self, with_login: bool) -> Result<Option<String>, Problem> {
        let acts = self.0.pinned.is_none() && (!with_login || self.0.stand_in);
        if !acts || self.0.url.is_none() {
            return Ok(None);
        }
        Ok(Some(self.login()?.options.get_username().to_owned()))
    }

    /// Makes the login on a tenant's own server, if that is where an administrator works, and remembers where it is.
    pub async fn join(
        &self,
        admin: &mut PgConnection,
        asked: &Admin,
        tenant: TenantId,
    ) -> Result<(), Problem> {
        let login = self.login()?;
        let own = &login.options;
        if !self.0.stand_in || (own.get_host(), own.get_port()) == (&asked.host, asked.port) {
            return Ok(());
        }
        elsewhere::join(admin, asked, own.get_username(), &login.password_elsewhere).await?;
        self.0.elsewhere.remember(tenant, At { host: asked.host.clone(), port: asked.port })
    }

    /// Begins a transaction in the tenant's tables; none when there are none of this tenant here. What is not committed is
    /// rolled back.
    pub async fn act(&self, tenant: TenantId) -> Result<Option<Acting>, Problem> {
        let failed = |error: sqlx::Error| problem::from_sql("connecting as this instance", &error);
        let login = self.login()?;
        let Login { options, sessions, .. } = &*login;
        if let Some(own) = self.0.pinned {
            return if own == tenant { sessions.begin().await.map(Some).map_err(failed) } else { Ok(None) };
        }
        let mut session = sessions.begin().await.map_err(failed)?;
        let Some(place) = place(&mut session, tenant).await? else {
            drop(session);
            return self.act_elsewhere(tenant).await;
        };
        if Some(place.database.as_str()) != options.get_database() {
            session = pool(options.clone().database(&place.database), 1).begin().await.map_err(failed)?;
        }
        take_role(&mut session, &place).await?;
        Ok(Some(session))
    }

    /// On the tenant's own server, in the only database that the login may enter there.
    async fn act_elsewhere(&self, tenant: TenantId) -> Result<Option<Acting>, Problem> {
        let Some(at) = self.0.elsewhere.of(tenant).filter(|_| self.0.stand_in) else { return Ok(None) };
        let failed = |error: sqlx::Error| problem::from_sql("connecting to the tenant's own server", &error);
        let login = self.login()?;
        let options =
            login.options.clone().host(&at.host).port(at.port).database(&format!("tenant_{tenant}"));
        let options = options.password(login.password_elsewhere.expose());
        let mut session = pool(options, 1).begin().await.map_err(failed)?;
        let Some(place) = place(&mut session, tenant).await? else { return Ok(None) };
        take_role(&mut session, &place).await?;
        Ok(Some(session))
    }
}

async fn take_role(session: &mut PgConnection, place: &TableLocation) -> Result<(), Problem> {
    // For this transaction only: a session that is used again has no rights left from the one before.
    let statement =
        format!("SET LOCAL ROLE {}; SET LOCAL search_path TO \"{}\"", place.role.quoted(), place.schema);
    crate::sql::run(session, "acting as the tenant's role", statement).await
}

fn options(url: &Secret) -> Option<PgConnectOptions> {
    // sqlx looks at no scheme, and its own error would quote the password.
    let known = ["postgres://", "postgresql://"].iter().any(|scheme| url.expose().starts_with(scheme));
    let options: PgConnectOptions = url.expose().parse().ok().filter(|_| known)?;
    Some(
        options
            .application_name("tenant-api")
            .options([
                ("lock_timeout", "10s"),
                ("statement_timeout", "30s"),
                // A session whose process died lets its locks go, even in the middle of a statement.
                ("client_connection_check_interval", "1s"),
            ])
            .disable_statement_logging(),
    )
}

fn pool(options: PgConnectOptions, sessions: u32) -> PgPool {
    PgPoolOptions::new().max_connections(sessions).acquire_timeout(SESSION_WITHIN).connect_lazy_with(options)
}

/// Where the tenant's role owns what it owns; none when there is no such role with the tenant's mark, or it owns nothing.
async fn place(session: &mut PgConnection, tenant: TenantId) -> Result<Option<TableLocation>, Problem> {
    let name = format!("tenant_{tenant}");
    let role = Identifier::try_from(name.clone()).map_err(|why| problem::invalid("tenantId", why))?;
    let Some(found) = ownership::role(session, &role, tenant.0).await? else { return Ok(None) };
    Ok(database(session, found.oid, &name).await?.map(|database| {
        let schema = if database == name { "public".to_owned() } else { name };
        TableLocation { role, database, schema }
    }))
}

/// The database with objects of this role, one of its own first.
async fn database(session: &mut PgConnection, role: Oid, own: &str) -> Result<Option<String>, Problem> {
    sqlx::query_scalar(
        "SELECT d.datname::text FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid \
         WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = $1 AND s.deptype = 'o' \
         ORDER BY d.datname <> $2, 1 LIMIT 1",
    )
    .bind(role)
    .bind(own)
    .fetch_optional(session)
    .await
    .map_err(|error| problem::from_sql("looking for the tenant's tables", &error))
}
