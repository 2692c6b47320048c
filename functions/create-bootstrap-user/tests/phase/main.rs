//! CREATE_BOOTSTRAP_USER on a real Postgres and a tenant-api in this process: a control plane's database of each test's own,
//! tenants of the shared region that go with the test. Run by `make test`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod failing;
mod making;
mod undoing;
mod world;
