//! ISSUE_LICENSE on a real Postgres and a real API server: a database of each test's own, keys in files. Needs `DATABASE_URL`,
//! as a role that may create databases, and `KUBECONFIG`, which `make test` gives.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod failing;
mod issuing;
mod publishing;
mod rotating;
mod undoing;
mod world;
