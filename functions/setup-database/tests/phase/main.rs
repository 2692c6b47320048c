//! SETUP_DATABASE on the real parts: Postgres, the API server, and tenant-api in this process. Needs `KUBECONFIG`,
//! `REGION_DATABASE_HOST`, `_PORT`, `_ADMIN_USER` and `_ADMIN_PASSWORD`, which `make test` gives.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod failing;
mod probing;
mod undoing;
mod working;
mod world;
