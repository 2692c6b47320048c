//! What a caller may send, parsed once and strictly: a value of these types is safe to put into a statement.

use crate::problem::{self, Problem};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, de};
use std::fmt;
use uuid::Uuid;

/// Where a tenant's tables live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// A schema in a database that is there already and shared.
    Schema,
    /// A database of the tenant's own.
    Database,
}

/// The name of a role, database or schema: 1 to 63 characters of `a-z 0-9 _ -`, not in Postgres's own `pg_` space.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Identifier(String);

impl Identifier {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as it stands in a statement. It holds no quote.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

impl TryFrom<String> for Identifier {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if name.is_empty() || name.len() > 63 || !name.bytes().all(allowed) {
            return Err("must be 1 to 63 characters of a-z, 0-9, _ and -");
        }
        if name.starts_with("pg_") {
            return Err("must not start with pg_");
        }
        Ok(Self(name))
    }
}

/// A SCRAM-SHA-256 verifier in Postgres's own form, `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`.
///
/// Anything else would be taken by Postgres for a password in plain text, hence the full check.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Verifier(String);

impl Verifier {
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn is_valid(text: &str) -> Option<()> {
        let (iterations, rest) = text.strip_prefix("SCRAM-SHA-256$")?.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (stored, server) = keys.split_once(':')?;
        let key = |text: &str| STANDARD.decode(text).ok().filter(|key| key.len() == 32).map(|_| ());
        let digits = iterations.bytes().all(|b| b.is_ascii_digit());
        // 4096 is Postgres's own count and the least that RFC 7677 allows.
        let count = iterations.parse::<u32>().ok()?;
        let salted = !STANDARD.decode(salt).ok()?.is_empty();
        (digits && (4096..=10_000_000).contains(&count) && salted).then_some(())?;
        key(stored)?;
        key(server)
    }
}

impl TryFrom<String> for Verifier {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::is_valid(&text).ok_or("must be a SCRAM-SHA-256 verifier")?;
        Ok(Self(text))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(***)")
    }
}

/// The database administrator of one call: may create roles and databases, need not be a superuser.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Admin {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    /// The database to log in to; the calls for one tenant must name the same, as their lock lives there.
    pub database: String,
}

impl Admin {
    fn validate(&self) -> Result<(), Problem> {
        for (field, value) in
            [("admin.host", &self.host), ("admin.user", &self.user), ("admin.database", &self.database)]
        {
            if value.is_empty() || value.contains('\0') {
                return Err(problem::invalid(field, "must not be empty"));
            }
        }
        if self.port == 0 {
            return Err(problem::invalid("admin.port", "must be 1 to 65535"));
        }
        Ok(())
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Admin({}@{}:{}/{}, password ***)", self.user, self.host, self.port, self.database)
    }
}

/// 32 bytes, as base64.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Bytes32(pub [u8; 32]);

impl TryFrom<String> for Bytes32 {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("must be 32 bytes in base64")
    }
}

/// Body of `POST /internal/database/initialize`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Initialize {
    pub tenant_id: Uuid,
    pub run_id: Uuid,
    pub strategy: Strategy,
    pub database: Identifier,
    pub schema: Identifier,
    pub role: Identifier,
    /// Null: the role cannot log in. It belongs to a tenant of a pooled instance, which works in its name.
    #[serde(deserialize_with = "Option::deserialize")]
    pub verifier: Option<Verifier>,
    /// Connections the role may hold at once; none means as many as the server has.
    pub connection_limit: Option<i32>,
    pub admin: Admin,
}

/// Body of `POST /internal/database/drop`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Drop {
    pub tenant_id: Uuid,
    pub strategy: Strategy,
    pub database: Identifier,
    pub schema: Identifier,
    pub role: Identifier,
    /// Drop only what this run made.
    pub only_if_run: Option<Uuid>,
    pub admin: Admin,
}

/// Body of `POST /internal/database/inventory`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Inventory {
    pub tenant_id: Uuid,
    /// The shared database to look for schemas in.
    pub database: Option<Identifier>,
    pub admin: Admin,
}

/// A body that was understood.
pub trait RequestBody: de::DeserializeOwned + fmt::Debug {
    fn tenant(&self) -> Uuid;
    /// The run it is done for, where the caller says so.
    fn run(&self) -> Option<Uuid>;
    /// Refuses what is well-formed and makes no sense.
    fn validate(&self) -> Result<(), Problem>;
    /// What must not appear in any text that leaves.
    fn secrets(&self) -> Vec<&str>;
}

impl RequestBody for Initialize {
    fn tenant(&self) -> Uuid {
        self.tenant_id
    }

    fn run(&self) -> Option<Uuid> {
        Some(self.run_id)
    }

    fn validate(&self) -> Result<(), Problem> {
        self.admin.validate()?;
        if self.connection_limit.is_some_and(|limit| limit < 1) {
            return Err(problem::invalid("connectionLimit", "must be at least 1, or null for no limit"));
        }
        if self.verifier.is_none() && self.strategy == Strategy::Database {
            return Err(problem::invalid("verifier", "must not be null for a dedicated database"));
        }
        place(self.strategy, &self.database, &self.schema, &self.role, &self.admin)
    }

