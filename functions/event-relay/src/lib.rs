//! The event relay: brings the outbox to where it is to be told, at least once, in order per tenant and sink.
//!
//! Sinks: `kafka` (CloudEvents for other programs), `email` (letters to the tenant's administrator), `operators` (letters to
//! the platform's operators), `license` (licences to the tenants' data plane), `invitation` (the link by which a tenant's
//! administrator comes in). Each has a loop of its own, so that one that is down delays nothing else. What is sent again, after
//! a lost acknowledgement or a killed relay, has the same id (the event's `id`, the letter's `Message-ID`), by which receivers
//! tell it from a new one.
//!
//! Environment: `DATABASE_URL` (and `DATABASE_DIRECT_URL` where that is a transaction pooler), `TENANTRY_CONFIG`, what its
//! `events.brokers` and `mail.url` refer to (`KAFKA_BROKERS` and `SMTP_URL` by default), what its
//! `license.key_encryption_keys` and the regions' `internal_secret` refer to, `HEALTH_LISTEN` for `/healthz`,
//! `/readyz` and `/metrics`.

mod command;
mod event;
mod health;
mod invitation;
mod kafka;
mod lane;
mod letter;
mod license;
mod mail;
mod settings;
mod smtp;

pub use command::main;
