//! The function `deploy-monitoring`.

fn main() -> std::process::ExitCode {
    engine::runtime::serve(&deploy_monitoring::PHASE)
}
