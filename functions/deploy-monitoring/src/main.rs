//! The function `deploy-monitoring`.

fn main() -> std::process::ExitCode {
    shared::runtime::serve(&deploy_monitoring::PHASE)
}
