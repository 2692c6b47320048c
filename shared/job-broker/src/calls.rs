//! The management API's calls, and what their failures mean to a phase. The login is in no error: the address is never quoted.

use std::time::Duration;

use engine::phase::{Error, Result};
use model::secret::Secret;
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

/// The dependency's name in `Unavailable`.
const DEPENDENCY: &str = "job-broker";

/// Longest wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Names in one answer.
const PAGE: usize = 500;

/// Longest part of an answer's text in an error.
const DETAIL_LIMIT: usize = 300;

#[derive(Clone, Debug)]
pub(super) struct Calls {
    http: reqwest::Client,
    base: Url,
    user: String,
    password: Secret,
}

impl Calls {
    pub(super) fn new(address: &Secret) -> Result<Self> {
        let wrong = |why: &str| {
            Error::fatal("job_broker_config", format!("the management API's address {why}"))
                .next("Write it as http://user:password@host:port where the region's jobs.management says.")
        };
        let mut base: Url = address.expose().trim().parse().map_err(|_| wrong("is not a URL"))?;
        let plain = |text: &str| {
            percent_encoding::percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned)
        };
        let user = plain(base.username()).map_err(|_| wrong("has a user that is not valid text"))?;
        let password = plain(base.password().unwrap_or_default());
        let password = Secret::new(password.map_err(|_| wrong("has a password that is not valid text"))?);
        if !matches!(base.scheme(), "http" | "https") || user.is_empty() {
            return Err(wrong("is not http or https, or has no user"));
        }
        if base.set_username("").is_err() || base.set_password(None).is_err() {
            return Err(wrong("has no host"));
        }
        let http = reqwest::Client::builder()
            .user_agent("tenantry")
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            // Calls are minutes apart, and a function that was frozen in between holds dead connections.
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| wrong(&format!("cannot be used: {}", error.without_url())))?;
        Ok(Self { http, base, user, password })
    }

    /// What is there; none when nothing is.
    pub(super) async fn get(&self, path: &[&str]) -> Result<Option<Value>> {
        self.send(Method::GET, path, &[], None).await
    }

    /// Makes it so.
    pub(super) async fn put(&self, path: &[&str], body: &Value) -> Result<()> {
        match self.send(Method::PUT, path, &[], Some(body)).await? {
            Some(_) => Ok(()),
            None => Err(Error::retryable("job_broker_refused", format!("PUT {}: not found", shown(path)))
                .next("Something that it needs was removed meanwhile; it is tried again.")),
        }
    }

    /// Whether something was there to be deleted.
    pub(super) async fn delete(&self, path: &[&str]) -> Result<bool> {
        Ok(self.send(Method::DELETE, path, &[], None).await?.is_some())
    }

    /// The names of a vhost's queues or exchanges that begin with this.
    pub(super) async fn names(&self, kind: &str, vhost: &str, prefix: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for page in 1.. {
            let (page, size) = (page.to_string(), PAGE.to_string());
            // The broker looks for the text anywhere in a name.
            let query = [("page", page.as_str()), ("page_size", size.as_str()), ("name", prefix)];
            let answer = match self.send(Method::GET, &[kind, vhost], &query, None).await {
                // Past the last page, when what was on it went meanwhile.
                Err(error) if page != "1" && error.message.contains("page_out_of_range") => break,
                answer => answer?,
            };
            let Some(answer) = answer else { break };
            let items = answer["items"].as_array().cloned().unwrap_or_default();
            let found = items.iter().filter_map(|item| item["name"].as_str());
            names.extend(found.filter(|name| name.starts_with(prefix)).map(str::to_owned));
            if items.len() < PAGE {
                break;
            }
        }
        Ok(names)
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Option<Value>> {
        let doing = format!("{method} {}", shown(path));
        let down = |code, why: String| {
            Error::unavailable(DEPENDENCY, code, format!("{doing}: {why}"))
                .next("Bring the job broker's management API back; the run then continues on its own.")
        };
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("api").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url).basic_auth(&self.user, Some(self.password.expose()));
        if let Some(body) = body {
            request = request.json(body);
        }
        let unreachable = |error: reqwest::Error| down("job_broker_unavailable", chain(error));
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let text = answer.text().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(Some(serde_json::from_str(&text).unwrap_or(Value::Null)));
        }
        let text: String = text.chars().filter(|c| !c.is_control()).take(DETAIL_LIMIT).collect();
        Err(match status {
            StatusCode::NOT_FOUND => return Ok(None),
            // A credential is the same for every tenant.
            StatusCode::UNAUTHORIZED => down("job_broker_unauthorized", text).next(
                "Renew the login where the region's jobs.management says; the run then continues on its own.",
            ),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                down("job_broker_unavailable", format!("{status} {text}"))
            }
            status => Error::retryable("job_broker_refused", format!("{doing}: {status} {text}"))
                .next("Look at the broker's log for the reason."),
        })
    }
}

fn shown(path: &[&str]) -> String {
    path.join("/")
}

/// An error with its causes, without the address.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gives_its_login_and_no_error_shows_it() {
        let calls = Calls::new(&Secret::new("http://us%40er:p%2Fw@127.0.0.1:15672/rabbit")).unwrap();
        assert_eq!((calls.user.as_str(), calls.base.as_str()), ("us@er", "http://127.0.0.1:15672/rabbit"));
        assert!(calls.password.matches("p/w") && !format!("{calls:?}").contains("p/w"));
        for wrong in ["", "nowhere", "http://127.0.0.1:1", "amqp://u:hunter2@h:1", "http://u:hunter2@"] {
            let error = Calls::new(&Secret::new(wrong)).unwrap_err();
            assert_eq!(error.code, "job_broker_config");
            assert!(!error.message.contains("hunter2"), "{error}");
        }
    }
}
