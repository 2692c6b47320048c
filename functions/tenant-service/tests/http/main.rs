//! The API on a real Postgres: each test has a database of its own. What is written is looked at in the database, not
//! only in the answers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails where it stands"
)]

mod changing;
mod creating;
mod deployment;
mod domains;
mod inviting;
mod reading;
mod refusing;
mod regions;
mod verbs;
mod world;
