//! The calls, and what their failures mean to a phase.

use std::time::Duration;

use engine::phase::{Error, Result};
use model::secret::Secret;
use model::{RunId, TenantId};
use postgres_protocol::password::scram_sha_256;
use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Access, DatabaseTarget, Dropped, Initialized, Item, Server};

/// The dependency's name in `Unavailable`.
const DEPENDENCY: &str = "tenant-api";

/// Longest wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for an answer: creating a database and running all migrations is one call (provisioning reference,
/// "Database creation is delegated to the data plane": a 10-minute timeout).
const ANSWER_WITHIN: Duration = Duration::from_mins(10);

/// Between two signs of life on a connection that waits: load balancers drop one that is silent for 350 s.
const KEEP_ALIVE: Duration = Duration::from_mins(1);

/// Longest part of an answer's text in an error.
const DETAIL_LIMIT: usize = 1000;

/// A client of any region's tenant-api; cheap to clone.
#[derive(Clone, Debug)]
pub struct TenantApi {
    http: reqwest::Client,
    answer_within: Duration,
}

/// What is to be there of one tenant.
#[derive(Clone, Copy, Debug)]
pub struct Initialize<'a> {
    /// Whose it is.
    pub tenant: TenantId,
    /// The run it is written down as made by.
    pub run: RunId,
    /// The names.
    pub place: &'a DatabaseTarget,
    /// The role's password. Only its SCRAM verifier is sent. None: the role cannot log in, and the pooled tenant-api works
    /// in its name.
    pub password: Option<&'a Secret>,
    /// Connections the role may hold at once; none means as many as the server has.
    pub connection_limit: Option<i32>,
}

impl TenantApi {
    /// Makes the client. Sends nothing: a server that is down is noticed by the first call.
    pub fn connect() -> Result<Self> {
        let http = reqwest::Client::builder()
            .user_agent("tenantry")
            .connect_timeout(CONNECT_WITHIN)
            .tcp_keepalive(KEEP_ALIVE)
            // Calls are minutes apart, and a function that was frozen in between holds dead connections.
            .pool_max_idle_per_host(0)
            // A body holds an administrator's password; it goes nowhere but to the configured address.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| {
                Error::fatal("tenant_api_config", format!("the HTTP client cannot be made: {error}"))
                    .next("Check this machine's TLS certificates.")
            })?;
        Ok(Self { http, answer_within: ANSWER_WITHIN })
    }

    /// The same client with another bound on the whole of a call; without this, 10 minutes.
    #[must_use]
    pub fn answering_within(self, answer_within: Duration) -> Self {
        Self { answer_within, ..self }
    }

    /// Makes sure that role, database or schema, tables and starting rows are there, and that the role logs in with this
    /// password or, without one, does not log in. A second call changes nothing but the verifier. What is there and not the tenant's is fatal
    /// (`foreign_role`, `foreign_database`, `foreign_schema`) and left as it is.
    pub async fn initialize(&self, at: &Access, what: Initialize<'_>) -> Result<Initialized> {
        let verifier = what.password.map(|password| Secret::new(scram_sha_256(password.expose().as_bytes())));
        let body = InitializeBody {
            tenant_id: what.tenant,
            run_id: what.run,
            place: what.place,
            verifier: verifier.as_ref().map(Secret::expose),
            connection_limit: what.connection_limit,
            admin: AdminBody::of(at),
        };
        let secrets: Vec<&Secret> = verifier.as_ref().into_iter().chain(what.password).collect();
        self.call(at, "initialize", &body, &secrets).await
    }

    /// Makes sure that the tenant's role, database and schema are gone; with a run, only if that run made them. Done
    /// when nothing is there. A role of that name that is not the tenant's is fatal (`foreign_role`) and left as it is.
    pub async fn drop(
        &self,
        at: &Access,
        tenant: TenantId,
        place: &DatabaseTarget,
        only_if_run: Option<RunId>,
    ) -> Result<Dropped> {
        let body = DropBody { tenant_id: tenant, place, only_if_run, admin: AdminBody::of(at) };
        self.call(at, "drop", &body, &[]).await
    }

    /// What the region's server holds of the tenant, by ownership and not by name; empty when nothing is left.
    pub async fn inventory(&self, at: &Access, tenant: TenantId) -> Result<Vec<Item>> {
        let body = InventoryBody {
            tenant_id: tenant,
            database: &at.server.admin.database,
            admin: AdminBody::of(at),
        };
        let answer: InventoryAnswer = self.call(at, "inventory", &body, &[]).await?;
        Ok(answer.items)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        at: &Access,
        operation: &str,
        body: &(impl Serialize + Sync),
        secrets: &[&Secret],
    ) -> Result<T> {
        let path = format!("database/{operation}");
        let answer = self.send(&at.server, &at.internal_secret, &path, body).await;
        answer.map_err(|error| {
            let secrets = secrets.iter().copied().chain([&at.internal_secret, &at.admin_password]);
            without(error, secrets)
        })
    }

    /// Sends `body` to `/internal/<path>`. Errors may quote what the server says.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        server: &Server,
        internal_secret: &Secret,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T> {
        let url = address(server, path)?;
        // The origin alone: a URL may carry credentials.
        let operation = path.strip_prefix("database/").unwrap_or(path);
        let doing = format!("{operation} at {}", url.origin().ascii_serialization());
        let mut internal_secret = HeaderValue::from_str(internal_secret.expose()).map_err(|_| {
            let message = format!("{}: the secret cannot be sent in a header", setting(server));
            Error::fatal("tenant_api_config", message).next("Use visible ASCII characters only.")
        })?;
        internal_secret.set_sensitive(true);
        let request = self
            .http
            .post(url)
            .timeout(self.answer_within)
            .header("x-internal-secret", internal_secret)
            .json(body);
        let answer = request.send().await.map_err(|error| self.lost(&doing, error))?;
        let status = answer.status();
        let text = answer.bytes().await.map_err(|error| self.lost(&doing, error))?;
        if !status.is_success() {
            return Err(refused(&doing, server, status, &text));
        }
        serde_json::from_slice(&text).map_err(|error| {
            Error::retryable("tenant_api_answer", format!("{doing}: the answer cannot be read: {error}"))
                .next("Check that tenant_api_url points at a tenant-api of a supported version.")
        })
    }

    /// No answer came.
    fn lost(&self, doing: &str, error: reqwest::Error) -> Error {
        // A connect that times out is both; it has not reached anybody.
        if error.is_timeout() && !error.is_connect() {
            let within = self.answer_within.as_secs_f64();
            return Error::retryable("tenant_api_timeout", format!("{doing}: no answer within {within} s"))
                .next("Look at the tenant-api's log for what takes so long; the call may be repeated.");
        }
        unavailable(format!("{doing}: {}", chain(&error.without_url())))
    }
}

