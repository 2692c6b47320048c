//! The engine: pure decisions about runs, the contract of a phase, the runtime that every phase runs in, and the store of
//! runs. It knows no phase and no outside system but the control plane's database.
//!
//! A run is a saga: phases that are done one after the other, each with its undo. What a phase is about to do is stored before
//! its first effect; a worker holds a step by a lease and a fence; a run that fails for good goes back phase by phase, and ends
//! with an inventory. Who delivers the jobs is the caller's choice ([`runtime::Runner::run`] takes one and answers with the
//! next), and so is what there is to know of the tenants ([`store::Tenancy`]).
//!
//! `tests/three_phases.rs` is a whole program of three phases to read, and runs with the tests.

pub mod decide;
pub mod phase;
pub mod runtime;
pub mod store;
