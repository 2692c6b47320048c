//! The pure decisions: no I/O, no clock, no chance; what they need of those is passed in.

pub mod changes;
pub mod deployment;
pub mod machine;
pub mod phases;
pub mod run;
pub mod verbs;
