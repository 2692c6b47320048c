//! What the environment and the platform file say.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use cluster::Secrets;
use engine::store::Sink;
use lettre::Address;
use lettre::message::Mailbox;
use model::platform::Platform;
use model::secret::SecretSource as _;
use tenants::Regions;
use tenants::Store;

use crate::invitation::{self, Invitations};
use crate::kafka::Kafka;
use crate::lane::Lane;
use crate::license::Licenses;
use crate::mail::Mail;
use crate::smtp::Server;

/// Where health is served; nowhere when it is not set.
pub(crate) fn health_listen() -> anyhow::Result<Option<SocketAddr>> {
    let set = std::env::var("HEALTH_LISTEN").ok().filter(|value| !value.is_empty());
    set.map(|text| {
        text.parse::<SocketAddr>().with_context(|| format!("HEALTH_LISTEN is '{text}'; use address:port"))
    })
    .transpose()
}

/// Every sink's loop. What is wrong is named with what would be right; nothing is connected yet.
pub(crate) async fn lanes(platform: &Arc<Platform>, store: &Store) -> anyhow::Result<Vec<Arc<Lane>>> {
    let (events, mail) = (&platform.events, &platform.mail);
    let regions = Regions::new(store.clone(), platform.clone());
    let brokers = Secrets.read(&events.brokers).await.context("events.brokers")?;
    let brokers = brokers.expose();
    for broker in brokers.split(',') {
        let port = broker.trim().rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        if port.is_none_or(|port| port.parse::<u16>().is_err()) {
            bail!("events.brokers ({}) is not a comma-separated list of host:port", events.brokers);
        }
    }
    let kafka = Kafka::new(brokers, events, &regions)
        .with_context(|| format!("events.brokers ({})", events.brokers))?;

    let url = Secrets.read(&mail.url).await.context("mail.url")?;
    let server = Server::new(&url, mail.delivery.timeout.duration())
        .with_context(|| format!("mail.url ({})", mail.url))?;
    let server = Arc::new(server);
    let from = mail.from.parse::<Mailbox>().with_context(|| format!("mail.from is '{}'", mail.from))?;
    if mail.operators.is_empty() {
        bail!("mail.operators is empty; name at least one address, whom to tell of failures");
    }
    let operators: Vec<Address> = mail
        .operators
        .iter()
        .map(|text| {
            text.parse::<Address>()
                .with_context(|| format!("mail.operators contains '{text}', which is not an e-mail address"))
        })
        .collect::<anyhow::Result<_>>()?;
    let by = |sink, server: &Arc<Server>| Mail {
        sink,
        server: server.clone(),
        from: from.clone(),
        operators: operators.clone(),
        regions: regions.clone(),
    };
    let letters = |sink| {
        let mail = by(sink, &server);
        Lane::new(
            sink,
            store.clone(),
            platform.mail.delivery.clone(),
            Some(platform.mail.refusals),
            Box::new(mail),
        )
    };
    let invitations =
        Server::new(&url, invitation::half(platform)).with_context(|| format!("mail.url ({})", mail.url))?;
    let invitations = Invitations::new(platform, store, by(Sink::Invitation, &Arc::new(invitations)))?;
    Ok(vec![
        Lane::new(Sink::Kafka, store.clone(), events.delivery.clone(), None, Box::new(kafka)),
        letters(Sink::Email),
        letters(Sink::Operators),
        Lane::new(
            Sink::License,
            store.clone(),
            platform.license.delivery.clone(),
            Some(platform.license.refusals),
            Box::new(Licenses::new(platform, store, &regions)?),
        ),
        Lane::new(
            Sink::Invitation,
            store.clone(),
            platform.invitations.delivery.clone(),
            Some(platform.invitations.refusals),
            Box::new(invitations),
        ),
    ])
}