fn unavailable(message: String) -> Error {
    Error::unavailable(DEPENDENCY, "tenant_api_unavailable", message)
        .next("Bring the tenant-api and its Postgres back; the run then continues on its own.")
}

/// Where the internal secret is set.
fn setting(server: &Server) -> String {
    format!("regions.{}.internal_secret ({})", server.region, server.internal_secret)
}

fn address(server: &Server, path: &str) -> Result<Url> {
    let whole = format!("{}/internal/{path}", server.endpoint.trim_end_matches('/'));
    let why = match Url::parse(&whole) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => return Ok(url),
        Ok(_) => "it is neither http nor https".to_owned(),
        Err(error) => error.to_string(),
    };
    let message = format!("regions.{}.tenant_api_url cannot be used: {why}", server.region);
    Err(Error::fatal("tenant_api_config", message).next("Correct it in the platform file."))
}

/// The tenant-api answered, and not with success.
fn refused(doing: &str, server: &Server, status: StatusCode, text: &[u8]) -> Error {
    let problem: Problem = serde_json::from_slice(text).unwrap_or_default();
    let message = format!("{doing}: {}", problem.words(status));
    match status.as_u16() {
        403 if problem.code == "tenant_not_served" => Error::fatal("tenant_api_other_tenant", message)
            .next("Another tenant's instance answers at this endpoint: look at the tenant's deployment, and at the Services."),
        401 | 403 => {
            let message = format!("{message} (sent: {})", setting(server));
            Error::fatal("tenant_api_unauthorized", message).next(format!(
                "Make {} the secret that the region's tenant-api accepts, then start the tenant again.",
                setting(server)
            ))
        }
        409 => {
            let code = match problem.code.as_str() {
                "foreign_role" => "foreign_role",
                "foreign_database" => "foreign_database",
                "foreign_schema" => "foreign_schema",
                "bootstrap_user_exists" => "bootstrap_user_exists",
                _ => "foreign_object",
            };
            Error::fatal(code, message)
                .next("Find out whose it is and rename or remove it, then start the tenant again.")
        }
        // It is told of keys, and its clock is set, by others.
        422 if matches!(problem.code.as_str(), "license_key_unknown" | "license_not_yet_valid") => {
            Error::retryable("tenant_api_not_ready", message).next(
                "Give the region's tenant-api the public key (LICENSE_PUBLIC_KEYS), and look at its clock.",
            )
        }
        400 | 413 | 415 | 422 => Error::fatal("tenant_api_refused", message)
            .next("Check the region's database settings in the platform file, and that the versions fit."),
        429 | 502..=504 => unavailable(message),
        _ => Error::retryable("tenant_api_failed", message)
            .next("Look at the tenant-api's log for the reason; the call may be repeated."),
    }
}

/// The part of a problem+json answer that is passed on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
    field: Option<String>,
}

impl Problem {
    fn words(&self, status: StatusCode) -> String {
        let field = self.field.as_ref().map(|field| format!("{field} ")).unwrap_or_default();
        let detail: String = self.detail.chars().take(DETAIL_LIMIT).collect();
        match self.code.as_str() {
            "" => format!("HTTP {status}, without a problem's code"),
            code => format!("{code}: {field}{detail}"),
        }
    }
}

