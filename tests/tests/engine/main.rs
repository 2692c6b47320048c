//! The engine's promises, on real Postgres and RabbitMQ, with phases whose effects are rows of a table.

mod transitions;
