//! The Kubernetes API server. "Already there", "already gone", "not ours" and "not reachable" are decided here, once,
//! for every phase.
//!
//! Ownership is the label `<prefix>/tenant-id` and nothing else. Run and epoch are annotations, set at creation and
//! kept by every later apply, so that a rollback can tell what its own run created.

mod address;
mod api_server;
pub mod certificate;
mod class;
mod client;
mod custom;
mod delete;
mod ensure;
mod errors;
mod inventory;
mod live;
mod objects;
mod observe;
mod owned;
mod ready;
mod secret;
mod target;
#[cfg(test)]
mod tests;
mod tie;

pub use address::Address;
pub use api_server::Reach;
pub use client::{Cluster, call, find};
pub use custom::{Custom, Kind};
pub use ensure::{Effect, Ensured};
pub use inventory::Leftover;
pub use objects::{Made, Objects};
pub use observe::{Happened, Observed, Replicas};
pub use owned::Owned;
pub use ready::Deployments;
pub use secret::Secrets;
pub use target::{NOT_THE_INTERNET, Target};
