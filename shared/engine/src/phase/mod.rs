//! The phase contract: what a phase must offer, what it is given, and how it says what happened.

mod budget;
mod clients;
mod contract;
mod error;
mod hook;
mod memory;
mod message;
mod step;

pub use clients::Clients;
pub use contract::{CheckpointPart, Checkpoints, Phase, Progress, Wait};
pub use error::{Error, ErrorRecord, Kind, Result};
pub use hook::{OperationEdge, OperationHook, Side};
pub use message::{Answer, InvalidMessage, Job, Trigger, queue_name};
pub use step::{Fence, Interrupt, Memory, Operation, OperationState, Owner, Scope, Step, StepParts};
