//! The credentials of a tenant's role, as its Secret and the environment of its pods hold them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use engine::phase::{Error, Result};
use model::secret::Secret;

use super::{DatabaseTarget, Strategy};

const HOST: &str = "POSTGRES_HOST";
const PORT: &str = "POSTGRES_PORT";
const DATABASE: &str = "POSTGRES_DB";
const USER: &str = "POSTGRES_USER";
const PASSWORD: &str = "POSTGRES_PASSWORD";
const URL: &str = "DATABASE_URL";

/// All that a tenant's services need to log in. Cannot be serialised; [`Credentials::values`] gives it away key by key.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Host.
    pub host: String,
    /// Port, in digits.
    pub port: String,
    /// Database.
    pub database: String,
    /// Role.
    pub user: String,
    /// The role's password.
    pub password: Secret,
    /// All of it in one: `postgres://user:password@host:port/database`.
    pub url: Secret,
}

impl Credentials {
    /// The six keys of the Secret (provisioning reference, phase 2).
    pub const KEYS: [&str; 6] = [HOST, PORT, DATABASE, USER, PASSWORD, URL];

    /// The credentials of a tenant's role on a server.
    pub fn new(place: &DatabaseTarget, host: &str, port: u16, password: Secret) -> Self {
        let [user, word, database] = [&place.role, password.expose(), &place.database].map(encoded);
        // An IPv6 address stands in brackets.
        let authority = if host.contains(':') { format!("[{host}]") } else { encoded(host) };
        let mut url = format!("postgres://{user}:{word}@{authority}:{port}/{database}");
        if place.strategy == Strategy::Schema {
            // The role starts in its schema by itself; said here too for those who read only the URL.
            let _ = write!(url, "?options={}", encoded(&format!("-c search_path={}", place.schema)));
        }
        Self {
            host: host.to_owned(),
            port: port.to_string(),
            database: place.database.clone(),
            user: place.role.clone(),
            password,
            url: Secret::new(url),
        }
    }

    /// Reads them from where `value` finds each key. A key that is missing or empty is fatal and named, together with
    /// `source`, the place that was looked in.
    pub fn read(source: &str, mut value: impl FnMut(&str) -> Option<Secret>) -> Result<Self> {
        let mut values = BTreeMap::new();
        let mut missing = Vec::new();
        for key in Self::KEYS {
            match value(key).filter(|value| !value.expose().is_empty()) {
                Some(value) => drop(values.insert(key, value)),
                None => missing.push(key),
            }
        }
        if !missing.is_empty() {
            let message = format!("{source} has no {}", missing.join(", "));
            return Err(Error::fatal("credentials_incomplete", message)
                .next(format!("Restore {source} with all six keys, or delete it: retry makes a new one.")));
        }
        let mut take = |key| values.remove(key).unwrap_or_else(|| Secret::new(""));
        let plain = |value: Secret| value.expose().to_owned();
        Ok(Self {
            host: plain(take(HOST)),
            port: plain(take(PORT)),
            database: plain(take(DATABASE)),
            user: plain(take(USER)),
            password: take(PASSWORD),
            url: take(URL),
        })
    }

    /// Each key with its value.
    pub fn values(&self) -> [(&'static str, &str); 6] {
        [
            (HOST, &self.host),
            (PORT, &self.port),
            (DATABASE, &self.database),
            (USER, &self.user),
            (PASSWORD, self.password.expose()),
            (URL, self.url.expose()),
        ]
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::phase::Kind;

    fn place(strategy: Strategy) -> DatabaseTarget {
        DatabaseTarget::of("550e8400-e29b-41d4-a716-446655440000".parse().unwrap(), strategy, "shared db")
    }

    #[test]
    fn a_url_is_encoded_and_a_schema_is_named_in_it() {
        let own = "tenant_550e8400-e29b-41d4-a716-446655440000";
        let url = |strategy, host| {
            let credentials = Credentials::new(&place(strategy), host, 5432, Secret::new("p@s/s%"));
            credentials.url.expose().to_owned()
        };
        assert_eq!(
            url(Strategy::Database, "db.example"),
            format!("postgres://{own}:p%40s%2Fs%25@db.example:5432/{own}")
        );
        assert_eq!(
            url(Strategy::Schema, "::1"),
            format!("postgres://{own}:p%40s%2Fs%25@[::1]:5432/shared%20db?options=-c%20search_path%3D{own}")
        );
    }

    #[test]
    fn what_was_written_is_read_back_and_what_is_missing_is_named() {
        let credentials = Credentials::new(&place(Strategy::Schema), "db", 5432, Secret::new("p"));
        let values: BTreeMap<_, _> = credentials.values().into();
        let read = |without: &str| {
            Credentials::read("Secret a/b", |key| {
                values.get(key).filter(|_| key != without).map(|value| Secret::new(*value))
            })
        };
        assert_eq!(read("").unwrap().values(), credentials.values());
        for key in Credentials::KEYS {
            let error = read(key).unwrap_err();
            assert_eq!((error.kind, error.code), (Kind::Fatal, "credentials_incomplete"));
            assert_eq!(error.message, format!("Secret a/b has no {key}"));
        }
    }
}
