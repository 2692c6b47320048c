//! What is the same for every phase: decode, claim, plan, run under a lease, record, answer, log.

mod erased;
mod lease;
mod regional;
mod run;
mod serve;

pub use erased::{DynPhase, Loaded};
pub use regional::PhaseEntry;
pub use run::Runner;
pub use serve::{init_logging, serve, serve_with_hook};
