//! The function `deploy-monitoring`.

fn main() -> std::process::ExitCode {
    tenants::serve(&deploy_monitoring::PHASE)
}