/// The same error with every secret blotted out: a server may quote what it was sent.
pub(super) fn without<'a>(mut error: Error, secrets: impl Iterator<Item = &'a Secret>) -> Error {
    for secret in secrets.map(Secret::expose).filter(|secret| !secret.is_empty()) {
        error.message = error.message.replace(secret, "***");
    }
    error
}

/// An error with its causes: the outermost alone says no more than "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InitializeBody<'a> {
    tenant_id: TenantId,
    run_id: RunId,
    #[serde(flatten)]
    place: &'a DatabaseTarget,
    verifier: Option<&'a str>,
    connection_limit: Option<i32>,
    admin: AdminBody<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DropBody<'a> {
    tenant_id: TenantId,
    #[serde(flatten)]
    place: &'a DatabaseTarget,
    only_if_run: Option<RunId>,
    admin: AdminBody<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InventoryBody<'a> {
    tenant_id: TenantId,
    database: &'a str,
    admin: AdminBody<'a>,
}

#[derive(Deserialize)]
struct InventoryAnswer {
    items: Vec<Item>,
}

#[derive(Serialize)]
struct AdminBody<'a> {
    host: &'a str,
    port: u16,
    user: &'a str,
    password: &'a str,
    database: &'a str,
}

impl<'a> AdminBody<'a> {
    fn of(at: &'a Access) -> Self {
        let admin = &at.server.admin;
        Self {
            host: &admin.host,
            port: admin.port,
            user: &admin.user,
            password: at.admin_password.expose(),
            database: &admin.database,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Admin;
    use engine::phase::Kind;
    use model::secret::SecretRef;

    fn server(endpoint: &str) -> Server {
        Server {
            own: None,
            region: "eastus".into(),
            endpoint: endpoint.into(),
            internal_secret: SecretRef::Env("INTERNAL".into()),
            admin: Admin {
                host: "db".into(),
                port: 5432,
                user: "admin".into(),
                password: SecretRef::Env("ADMIN".into()),
                database: "region_eastus".into(),
                of_own_instance: false,
            },
        }
    }

    #[test]
    fn every_refusal_has_its_meaning() {
        let down = Kind::Unavailable { dependency: "tenant-api".into() };
        for (status, said, kind, code) in [
            (400, "invalid_request", Kind::Fatal, "tenant_api_refused"),
            (401, "unauthorized", Kind::Fatal, "tenant_api_unauthorized"),
            (403, "tenant_not_served", Kind::Fatal, "tenant_api_other_tenant"),
            (404, "not_found", Kind::Retryable, "tenant_api_failed"),
            (409, "foreign_role", Kind::Fatal, "foreign_role"),
            (409, "foreign_database", Kind::Fatal, "foreign_database"),
            (409, "foreign_schema", Kind::Fatal, "foreign_schema"),
            (500, "database_error", Kind::Retryable, "tenant_api_failed"),
            (502, "", down.clone(), "tenant_api_unavailable"),
            (503, "database_unavailable", down.clone(), "tenant_api_unavailable"),
            (504, "", down, "tenant_api_unavailable"),
        ] {
            let text = serde_json::json!({ "code": said, "detail": "the detail" }).to_string();
            let status = StatusCode::from_u16(status).unwrap();
            let error = refused("initialize", &server("http://x"), status, text.as_bytes());
            assert_eq!((&error.kind, error.code), (&kind, code), "{status} {said}");
            assert!(!error.next_action.is_empty(), "{status} says what to do");
            assert!(said.is_empty() || error.message.contains(&format!("{said}: the detail")), "{error}");
        }
    }

    #[test]
    fn a_refusal_for_the_secret_names_its_setting() {
        let error = refused("drop", &server("http://x"), StatusCode::UNAUTHORIZED, b"");
        assert!(error.message.contains("regions.eastus.internal_secret (env:INTERNAL)"), "{error}");
    }

    #[test]
    fn an_address_that_is_none_is_fatal_and_repeats_no_credentials() {
        for bad in ["", "nowhere", "ftp://user:hunter2@x", "http://user:hunter2@:0x"] {
            let error = address(&server(bad), "drop").unwrap_err();
            assert_eq!((error.kind, error.code), (Kind::Fatal, "tenant_api_config"));
            assert!(
                error.message.contains("regions.eastus.tenant_api_url") && !error.message.contains("hunter2")
            );
        }
        let url = address(&server("http://h:1/"), "database/drop").unwrap();
        assert_eq!(url.as_str(), "http://h:1/internal/database/drop");
    }

    #[test]
    fn what_a_server_quotes_is_blotted_out() {
        let error = Error::retryable("tenant_api_failed", "password 'hunter2' is too short");
        let error = without(error, [Secret::new("hunter2"), Secret::new("")].iter());
        assert_eq!(error.message, "password '***' is too short");
    }
}
