//! The sinks `email` and `operators`, and the sending of every letter.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use engine::store::{Outgoing, Sink};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use tenants::Regions;

use crate::lane::{Deliver, Failure};
use crate::letter::{self, Letter};
use crate::smtp::Server;

/// Letters of one kind.
pub(crate) struct Mail {
    pub(crate) sink: Sink,
    pub(crate) server: Arc<Server>,
    pub(crate) from: Mailbox,
    /// Whom letters to operators go to.
    pub(crate) operators: Vec<Address>,
    pub(crate) regions: Regions,
}

#[async_trait]
impl Deliver for Mail {
    async fn deliver(&self, row: &Outgoing) -> Result<Option<String>, Failure> {
        let region = row.payload["region"].as_str().unwrap_or_default();
        let platform =
            self.regions.knowing(region).await.map_err(|error| Failure::Later(error.to_string()))?;
        let letter = letter::letter(self.sink, row, platform.domain_in(region)).map_err(Failure::Refused)?;
        let to = match self.sink {
            Sink::Operators => self.operators.clone(),
            _ => vec![letter.admin_email.parse::<Address>().map_err(|error| {
                Failure::Refused(format!("'{}' is not a valid e-mail address: {error}", letter.admin_email))
            })?],
        };
        self.send(row, letter, &to).await
    }
}

impl Mail {
    /// Sends a letter; returns once the server has taken it over, with the recipients it has refused.
    pub(crate) async fn send(
        &self,
        row: &Outgoing,
        letter: Letter,
        to: &[Address],
    ) -> Result<Option<String>, Failure> {
        let message = self.message(row, letter, to).map_err(|error| Failure::Refused(error.to_string()))?;
        self.server.send(&self.from.email, to, &message.formatted()).await
    }

    fn message(
        &self,
        row: &Outgoing,
        letter: Letter,
        to: &[Address],
    ) -> Result<Message, lettre::error::Error> {
        let mut builder = Message::builder().from(self.from.clone());
        for address in to {
            builder = builder.to(Mailbox::new(None, address.clone()));
        }
        builder
            // The same however often it is sent.
            .message_id(Some(format!("<{}@{}>", row.id, self.from.email.domain())))
            .date(SystemTime::from(row.created_at))
            .subject(letter.subject)
            // No machine shall answer it (RFC 3834).
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .multipart(MultiPart::alternative_plain_html(letter.text, letter.html))
    }
}
