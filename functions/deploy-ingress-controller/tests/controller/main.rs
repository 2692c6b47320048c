//! The phase on a real API server with a real helm. The load balancers' addresses are the local stack's.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails here")]

mod failing;
mod undoing;
mod working;
mod world;
