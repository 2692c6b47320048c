//! The phase on a real API server, with cert-manager's own controllers, an ACME server and name servers.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails here")]

mod issuing;
mod refusing;
mod undoing;
mod world;
mod zone;