    fn secrets(&self) -> Vec<&str> {
        let verifier = self.verifier.as_ref().map(Verifier::expose);
        verifier.into_iter().chain([self.admin.password.as_str()]).collect()
    }
}

impl RequestBody for Drop {
    fn tenant(&self) -> Uuid {
        self.tenant_id
    }

    fn run(&self) -> Option<Uuid> {
        self.only_if_run
    }

    fn validate(&self) -> Result<(), Problem> {
        self.admin.validate()?;
        place(self.strategy, &self.database, &self.schema, &self.role, &self.admin)
    }

    fn secrets(&self) -> Vec<&str> {
        vec![&self.admin.password]
    }
}

impl RequestBody for Inventory {
    fn tenant(&self) -> Uuid {
        self.tenant_id
    }

    fn run(&self) -> Option<Uuid> {
        None
    }

    fn validate(&self) -> Result<(), Problem> {
        self.admin.validate()
    }

    fn secrets(&self) -> Vec<&str> {
        vec![&self.admin.password]
    }
}

fn place(
    strategy: Strategy,
    database: &Identifier,
    schema: &Identifier,
    role: &Identifier,
    admin: &Admin,
) -> Result<(), Problem> {
    if role.as_str() == admin.user || role.as_str() == "public" || role.as_str() == "none" {
        return Err(problem::invalid("role", "must be the tenant's own role"));
    }
    match strategy {
        Strategy::Schema if matches!(schema.as_str(), "public" | "information_schema") => {
            Err(problem::invalid("schema", "must be the tenant's own schema"))
        }
        Strategy::Database
            if database.as_str() == admin.database
                || matches!(database.as_str(), "postgres" | "template0" | "template1") =>
        {
            Err(problem::invalid("database", "must be the tenant's own database"))
        }
        Strategy::Database if schema.as_str() == "information_schema" => {
            Err(problem::invalid("schema", "must not be information_schema"))
        }
        _ => Ok(()),
    }
}

/// Reads a body. The answer to a bad one names the field and repeats no value, which could be a secret.
pub fn parse<T: RequestBody>(body: &[u8]) -> Result<T, Problem> {
    let asked: T = decode(body)?;
    asked.validate()?;
    Ok(asked)
}

/// As [`parse`], as far as its types go.
pub fn decode<T: de::DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let asked: T = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        explain(&path, &error.into_inner())
    })?;
    reader.end().map_err(|_| problem::invalid("", "there is more than one JSON value"))?;
    Ok(asked)
}

fn explain(path: &str, error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        let at = format!("not JSON at line {} column {}", error.line(), error.column());
        return problem::invalid("", at);
    }
    let text = error.to_string();
    let path = if path == "." { "" } else { path };
    let named = |start: &str| text.strip_prefix(start)?.split('`').next();
    let below = |name: &str| {
        if path.is_empty() || path == name || path.ends_with(&format!(".{name}")) {
            if path.is_empty() { name.to_owned() } else { path.to_owned() }
        } else {
            format!("{path}.{name}")
        }
    };
    if let Some(name) = named("missing field `") {
        problem::invalid(&below(name), "is missing")
    } else if let Some(name) = named("unknown field `") {
        problem::invalid(&below(name), "is not a field of this request")
    } else if let Some(name) = named("duplicate field `") {
        problem::invalid(&below(name), "is given twice")
    } else if text.starts_with("must ") {
        problem::invalid(path, text.split(" at line ").next().unwrap_or_default())
    } else {
        problem::invalid(path, "has the wrong type or form")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn only_a_real_verifier_is_taken() {
        let good = format!("SCRAM-SHA-256$4096:AAECAw==${KEY}:{KEY}");
        assert!(Verifier::try_from(good.clone()).is_ok());
        for bad in [
            String::new(),
            "secret".to_owned(),
            "md5d41d8cd98f00b204e9800998ecf8427e".to_owned(),
            good.replace("4096", "1"),
            good.replace("4096", "+4096"),
            good.replace(KEY, "AAEC"),
            good.replace("AAECAw==", ""),
            format!("{good} "),
            format!("{good}' SUPERUSER --"),
        ] {
            assert!(Verifier::try_from(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_plain_names_are_taken() {
        for good in ["tenant_550e8400-e29b-41d4-a716-446655440000", "region_eastus", "app"] {
            assert!(Identifier::try_from(good.to_owned()).is_ok());
        }
        for bad in ["", "Tenant", "a\"b", "a b", "a;b", "pg_signal_backend", "ä", &"a".repeat(64)] {
            assert!(Identifier::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let admin = Admin {
            host: "h".to_owned(),
            port: 1,
            user: "u".to_owned(),
            password: "very secret".to_owned(),
            database: "d".to_owned(),
        };
        assert!(!format!("{admin:?}").contains("very secret"));
        assert!(!format!("{:?}", Verifier("very secret".to_owned())).contains("very secret"));
    }
}
