//! The engine: pure decisions about runs, the contract of a phase, the runtime that every phase runs in, and the store of the
//! control plane's state. It knows no outside system but the control plane's database.

pub mod decide;
pub mod phase;
pub mod regions;
pub mod runtime;
pub mod store;
