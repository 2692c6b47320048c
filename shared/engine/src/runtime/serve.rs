//! A phase as a Lambda function.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::PhaseEntry;
use super::Runner;
use crate::phase::Job;

/// What a program's runner is made by: it connects the store and reads the platform. What is missing from the environment is
/// an error that names it.
pub type MakeRunner = fn() -> Result<Runner, lambda_runtime::Error>;

/// Runs a phase as a function until the sandbox ends. Clients are built once; what is missing from the environment is named
/// in one line.
pub fn serve(phase: &'static PhaseEntry, runner: MakeRunner) -> ExitCode {
    init_logging();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&phase.name().function(), &error),
    };
    match runtime.block_on(run(phase, runner)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&phase.name().function(), error.as_ref()),
    }
}

async fn run(phase: &PhaseEntry, runner: MakeRunner) -> Result<(), lambda_runtime::Error> {
    let runner = runner()?.with(phase).await?;
    let runner = &runner;
    let mut terminate = signal(SignalKind::terminate())?;
    // The Lambda runtime's own client panics without them.
    for variable in ["AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME"] {
        if std::env::var_os(variable).is_none() {
            let why =
                format!("{variable} is not set; start this function by Lambda or by `cargo lambda watch`");
            return Err(why.into());
        }
    }
    let serving = lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        let (job, trigger) = Job::from_event(&event.payload)?;
        Ok::<_, lambda_runtime::Error>(Box::pin(runner.run(&job, trigger)).await?)
    }));
    tokio::select! {
        ended = serving => ended,
        // What it has in hand is lost, as by a kill, and taken over once its lease is over. Temporary folders go.
        _ = terminate.recv() => Ok(()),
    }
}

fn fail(name: &str, error: &dyn std::error::Error) -> ExitCode {
    tracing::error!("{name}: {error}");
    ExitCode::FAILURE
}

/// lapin warns of every message that comes back. It is no news: whoever published it is told by its confirm, and a run's
/// first message finds that way that there is no queue yet. `RUST_LOG` may ask for it all the same.
const QUIET: &str = "lapin::returned_messages=error";

/// Logs to standard error: readable on a terminal, one JSON object a line elsewhere. `RUST_LOG` filters.
pub fn init_logging() {
    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let filter = EnvFilter::try_new(format!("{QUIET},{wanted}"))
        .ok()
        .filter(|_| !wanted.is_empty())
        .unwrap_or_else(|| EnvFilter::new(format!("{QUIET},info")));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber (in tests) keeps the first.
    drop(if std::io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    });
}
