//! One letter, one conversation with the mail server. By hand rather than by lettre's transport, which says of a refusal
//! neither which command was refused nor which recipient.

use std::time::Duration;

use anyhow::{Context as _, bail};
use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Tls, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::{Error, SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT};
use model::secret::Secret;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::lane::Failure;

/// A letter is delivered when its last line is acknowledged; the farewell may take this long.
const FAREWELL: Duration = Duration::from_secs(2);

/// The mail server.
pub(crate) struct Server {
    host: String,
    port: u16,
    tls: Tls,
    credentials: Option<Credentials>,
    greeting: ClientId,
    timeout: Duration,
}

impl Server {
    /// Reads the URL; connects when there is something to send. An error does not show the URL, which holds the password.
    pub(crate) fn new(url: &Secret, timeout: Duration) -> anyhow::Result<Self> {
        let url =
            Url::parse(url.expose()).ok().filter(|url| matches!(url.scheme(), "smtp" | "smtps")).context(
                "is not the URL of a mail server; use smtp://host:port or smtps://user:password@host:port",
            )?;
        let host = match url.host() {
            // Of a scheme that the URL standard does not know, a host is text, an address too.
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => bail!("names no host; use smtp://host:port"),
        };
        let wanted = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
        let parameters = || TlsParameters::new(host.clone()).context("TLS");
        let (tls, port) = match (url.scheme(), wanted.as_deref()) {
            ("smtps", _) => (Tls::Wrapper(parameters()?), SUBMISSIONS_PORT),
            (_, Some("required")) => (Tls::Required(parameters()?), SUBMISSION_PORT),
            (_, Some("opportunistic")) => (Tls::Opportunistic(parameters()?), SUBMISSION_PORT),
            (_, None) => (Tls::None, SMTP_PORT),
            (_, Some(_)) => bail!("asks for an unknown kind of TLS; use ?tls=required or ?tls=opportunistic"),
        };
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(std::borrow::Cow::into_owned).ok().context("holds a login that is not UTF-8")
        };
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (_, None) => bail!("names a user without a password"),
            (user, Some(password)) => Some(Credentials::new(decoded(user)?, decoded(password)?)),
        };
        let greeting = match url.path().trim_matches('/') {
            "" => ClientId::default(),
            name => ClientId::Domain(name.to_owned()),
        };
        Ok(Self { port: url.port().unwrap_or(port), host, tls, credentials, greeting, timeout })
    }

    /// Sends one message; returns once the server has taken it over, with the recipients it has refused.
    pub(crate) async fn send(
        &self,
        from: &Address,
        to: &[Address],
        message: &[u8],
    ) -> Result<Option<String>, Failure> {
        let said = async {
            let mut connection = self.connect().await.map_err(|error| later("connecting", &error))?;
            let said = talk(&mut connection, from, to, message).await;
            Ok::<_, Failure>((connection, said))
        };
        let (mut connection, said) = match tokio::time::timeout(self.timeout, said).await {
            Ok(said) => said?,
            Err(_) => {
                return Err(Failure::Later(format!(
                    "{}:{} has not taken it over within {} s",
                    self.host,
                    self.port,
                    self.timeout.as_secs_f64()
                )));
            }
        };
        drop(tokio::time::timeout(FAREWELL, connection.abort()).await);
        said
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let wrapped = match &self.tls {
            Tls::Wrapper(parameters) => Some(parameters.clone()),
            _ => None,
        };
        let address = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, Some(self.timeout), &self.greeting, wrapped, None)
                .await?;
        match &self.tls {
            Tls::Required(parameters) => connection.starttls(parameters.clone(), &self.greeting).await?,
            Tls::Opportunistic(parameters) if connection.can_starttls() => {
                connection.starttls(parameters.clone(), &self.greeting).await?;
            }
            _ => {}
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}

/// What is refused for good of recipients or content is this letter's fault; everything else is the server's or ours, and
/// may be mended.
async fn talk(
    connection: &mut AsyncSmtpConnection,
    from: &Address,
    to: &[Address],
    message: &[u8],
) -> Result<Option<String>, Failure> {
    let mut options = Vec::new();
    if !to.iter().all(|address| address.to_string().is_ascii()) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(Failure::Refused("the server takes no addresses beyond ASCII".into()));
        }
        options.push(MailParameter::SmtpUtfEight);
    }
    connection
        .command(Mail::new(Some(from.clone()), options))
        .await
        .map_err(|error| later("MAIL FROM", &error))?;
    let mut refused = Vec::new();
    for address in to {
        match connection.command(Rcpt::new(address.clone(), Vec::new())).await {
            Ok(_) => {}
            Err(error) if error.is_permanent() => refused.push(format!("{address}: {error}")),
            Err(error) => return Err(later("RCPT TO", &error)),
        }
    }
    let refused = (!refused.is_empty()).then(|| (refused.len(), refused.join("; ")));
    if let Some((count, why)) = &refused
        && *count == to.len()
    {
        return Err(Failure::Refused(why.clone()));
    }
    connection.command(Data).await.map_err(|error| later("DATA", &error))?;
    match connection.message(message).await {
        Ok(_) => Ok(refused.map(|(_, why)| why)),
        Err(error) if error.is_permanent() => Err(Failure::Refused(format!("the content: {error}"))),
        Err(error) => Err(later("the content", &error)),
    }
}

fn later(at: &str, error: &Error) -> Failure {
    Failure::Later(format!("{at}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> anyhow::Result<Server> {
        Server::new(&Secret::new(url), Duration::from_secs(1))
    }

    #[test]
    fn a_url_says_where_and_how() {
        let plain = server("smtp://127.0.0.1:11025").unwrap();
        assert_eq!((plain.host.as_str(), plain.port), ("127.0.0.1", 11025));
        assert!(matches!(plain.tls, Tls::None) && plain.credentials.is_none());
        let wrapped = server("smtps://user:p%40ss@mail.example/relay.example").unwrap();
        assert_eq!((wrapped.host.as_str(), wrapped.port), ("mail.example", 465));
        assert!(matches!(wrapped.tls, Tls::Wrapper(_)));
        assert!(wrapped.credentials == Some(Credentials::new("user".into(), "p@ss".into())));
        assert_eq!(wrapped.greeting, ClientId::Domain("relay.example".into()));
        assert!(matches!(server("smtp://[::1]?tls=required").unwrap().tls, Tls::Required(_)));
    }

    #[test]
    fn a_wrong_url_is_not_shown() {
        for wrong in
            ["no-scheme:hunter2@host", "http://u:hunter2@host", "smtp://u:hunter2@host?tls=maybe", "hunter2"]
        {
            let error = format!("{:#}", server(wrong).err().unwrap());
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
