//! What is the same for every phase: decode, claim, plan, run under a lease, record, answer, log.

mod erased;
mod lease;
mod regional;
mod run;
mod seen;
mod serve;

pub use erased::{DynPhase, Loaded};
pub use regional::PhaseEntry;
pub use run::Runner;
pub use serve::{MakeRunner, init_logging, serve};
