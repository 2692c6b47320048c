//! The platform's phases as programs.

use std::process::ExitCode;
use std::sync::Arc;

use engine::runtime::{PhaseEntry, Runner};
use model::platform::Platform;

use crate::phases;
use crate::store::Store;

/// Runs a phase as a function until the sandbox ends.
pub fn serve(phase: &'static PhaseEntry) -> ExitCode {
    engine::runtime::serve(phase, runner)
}

/// A runner without phases, of the platform file and the database that the environment names.
pub fn runner() -> Result<Runner, lambda_runtime::Error> {
    let platform = Arc::new(Platform::from_env(&phases::step_names())?);
    Ok(Runner::new(Store::connect(1)?, platform))
}
