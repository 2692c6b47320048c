//! The pure decisions: no I/O, no clock, no chance; what they need of those is passed in.

pub mod machine;
pub mod run;
pub mod verbs;
