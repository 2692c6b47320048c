//! Any function with failpoints: `function NAME` serves the phase of that function, as its own program does.

use std::process::ExitCode;

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let Some(phase) = dispatcher::registry::phase_of(&name) else {
        eprintln!("no phase has a function '{name}'");
        return ExitCode::FAILURE;
    };
    engine::runtime::serve(phase, || Ok(tenants::runner()?.with_hook(tests::FailpointFile::from_env())))
}
