//! What the phases promise on the real parts: API server, Helm, Postgres, RabbitMQ. Whether something is there is
//! decided by looking at those, never at the runner's own tables.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod address;
mod apart;
mod changing;
mod data_plane;
mod direct;
mod domains;
mod elsewhere;
mod enterprise;
mod everywhere;
mod foreign;
mod helms;
mod living;
mod names;
mod outages;
mod paused;
mod refreshing;
mod shared_tenant;
mod stuck;
mod twice;
mod unready;
mod whole;
